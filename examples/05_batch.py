"""Find the codes of several faces in one batch, and keep them as files.

python examples/05_batch.py
"""

from __future__ import annotations

import mien
from mien.edits.loop import Step


def show(step: Step) -> None:
    losses = " ".join(f"{loss:.3f}" for loss in step.loss)
    print(f"step {step.step} of {step.steps}: {losses}")


with mien.Studio("demo") as studio:
    faces = [studio.render(studio.sample(seed)) for seed in (1, 2, 3)]
    found = studio.project_all(faces, mien.ProjectionSettings(steps=30), every=10, callback=show)
    for i, projection in enumerate(found):
        path = projection.save(f"face-{i}.npy")
        print(f"{path}: loss {projection.loss:.4f}, terms {projection.terms}")
    for choice in studio.report():
        print(f"{choice.graph}: {choice.backend}")
