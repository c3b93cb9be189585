"""Studio: what an application holds. Each verb is a few lines that call down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.bundles import bundle_path
from mien.edits.latents import Layers, as_code, layer_weights
from mien.edits.loop import Step
from mien.edits.presets import settings_of
from mien.edits.project import Projection, crops, project
from mien.edits.settings import Settings
from mien.errors import ArchMismatch, InputError
from mien.faces.align import AlignedFace, align
from mien.faces.landmarks import Landmarks, read_landmarks
from mien.images import Image, Picture, as_rgb
from mien_engines import Choice, Engine
from mien_engines import open as open_engine

if TYPE_CHECKING:
    from mien.faces.detect import Which

FAMILY = "stylegan2"


class Studio:
    """A generator, opened for editing. Thread-safe; `with Studio(...)` frees it at the end.

    Args:
        bundle: "demo", mien's own small generator, or the folder or zip of a bundle.
        backend: "ort", "ort-cuda", "ov" or "ov-bf16"; None takes the fastest whose accuracy
            passes the bundle's gate, measured once a machine. Nothing falls back silently.
        detector: a YuNet ONNX file that finds faces; None means landmarks come with each call.
        threads: of each call; None means one for each physical core.

    Raises:
        InputError, ModelError, BackendUnavailable.
    """

    def __init__(
        self,
        bundle: str | Path = "demo",
        *,
        backend: str | None = None,
        detector: str | Path | None = None,
        threads: int | None = None,
    ) -> None:
        self.engine: Engine = open_engine(bundle_path(bundle), backend, threads=threads)
        spec = self.engine.bundle.spec
        if spec.family != FAMILY:
            raise ArchMismatch(
                f"bundle {spec.name} is of family {spec.family}, a Studio edits with {FAMILY}",
                hint="Name a bundle made by mien export stylegan2",
            )
        self.resolution = _property(self.engine, "resolution")  # px, width and height
        self.num_ws = _property(self.engine, "num_ws")  # layers of a W+ code
        self.w_dim = _property(self.engine, "w_dim")
        self.z_dim = _property(self.engine, "z_dim")
        self._detector_path = detector

    def align(
        self,
        photo: Image,
        *,
        landmarks: Landmarks | str | Path | None = None,
        which: Which = "only",
        size: int | None = None,
    ) -> AlignedFace:
        """Cut a face out of a photograph as FFHQ does, upright and framed for the generator.

        Args:
            photo: a path, a Picture, or uint8 RGB [H, W, 3].
            landmarks: 5 or 68 points, or a file of them; None asks the detector.
            which: of several faces, "only" (an error if there are more), "largest", or a number.
            size: of the crop in px; None means the generator's.

        Returns the crop with the transform back to the photograph: `mien.faces.paste`.

        Raises:
            NoFace, AmbiguousFace; InputError where neither landmarks nor a detector are given.
        """
        pixels = as_rgb(photo)
        found = self._landmarks(pixels, landmarks, which)
        return align(pixels, found, size=size or self.resolution)

    def project(
        self,
        face: AlignedFace | Image,
        settings: Settings | str | None = None,
        *,
        start: ArrayLike | None = None,
        every: int = 10,
        callback: Callable[[Step], object] | None = None,
        until: float | None = None,
        seconds: float | None = None,
        stop: threading.Event | None = None,
        save: str | Path | None = None,
        resume: bool = False,
        trace: str | Path | None = None,
    ) -> Projection:
        """Find the W+ code of an aligned face.

        Args:
            face: from `align`, or a picture at the generator's resolution.
            settings: mien.ProjectionSettings(...), mien.NoiseSettings(...), or a preset by its
                name: "faithful", "nvlabs" or "fast".
            start: a code to begin with, float32 [L, D]; None follows the settings.
            every: steps between two records. callback: called with each, a `Step`.
            until: end at the first record whose loss is not above this. seconds: end after so many.
            stop: set this event to end early; the best code so far is returned.
            save: a file that keeps the run. resume: go on from it, to the same bits as if the
                run had never been broken.
            trace: FILE.gif, .webp or .mp4 (needs PyAV): the face beside what is found, a frame a
                record.

        Raises:
            InputError: a face of another size, a saved run of something else, an unknown preset.
            ArchMismatch: the bundle has no graph for these settings.
            NotFinite: the search diverged. MissingDependency: an MP4 without PyAV.
        """
        return self.project_all(
            [face],
            settings,
            start=start,
            every=every,
            callback=callback,
            until=until,
            seconds=seconds,
            stop=stop,
            save=save,
            resume=resume,
            trace=trace,
        )[0]

    def project_all(
        self,
        faces: Sequence[AlignedFace | Image],
        settings: Settings | str | None = None,
        *,
        start: ArrayLike | None = None,
        every: int = 10,
        callback: Callable[[Step], object] | None = None,
        until: float | None = None,
        seconds: float | None = None,
        stop: threading.Event | None = None,
        save: str | Path | None = None,
        resume: bool = False,
        trace: str | Path | None = None,
    ) -> list[Projection]:
        """Find the codes of several faces in one batch; each search is its own.

        Arguments and errors are those of `project`; start may also be one code a face [N, L, D].
        """
        return project(
            self.engine,
            crops([_pixels(face) for face in faces], self.resolution),
            settings_of(settings),
            start=start,
            every=every,
            callback=callback,
            until=until,
            seconds=seconds,
            stop=stop,
            save=None if save is None else Path(save),
            resume=resume,
            trace=None if trace is None else Path(trace),
        )

    def invert(self, face: AlignedFace | Image) -> NDArray[np.float32]:
        """Return the encoder's guess of a face's code [L, D]: one pass, less like the face.

        Raises ArchMismatch where the bundle has no encoder.
        """
        pictures = crops([_pixels(face)], self.resolution)
        code: NDArray[np.float32] = self.engine.run("invert", picture=pictures)["ws"][0]
        return code

    def sample(self, seed: int, *, psi: float = 0.7) -> NDArray[np.float32]:
        """Return the code [L, D] of a face that does not exist.

        psi: truncation: 1 follows the training data, 0 is the mean face.
        """
        z = np.random.RandomState(seed).randn(1, self.z_dim).astype(np.float32)
        levels = np.full(self.num_ws, psi, np.float32)
        code: NDArray[np.float32] = self.engine.run("mapping", z=z, psi=levels)["ws"][0]
        return code

    def render(self, code: ArrayLike) -> Picture:
        """Draw the face of a code [L, D]. Raises InputError for a code of another generator."""
        return Picture(self.engine.run("render", ws=self._codes(code))["picture"][0])

    def mix(
        self, content: ArrayLike, style: ArrayLike, *, layers: Layers = "fine", psi: float = 0.0
    ) -> Picture:
        """Draw `content` with the chosen layers of `style`; `mien.mix` returns the code instead.

        layers, psi: as in `mien.mix`.
        """
        outputs = self.engine.run(
            "mix",
            ws_a=self._codes(content),
            ws_b=self._codes(style),
            weight=layer_weights(layers, self.num_ws, psi),
        )
        return Picture(outputs["picture"][0])

    def report(self) -> list[Choice]:
        """Who ran the graphs used so far, at which precision, how fast, and why not the others."""
        return self.engine.report()

    def close(self) -> None:
        """Free what the backends hold. The studio must not be used afterwards."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _landmarks(
        self,
        pixels: NDArray[np.uint8],
        landmarks: Landmarks | str | Path | None,
        which: Which,
    ) -> Landmarks:
        if isinstance(landmarks, Landmarks):
            return landmarks
        if landmarks is not None:
            return read_landmarks(landmarks)
        if self._detector_path is None:
            raise InputError(
                "no landmarks and no detector were given",
                hint="Name a YuNet file (detector=, --detector) or a landmarks file "
                "(landmarks=, --landmarks)",
            )
        from mien.faces.detect import Detector, choose  # cv2 loads it only when it is asked for

        return choose(Detector(self._detector_path).detect(pixels), which).landmarks

    def _codes(self, code: ArrayLike) -> NDArray[np.float32]:
        array = as_code(code)
        if array.ndim == 3 and len(array) == 1:
            array = array[0]
        if array.shape != (self.num_ws, self.w_dim):
            raise InputError(
                f"the code has shape {array.shape}, this generator's have "
                f"({self.num_ws}, {self.w_dim})",
                hint="Was it projected with another bundle? Project it again with this one",
            )
        return array[None]


def _pixels(face: AlignedFace | Image) -> NDArray[np.uint8]:
    return face.image if isinstance(face, AlignedFace) else as_rgb(face)


def _property(engine: Engine, name: str) -> int:
    value = engine.bundle.spec.properties.get(name)
    if not isinstance(value, int):
        raise ArchMismatch(f"bundle {engine.bundle.spec.name} does not state its {name}")
    return value
