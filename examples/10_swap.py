"""Give one photograph the identity of another; pose, colours and background stay.

python examples/10_swap.py [BUNDLE]

The bundle needs a recognition network: mien export stylegan2 CHECKPOINT -o BUNDLE --arcface FILE.
"""

from __future__ import annotations

import sys

import mien
from mien.edits.loop import Step

bundle = sys.argv[1] if len(sys.argv) > 1 else "demo"


def show(step: Step) -> None:
    print(f"step {step.step} of {step.steps}: 1 - cosine is {step.terms[0, -1]:.3f}")


with mien.Studio(bundle) as studio:
    donor, face = (studio.render(studio.sample(seed)) for seed in (8, 11))
    found = studio.swap(identity=donor, attributes=face, callback=show)
    found.save("swapped.png")
    print(f"cosine {found.cosine:.2f} to the donor, {found.distance:.3f} from the face")
