"""Jobs on disk: a folder each, so that a restart goes on where the last one ended.

    JOBS/lock                   one service a folder
    JOBS/ID/job.json            the record
    JOBS/ID/faces.npz           the crops it works on
    JOBS/ID/*.run.npz           the search, saved at each record
    JOBS/ID/result.npz          what it found

Every ID is made here: no name in these paths comes from a client. Folders are for the owner alone.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from mien.errors import CorruptFile, InputError
from mien.images import Picture
from mien.serve.errors import Problem
from mien.serve.job import Job
from mien.serve.store import ID, Face

log = logging.getLogger("mien.serve")

Arrays = dict[str, NDArray[Any]]
OWNER_ONLY = 0o700


def default_folder() -> Path:
    """Return where jobs are kept unless another folder is named."""
    from platformdirs import user_state_path

    return user_state_path("mien") / "serve"


class JobFolder:
    """Where jobs are kept. One service has it at a time.

    Raises InputError where it cannot be written, or another service has it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            root.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
            # Taken by one thread and given back by another.
            self._lock = FileLock(root / "lock", timeout=0, thread_local=False)
            self._lock.acquire()
        except Timeout:
            raise InputError(
                f"another service keeps its jobs in {root}", hint="Name another folder: --jobs"
            ) from None
        except OSError as error:
            raise InputError(
                f"jobs cannot be kept in {root}: {error.strerror}",
                hint="Name another folder: --jobs",
            ) from error

    def place(self, job: Job) -> Path:
        """Return the job's folder."""
        return self._root / job.id

    def create(self, job: Job) -> None:
        """Make the job's folder, with all that it needs to be begun anew."""
        self.place(job).mkdir(mode=OWNER_ONLY)
        arrays: Arrays = {}
        for role, face in job.faces.items():
            arrays |= {f"{role}.crop": face.crop, f"{role}.large": face.large}
            if face.code is not None:
                arrays[f"{role}.code"] = face.code
        _write_arrays(self.place(job) / "faces.npz", arrays)
        self.write(job)

    def write(self, job: Job) -> None:
        """Keep the record."""
        partial = self.place(job) / ".job.json.part"
        partial.write_text(json.dumps(job.record()))
        partial.replace(self.place(job) / "job.json")

    def write_result(self, job: Job, ws: NDArray[np.float32]) -> None:
        """Keep the code that was found, and the picture where no graph draws it again."""
        arrays: Arrays = {"ws": ws}
        if job.picture is not None:
            arrays["picture"] = job.picture.array
        _write_arrays(self.place(job) / "result.npz", arrays)

    def remove(self, job: Job) -> None:
        """Delete the job's folder."""
        shutil.rmtree(self.place(job), ignore_errors=True)

    def load(self) -> list[tuple[Job, NDArray[np.float32] | None]]:
        """Return the jobs of earlier services, the oldest first, with the codes they found.

        What cannot be read is left out, with a line in the log, and deleted.
        """
        found = []
        for place in self._root.iterdir():
            if not re.fullmatch(ID, place.name) or not place.is_dir():
                continue
            try:
                found.append(_read(place))
            except (OSError, KeyError, TypeError, ValueError, CorruptFile) as error:
                log.warning("job %s cannot be read and is deleted: %s", place.name, error)
                shutil.rmtree(place, ignore_errors=True)
        return sorted(found, key=lambda pair: pair[0].created)

    def close(self) -> None:
        """Let another service have it."""
        self._lock.release()


def _read(place: Path) -> tuple[Job, NDArray[np.float32] | None]:
    record = json.loads((place / "job.json").read_text())
    if record["id"] != place.name:
        raise ValueError(f"it is the record of {record['id']}")
    arrays = _read_arrays(place / "faces.npz")
    faces = {
        role: Face(
            name, arrays[f"{role}.crop"], arrays[f"{role}.large"], code=arrays.get(f"{role}.code")
        )
        for role, name in record["faces"].items()
    }
    error = record.pop("error")
    job = Job(**record | {"faces": faces}, error=None if error is None else Problem(**error))
    if not (place / "result.npz").exists():
        return job, None
    result = _read_arrays(place / "result.npz")
    if "picture" in result:
        job.picture = Picture(result["picture"], (job.verb,))
    return job, result["ws"]


def _write_arrays(path: Path, arrays: Arrays) -> None:
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    partial.replace(path)


def _read_arrays(path: Path) -> Arrays:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
