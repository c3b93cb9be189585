"""What a job runs: a projection, or a swap, with the studio's own stop, save and resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.edits.latents import mix
from mien.edits.loop import Step
from mien.edits.presets import settings_of
from mien.edits.project import Projection
from mien.edits.settings import Settings
from mien.edits.swap import SwapSettings
from mien.serve.job import Job
from mien.serve.store import Face, new_id
from mien.studio import Studio

F32 = NDArray[np.float32]
Note = Callable[[Step], None]
EVERY = 4  # steps between two records, each of which can be seen and is saved


def search(studio: Studio, job: Job, place: Path, note: Note) -> F32 | None:
    """Run a job until it ends or is stopped, and return the code that it found so far.

    The result is written into the job. None where it was stopped before there was any.
    """
    return (_project if job.verb == "project" else _swap)(studio, job, place, note)


def _project(studio: Studio, job: Job, place: Path, note: Note) -> F32:
    face = job.faces["face"]
    changes = {} if job.settings.get("steps") is None else {"steps": job.settings["steps"]}
    settings = settings_of(job.settings.get("preset"), **changes)
    found = _projected(studio, face, settings, job, place / "face.run.npz", note)
    face.code, face.how = found.ws, ("project",)
    job.step, job.loss, job.ended = found.steps, found.loss, found.ended
    job.result = {"face": face.id, "terms": found.terms, "backend": found.backend}
    return found.ws


def _swap(studio: Studio, job: Job, place: Path, note: Note) -> F32 | None:
    """Project the faces that have no code yet, then give one the identity of the other.

    The search begins at the attributes' code with the donor's middle layers, as `studio.swap` does
    by itself; done here, the first part is seen, stopped and resumed like the second.
    """
    for role, face in job.faces.items():
        if face.code is None:
            save = place / f"{role}.run.npz"
            found = _projected(studio, face, settings_of(None), job, save, note)
            if found.ended == "stop":
                return None
            face.code, face.how = found.ws, ("project",)
    donor, target = job.faces["identity"], job.faces["attributes"]
    assert donor.code is not None
    assert target.code is not None
    settings = SwapSettings()
    if job.settings.get("steps") is not None:
        settings = replace(settings, steps=job.settings["steps"])
    swapped = studio.swap(
        identity=donor.crop,
        attributes=target.crop,
        settings=settings,
        start=mix(target.code, donor.code, layers=settings.layers),
        every=EVERY,
        callback=note,
        stop=job.stop,
        save=place / "swap.run.npz",
        resume=True,
    )
    job.step, job.loss = swapped.steps, swapped.loss
    job.ended = "steps" if swapped.finished else "stop"
    job.picture = swapped.picture
    job.result = {
        "face": job.result.get("face") or new_id(),  # a run that goes on improves the same face
        "cosine": swapped.cosine,
        "backend": swapped.backend,
    }
    return swapped.ws


def _projected(
    studio: Studio, face: Face, settings: Settings, job: Job, save: Path, note: Note
) -> Projection:
    return studio.project(
        face.crop, settings, every=EVERY, callback=note, stop=job.stop, save=save, resume=True
    )
