"""Who finds faces: YuNet in a file, run by OpenCV, or a bundle of family `faces`."""

from __future__ import annotations

import contextlib
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from mien.decode import shown
from mien.errors import CorruptFile, InputError
from mien.faces.found import (
    LONGEST,
    OVERLAP,
    SCORE,
    U8,
    DetectedFace,
    Which,
    choose,
    face_from_row,
    no_face,
    ordered,
    scaled_down,
)

__all__ = ["DetectedFace", "Detector", "Finder", "Which", "choose", "open_detector"]

FLOOR = 0.05  # least score that OpenCV tells of, so that an error can name the best guess


class Finder(Protocol):
    """What finds faces. Any number of threads may use it at once."""

    def detect(self, photo: U8) -> list[DetectedFace]:
        """Return the faces of photo [H, W, 3], RGB, from left to right. Raises NoFace."""

    def close(self) -> None:
        """Free what it holds."""


def open_detector(path: Path, *, backend: str | None = "ort", threads: int | None = None) -> Finder:
    """Open a YuNet ONNX file with OpenCV, or a bundle of family `faces` with its own engine.

    backend, threads: of a bundle, as `mien_engines.open` takes them.

    Raises InputError, ModelError, BackendUnavailable.
    """
    if path.is_dir() or zipfile.is_zipfile(path):
        from mien.faces.bundled import BundledDetector

        return BundledDetector(path, backend=backend, threads=threads)
    return Detector(path)


class Detector:
    """YuNet (Wu et al. 2023) through OpenCV, from an ONNX file.

    Raises InputError where there is no file, CorruptFile where it is no such network.
    """

    def __init__(self, path: str | Path, *, score: float = SCORE) -> None:
        path = Path(path)
        if not path.is_file():
            raise InputError(
                f"there is no detector file {shown(path)}", hint="Name a YuNet ONNX file"
            )
        self._path, self._score = path, score
        self._lock = threading.Lock()  # OpenCV keeps a picture's size in the network
        try:
            with _quiet():
                self._net = cv2.FaceDetectorYN.create(
                    str(path), "", (320, 320), min(FLOOR, score), OVERLAP
                )
        except cv2.error as error:
            raise self._no_yunet(error) from error

    def detect(self, photo: U8) -> list[DetectedFace]:
        """Return the faces of photo [H, W, 3], RGB, from left to right.

        Raises NoFace, and CorruptFile where the file turns out to hold another network.
        """
        small = scaled_down(photo, LONGEST, LONGEST)
        size = (small.shape[1], small.shape[0])
        try:
            with self._lock:
                self._net.setInputSize(size)
                _, found = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise self._no_yunet(error) from error
        # Overlaps are settled from the surest down, so those below the score hide none above it.
        rows = np.zeros((0, 15)) if found is None else found.astype(np.float64)
        ratio = np.array([photo.shape[1] / size[0], photo.shape[0] / size[1]])
        faces = [face_from_row(row, ratio) for row in rows if row[14] >= self._score]
        if kept := [face for face in faces if face is not None]:
            return ordered(kept)
        raise no_face(photo, float(rows[:, 14].max()) if len(rows) else None)

    def close(self) -> None:
        """Nothing: the network goes with the object."""

    def _no_yunet(self, error: cv2.error) -> CorruptFile:
        why = " ".join(str(getattr(error, "err", "") or error).split())
        return CorruptFile(
            f"{shown(self._path)} is not a YuNet network: {why}",
            hint="Name a YuNet ONNX file, or a bundle of family faces",
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's remarks about its own engine from the user's terminal."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
