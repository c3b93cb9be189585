"""Break a projection off and go on with it later, to the same bits as without the break.

python examples/04_resume.py
"""

from __future__ import annotations

import threading

import numpy as np

import mien
from mien.edits.loop import Step

settings = mien.ProjectionSettings(steps=40)
enough = threading.Event()  # set it from anywhere: another thread, a button, a signal


def stop_at_twenty(step: Step) -> None:
    if step.step >= 20:
        enough.set()


with mien.Studio("demo") as studio:
    face = studio.render(studio.sample(seed=3))
    unbroken = studio.project(face, settings)

    half = studio.project(face, settings, save="run.npz", callback=stop_at_twenty, stop=enough)
    print(f"broken off after {half.steps} steps, loss {half.loss:.4f}")
    whole = studio.project(face, settings, save="run.npz", resume=True)
    print(f"finished: {whole.steps} steps, loss {whole.loss:.4f}")
    print("the same bits:", np.array_equal(whole.ws, unbroken.ws))
