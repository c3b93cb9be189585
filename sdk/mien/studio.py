"""Studio: what an application holds. Each verb is a few lines that call down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.animation import Animation
from mien.bundles import detector_path
from mien.edits.crops import size_of
from mien.edits.directions import move
from mien.edits.draw import draw
from mien.edits.express import express, expression_from_codes, strengths_between
from mien.edits.expression import Expression, as_expression
from mien.edits.latents import Layers, as_code, layer_weights
from mien.edits.loop import Step
from mien.edits.presets import settings_of
from mien.edits.project import Projection, crops, project
from mien.edits.settings import Settings
from mien.edits.swap import Swap, SwapSettings, swap
from mien.edits.table import style_table
from mien.errors import InputError
from mien.faces.align import AlignedFace, align
from mien.faces.landmarks import Landmarks, as_landmarks
from mien.faces.paste import FEATHER, paste
from mien.family_verbs import FamilyVerbs, pixels_of
from mien.film_verbs import FilmVerbs
from mien.images import Image, Picture, as_rgb
from mien.local_verbs import LocalVerbs
from mien.networks import Networks
from mien.provenance import digest
from mien.style_verbs import StyleVerbs
from mien_engines import Choice, Engine

if TYPE_CHECKING:
    from mien.faces.detect import DetectedFace, Finder, Which

LAST_SEED = 2**32 - 1  # of NumPy's generator, whose faces NVlabs' tools draw too


class Studio(FamilyVerbs, StyleVerbs, FilmVerbs, LocalVerbs):
    """Networks, opened for editing. Thread-safe; `with Studio(...)` frees them at the end.

    Args:
        bundles: names of those that come with mien, such as "demo", its own small generator, or
            folders or zips of your own. Each serves the verbs of its family; for families that
            none of them is of, mien's own are taken.
        backend: "ort", "ort-cuda", "ov" or "ov-bf16"; None takes the fastest whose accuracy
            passes the bundle's gate, measured once a machine. Nothing falls back silently.
        detector: what finds faces: a YuNet ONNX file, or a bundle of family `faces`. None means
            mien's own, or that landmarks come with each call where this copy has none.
        threads: of each call; None means one for each physical core.

    Raises:
        InputError, ModelError, BackendUnavailable.
    """

    def __init__(
        self,
        *bundles: str | Path,
        backend: str | None = None,
        detector: str | Path | None = None,
        threads: int | None = None,
    ) -> None:
        self._networks = Networks(bundles, backend, threads)
        self._detector = detector
        self._finder: Finder | None = None
        self._finder_lock = threading.Lock()
        self._threads = threads

    @property
    def engine(self) -> Engine:
        """The generator's engine."""
        return self._networks.generator

    @property
    def resolution(self) -> int:
        """Width and height of the generator's pictures in px."""
        return size_of(self.engine, "resolution")

    @property
    def num_ws(self) -> int:
        """Layers of a W+ code."""
        return size_of(self.engine, "num_ws")

    @property
    def w_dim(self) -> int:
        """Numbers of a layer of a W+ code."""
        return size_of(self.engine, "w_dim")

    @property
    def z_dim(self) -> int:
        """Numbers of what the mapping network takes."""
        return size_of(self.engine, "z_dim")

    @property
    def label_dim(self) -> int:
        """Classes of the generator; 0 means none."""
        return size_of(self.engine, "label_dim")

    def fingerprint(self, family: str) -> str:
        """SHA-256 of the manifest of the bundle that serves a family, hence of all its files.

        family: "generator" is whichever draws W+ codes. Raises ArchMismatch where there is none.
        """
        engine = self.engine if family == "generator" else self._networks[family]
        return engine.bundle.fingerprint

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
            which: of several faces, "only" (an error if there are more), "largest", or a number,
                from 0 at the left.
            size: of the crop in px; None means the generator's.

        Returns the crop with the way back to the photograph, for `paste`.

        Raises:
            NoFace, AmbiguousFace; InputError where neither landmarks nor a detector are given.
        """
        pixels = as_rgb(photo)
        points = self._landmarks(pixels, landmarks, which)
        return align(pixels, points, size=self.resolution if size is None else size)

    def align_all(
        self,
        photo: Image,
        *,
        landmarks: Sequence[Landmarks | str | Path] | None = None,
        size: int | None = None,
    ) -> list[AlignedFace]:
        """Cut all faces out of a photograph, from left to right.

        Arguments and errors are those of `align`; landmarks has one entry a face, whose order is
        kept.
        """
        pixels = as_rgb(photo)
        points = (
            [face.landmarks for face in self._faces(pixels)]
            if landmarks is None
            else [as_landmarks(one) for one in landmarks]
        )
        return [align(pixels, p, size=self.resolution if size is None else size) for p in points]

    def paste(
        self,
        photo: Image,
        face: AlignedFace,
        edited: Image,
        *,
        feather: float = FEATHER,
        match_colour: float = 1.0,
    ) -> Picture:
        """Lay an edited crop back into the photograph, at the photograph's resolution.

        Args:
            photo: the one that was given to `align`, or that with other faces pasted into it.
            face: from `align`. edited: its crop after the edit, a square of any size.
            feather: the part of the square's side over which the edit fades in at each edge.
            match_colour: how far its colours follow the photograph's, 0 to 1, judged by the rim
                that fades.

        Raises InputError for a photograph of another size, an edit that is no square, and values
        beyond their ranges.
        """
        pixels = paste(
            as_rgb(photo), face, as_rgb(edited), feather=feather, match_colour=match_colour
        )
        pictures = [one for one in (photo, edited) if isinstance(one, Picture)]
        edits = [edit for one in pictures for edit in one.edits]
        sources = [source for one in pictures for source in one.sources]
        return Picture(
            pixels, tuple(dict.fromkeys([*edits, "paste"])), tuple(dict.fromkeys(sources))
        )

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
            crops([pixels_of(face) for face in faces], self.resolution),
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
        pictures = crops([pixels_of(face)], self.resolution)
        code: NDArray[np.float32] = self.engine.run("invert", picture=pictures)["ws"][0]
        return code

    def sample(
        self, seed: int, *, psi: float = 0.7, label: int | None = None
    ) -> NDArray[np.float32]:
        """Return the code [L, D] of a face that does not exist.

        seed: 0 to 2^32 - 1; a seed is the same face in every version.
        psi: truncation: 1 follows the training data, 0 is the mean face.
        label: the class, 0 to label_dim - 1, of a generator that was trained with classes.

        Raises InputError for another seed, a class where there are none, or none where there are
        some.
        """
        if not 0 <= seed <= LAST_SEED:
            raise InputError(f"seed is {seed}, expected 0 to {LAST_SEED}")
        z = np.random.RandomState(seed).randn(1, self.z_dim).astype(np.float32)
        inputs = {"z": z, "psi": np.full(self.num_ws, psi, np.float32), **self._label(label)}
        code: NDArray[np.float32] = self.engine.run("mapping", **inputs)["ws"][0]
        return code

    def render(self, code: ArrayLike) -> Picture:
        """Draw the face of a code [L, D]. Raises InputError for a code of another generator."""
        return Picture(self.engine.run("render", ws=self._codes(code))["picture"][0])

    def mix(
        self, content: ArrayLike, style: ArrayLike, *, layers: Layers = "fine", psi: ArrayLike = 0.0
    ) -> Picture:
        """Draw `content` with the chosen layers of `style`; `mien.mix` returns the code instead.

        layers, psi: as in `mien.mix`.
        """
        a, b = self._codes(content), self._codes(style)
        weight = layer_weights(layers, self.num_ws, psi)
        outputs = self.engine.run("mix", ws_a=a, ws_b=b, weight=weight)
        return Picture(outputs["picture"][0], ("mix",), (digest(a), digest(b)))

    def style_table(
        self,
        contents: Sequence[ArrayLike],
        styles: Sequence[ArrayLike],
        *,
        layers: Layers = "fine",
        psi: ArrayLike = 0.0,
    ) -> Picture:
        """Draw every content (rows) with the layers of every style (columns), sources at the edges.

        contents, styles: codes [L, D]. layers, psi: as in `mien.mix`.
        """
        rows = [self._codes(code)[0] for code in contents]
        columns = [self._codes(code)[0] for code in styles]
        sheet = style_table(self.engine, rows, columns, layers=layers, psi=psi)
        return Picture(sheet, ("mix",), tuple(map(digest, [*rows, *columns])))

    def move(
        self,
        code: ArrayLike,
        direction: ArrayLike,
        strength: float = 1.0,
        *,
        layers: Layers = "all",
    ) -> Picture:
        """Draw a code moved along a direction; `mien.move` has the arguments and the errors."""
        ws = self._codes(code)
        moved = move(ws, direction, strength, layers=layers)
        return Picture(draw(self.engine, moved)[0], (f"move {strength:.3g}",), (digest(ws),))

    def express(
        self,
        code: ArrayLike,
        expression: Expression | str | Path,
        strength: float = 1.0,
        *,
        layers: Layers | None = None,
    ) -> Picture:
        """Draw a code with an expression: "happy", "sad", "fear", a file, or an `Expression`.

        Arguments and errors are those of `mien.express`; an expression that is known to be of
        another generator is an ArchMismatch, even where shapes agree.
        """
        ws, chosen = self._codes(code), as_expression(expression)
        chosen.check(self.engine.bundle)
        moved = express(ws, chosen, strength, layers=layers)
        done = f"express {chosen.name} {strength:.3g}"
        return Picture(draw(self.engine, moved)[0], (done,), (digest(ws),))

    def animate(
        self,
        code: ArrayLike,
        expression: Expression | str | Path,
        strengths: Sequence[float] | None = None,
        *,
        layers: Layers | None = None,
        frames_per_second: float = 12.5,
    ) -> Animation:
        """Draw a code with an expression at several strengths; None means from 0 to 1 and back."""
        ws, chosen = self._codes(code)[0], as_expression(expression)
        chosen.check(self.engine.bundle)
        steps = strengths_between(0.0, 1.0) if strengths is None else list(strengths)
        if not steps:
            raise InputError("no strengths were given", hint="Give one for each frame")
        codes = np.stack([express(ws, chosen, strength, layers=layers) for strength in steps])
        done = f"express {chosen.name} {min(steps):.3g} to {max(steps):.3g}"
        return Animation(draw(self.engine, codes), frames_per_second, (done,), (digest(ws),))

    def make_expression(
        self,
        neutral: Sequence[AlignedFace | Image],
        emotional: Sequence[AlignedFace | Image],
        *,
        name: str,
        settings: Settings | str | None = None,
        layers: Layers | None = None,
        licence: str = "",
        note: str = "",
        callback: Callable[[Step], object] | None = None,
    ) -> Expression:
        """Make an expression of aligned faces: pairs, each of one person, projected in one batch.

        layers: that it is added to; None means all but layer 0. licence, note: kept with it.

        Raises InputError: no pairs, unequal counts, or faces of another size.
        """
        faces = [pixels_of(face) for face in (*neutral, *emotional)]
        codes = self.project_all(faces, settings, callback=callback) if faces else []
        return expression_from_codes(
            codes[: len(neutral)],
            codes[len(neutral) :],
            name=name,
            layers=layers,
            bundle=self.engine.bundle,
            sources=[digest(face) for face in faces],
            licence=licence,
            note=note,
        )

    def swap(
        self,
        *,
        identity: AlignedFace | Image,
        attributes: AlignedFace | Image,
        settings: SwapSettings | None = None,
        start: ArrayLike | None = None,
        every: int = 10,
        callback: Callable[[Step], object] | None = None,
        stop: threading.Event | None = None,
        save: str | Path | None = None,
        resume: bool = False,
    ) -> Swap:
        """Give one face the identity of another; its pose, colours and background stay.

        Args:
            identity: the donor, from `align`, or a picture at the generator's resolution.
            attributes: the face that is changed, likewise.
            start: a code to begin with, float32 [L, D], instead of what the settings say.
            The others are those of `project`; records begin when the first code is found.

        Raises:
            ArchMismatch: the bundle has no recogniser; its hint says how to make one that has.
            InputError, NotFinite: as `project`.
        """
        faces = crops([pixels_of(identity), pixels_of(attributes)], self.resolution)
        return swap(
            self.engine,
            faces[0],
            faces[1],
            settings or SwapSettings(),
            start=start,
            every=every,
            callback=callback,
            stop=stop,
            save=None if save is None else Path(save),
            resume=resume,
        )

    def report(self) -> list[Choice]:
        """Who ran the graphs used so far, at which precision, how fast, and why not the others."""
        return self._networks.report()

    def close(self) -> None:
        """Free what the backends hold. The studio must not be used afterwards."""
        self._networks.close()
        if self._finder is not None:
            self._finder.close()

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
        if landmarks is not None:
            return as_landmarks(landmarks)
        from mien.faces.detect import choose

        return choose(self._faces(pixels), which).landmarks

    def _faces(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        """What the detector finds; it is opened at its first use."""
        from mien.faces.detect import open_detector

        with self._finder_lock:
            if self._finder is None:
                path = detector_path(self._detector)
                self._finder = open_detector(path, threads=self._threads)
        return self._finder.detect(pixels)

    def _label(self, label: int | None) -> dict[str, NDArray[np.float32]]:
        """The class as the mapping network takes it, one-hot [1, label_dim]."""
        classes = self.label_dim
        if classes == 0 and label is None:
            return {}
        if classes == 0 or label is None or not 0 <= label < classes:
            expected = f"0 to {classes - 1}" if classes else "none: it was trained without classes"
            raise InputError(
                f"label is {label}, this generator's are {expected}",
                hint="Pass label=0, for example" if classes else "Leave label out",
            )
        return {"label": np.eye(classes, dtype=np.float32)[[label]]}

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
