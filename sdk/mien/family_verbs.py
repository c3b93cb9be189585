"""Verbs of the networks that draw faces without W+ codes: merging, translation, look-alikes.

`Studio` has them. Each takes aligned faces, and opens the bundle of its family at its first use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.animation import Animation
from mien.edits import lookalike
from mien.edits import merge as merging
from mien.edits import translate as translation
from mien.edits.crops import scaled, scaled_all, size_of
from mien.edits.lookalike import Band, Lookalikes
from mien.edits.lookalike_set import write_set
from mien.edits.ranges import Range
from mien.edits.translate import Domain, FaceStyle
from mien.errors import InputError
from mien.faces.align import AlignedFace
from mien.faces.landmarks import Landmarks
from mien.faces.wing import MEAN_FACE, align_wing, load_mean_face
from mien.images import Image, Picture, as_rgb
from mien.networks import Networks
from mien.provenance import digest

if TYPE_CHECKING:
    from mien.faces.detect import Which


class FamilyVerbs(ABC):
    """What a studio does with the families vaegan, starganv2 and lookalike."""

    _networks: Networks

    @abstractmethod
    def align(
        self,
        photo: Image,
        *,
        landmarks: Landmarks | str | Path | None = None,
        which: Which = "only",
        size: int | None = None,
    ) -> AlignedFace:
        """Cut a face out of a photograph; `Studio.align` says how."""

    def open_family(self, family: str) -> None:
        """Open a family's bundle now, and not at its first use. Raises ArchMismatch for none."""
        _ = self._networks[family]

    def face_size(self, family: str) -> int:
        """Width and height in px of the faces that a family's network takes: "vaegan", ..."""
        return size_of(self._networks[family])

    @property
    def lookalike_controls(self) -> int:
        """Numbers that a look-alike is drawn under."""
        return size_of(self._networks[lookalike.FAMILY], "control")

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains that `translate` draws in, or their numbers."""
        return translation.domain_names(self._networks[translation.FAMILY])

    def merge(
        self,
        content: AlignedFace | Image,
        pattern: AlignedFace | Image,
        *,
        strength: float = 1.0,
        blocks: Range = "all",
        learned: bool = True,
    ) -> Picture:
        """Merge two aligned faces; with the arguments exchanged, the other way round.

        Args:
            content, pattern: squares of any size, which are scaled to the network's.
            strength: 0 draws the content again, 1 merges.
            blocks: the sizes of detail that merge: "middle" (16 and 32 px), "coarse", "fine",
                "all", numbers, or px such as "8-16px". The others keep the content.
            learned: with the trained merge; False puts the content's code at the mean and
                deviation of the pattern's, without parameters.

        Raises InputError: no square, blocks that do not exist, a strength beyond 0 to 1.
        """
        engine = self._networks[merging.FAMILY]
        faces = self._scaled(merging.FAMILY, {"content": content, "pattern": pattern})
        drawn = merging.merge(
            engine, faces[:1], faces[1:], strength=strength, blocks=blocks, learned=learned
        )
        return Picture(drawn[0], ("merge",), tuple(map(digest, faces)))

    def merge_sheet(
        self,
        contents: Sequence[AlignedFace | Image],
        patterns: Sequence[AlignedFace | Image],
        *,
        strength: float = 1.0,
        blocks: Range = "all",
        learned: bool = True,
        callback: Callable[[int, int], object] | None = None,
    ) -> Picture:
        """Merge every content (rows) with every pattern (columns), the faces along the edges.

        callback: called with how many are drawn, and of how many. The other arguments and the
        errors are those of `merge`.
        """
        engine = self._networks[merging.FAMILY]
        size = size_of(engine)
        rows = scaled_all([pixels_of(face) for face in contents], size, "content")
        columns = scaled_all([pixels_of(face) for face in patterns], size, "pattern")
        sheet = merging.merge_sheet(
            engine, rows, columns,
            strength=strength, blocks=blocks, learned=learned, callback=callback,
        )  # fmt: skip
        return Picture(sheet, ("merge",), tuple(map(digest, [*rows, *columns])))

    def align_for_translation(
        self,
        photo: Image,
        *,
        landmarks: Landmarks | str | Path | None = None,
        which: Which = "only",
        mean: str | Path | None = None,
    ) -> AlignedFace:
        """Cut a face out as `translate` wants it, at its size.

        As `align` does, from which photo, landmarks, which and the errors are; where the bundle
        has FAN, its 98 landmarks then place the face anew (`mien.faces.wing`).

        mean: the .npz with the mean face that came with the checkpoint; None means mien's own.

        Raises InputError for a mean where there is no FAN, CorruptFile for a file without one.
        """
        engine, pixels = self._networks[translation.FAMILY], as_rgb(photo)
        face = self.align(pixels, landmarks=landmarks, which=which, size=size_of(engine))
        if "landmarks" not in engine.bundle.spec.graphs:
            if mean is not None:
                raise InputError(
                    f"bundle {engine.bundle.name} has no FAN to lay a face on a mean one with",
                    hint="Leave mean out",
                )
            return face
        points = engine.run("landmarks", picture=face.image[None])["landmarks"][0]
        placed = points @ face.to_photo[:2, :2].T + face.to_photo[:2, 2]
        onto = MEAN_FACE if mean is None else load_mean_face(mean)
        return align_wing(pixels, placed, size=face.size, mean=onto)

    def face_style(
        self,
        *,
        reference: AlignedFace | Image | None = None,
        domain: Domain | None = None,
        seed: int | None = None,
        psi: float | None = None,
    ) -> FaceStyle:
        """Find a style for `translate`, to be used for any number of pictures.

        Args:
            reference: an aligned face of the domain; None means a style of nobody.
            domain: number, or name where the bundle has names.
            seed: of nobody's style; None means the mean style of the domain.
            psi: truncation of that style: 1, or None, keeps it, 0 is the mean.

        Raises InputError: no such domain, a reference with a seed, psi without a seed.
        """
        engine = self._networks[translation.FAMILY]
        if reference is None:
            return translation.style_of_domain(engine, domain, seed, psi)
        _check_guided(seed, psi)
        face = self._scaled(translation.FAMILY, {"reference": reference})[0]
        return translation.style_of_reference(engine, face, domain)

    def translate(
        self,
        face: AlignedFace | Image,
        style: FaceStyle | None = None,
        *,
        reference: AlignedFace | Image | None = None,
        domain: Domain | None = None,
        seed: int | None = None,
        psi: float | None = None,
    ) -> Picture:
        """Draw a face in the style of another domain (StarGAN v2); pose and expression stay.

        Args:
            face: from `align_for_translation`, or a square, which is scaled to the network's size.
            style: from `face_style`; or what that takes instead.

        Raises:
            InputError: a style and one of the others at once, or as `face_style`.
            ArchMismatch: a style of another network, or no FAN where the network needs its masks.
        """
        engine = self._networks[translation.FAMILY]
        if style is not None and any(x is not None for x in (reference, domain, seed, psi)):
            raise InputError(
                "a style was given, and what to make one of", hint="Leave one of them out"
            )
        if reference is not None:
            _check_guided(seed, psi)
            pair = self._scaled(translation.FAMILY, {"face": face, "reference": reference})
            drawn, what = translation.guided(engine, pair[0], pair[1], domain)
            return Picture(drawn, (f"translate {what}",), tuple(map(digest, pair)))
        found = style or translation.style_of_domain(engine, domain, seed, psi)
        pixels = self._scaled(translation.FAMILY, {"face": face})[0]
        drawn = translation.translated(engine, pixels, found)
        return Picture(drawn, (f"translate {found.what}",), (digest(pixels), *found.sources))

    def translate_sheet(
        self,
        faces: Sequence[AlignedFace | Image],
        references: Sequence[AlignedFace | Image],
        *,
        domain: Domain | None,
        callback: Callable[[int, int], object] | None = None,
    ) -> Picture:
        """Draw every face (columns) in the style of every reference (rows), all of one domain.

        callback: called with how many are drawn, and of how many. Errors are those of `translate`.
        """
        engine = self._networks[translation.FAMILY]
        size = size_of(engine)
        columns = scaled_all([pixels_of(face) for face in faces], size, "face")
        rows = scaled_all([pixels_of(face) for face in references], size, "reference")
        styles = [translation.style_of_reference(engine, row, domain) for row in rows]
        sheet = translation.translation_sheet(engine, columns, rows, styles, callback)
        done = f"translate {styles[0].what}"
        return Picture(sheet, (done,), tuple(map(digest, [*columns, *rows])))

    def translate_between(
        self,
        face: AlignedFace | Image,
        styles: Sequence[FaceStyle],
        *,
        frames: int = translation.FRAMES,
        frames_per_second: float = 12.5,
        callback: Callable[[int, int], object] | None = None,
    ) -> Animation:
        """Draw a face on its way from the first style through all others.

        frames: from each style to the next. callback: called with how many are drawn, and of how
        many. Raises InputError for fewer than two styles, and as `translate`.
        """
        engine = self._networks[translation.FAMILY]
        pixels = self._scaled(translation.FAMILY, {"face": face})
        passed = translation.way(styles, frames)
        drawn = translation.translated_all(engine, pixels, passed, callback)[:, 0]
        edits = dict.fromkeys(f"translate {style.what}" for style in styles)
        sources = dict.fromkeys(source for style in styles for source in style.sources)
        return Animation(drawn, frames_per_second, tuple(edits), (digest(pixels[0]), *sources))

    def lookalikes(
        self,
        face: AlignedFace | Image,
        n: int | None = None,
        *,
        seed: int = 0,
        control: ArrayLike | None = None,
        between: Band | None = None,
        cosines: bool = False,
        callback: Callable[[int, int], object] | None = None,
    ) -> Lookalikes:
        """Draw faces that share an aligned face's identity and differ in how they are drawn.

        Args:
            face: a square of any size, which is scaled to the network's.
            n: how many, 16 unasked. seed: of their controls; the first of more are those of fewer.
            control: float32 [n, C] or [C] to draw with, instead of random ones.
            between: keep those whose cosine to the face is in this band, and draw until there are
                n. Cosines are those of the family arcface.
            cosines: tell them without a band, too.
            callback: called with how many there are, and n.

        Raises:
            InputError: n, seed or band out of range; controls of another shape, or beside a band
                or another n; too few look-alikes in the band.
            ArchMismatch: cosines without a bundle of family arcface.
        """
        engine = self._networks[lookalike.FAMILY]
        pixels = self._scaled(lookalike.FAMILY, {"face": face})[0]
        judge = self._networks[lookalike.JUDGE] if cosines or between is not None else None
        if control is None:
            many = lookalike.MANY if n is None else n
            return lookalike.lookalikes(
                engine, pixels, many, seed=seed, between=between, judge=judge, callback=callback
            )
        controls = lookalike.as_controls(control, size_of(engine, "control"))
        if between is not None or n not in (None, len(controls)):
            raise InputError(
                f"{len(controls)} controls were given, and n or a band, which are of random ones",
                hint="Leave one of them out",
            )
        return lookalike.with_controls(engine, pixels, controls, judge)

    def lookalike_walk(
        self,
        face: AlignedFace | Image,
        index: int,
        *,
        low: float = -1.0,
        high: float = 1.0,
        steps: int = 9,
        base: ArrayLike | None = None,
        cosines: bool = False,
    ) -> Lookalikes:
        """Draw look-alikes along one control, from low to high; the others stay at base.

        base: of all controls, float32 [C]; None means 0. The other arguments and errors are those
        of `lookalikes`; InputError also for a control that does not exist.
        """
        count = size_of(self._networks[lookalike.FAMILY], "control")
        controls = lookalike.walk_controls(index, count, low=low, high=high, steps=steps, base=base)
        return self.lookalikes(face, control=controls, cosines=cosines)

    def lookalike_set(
        self,
        faces: Mapping[str, AlignedFace | Image],
        n: int,
        folder: str | Path,
        *,
        seed: int = 0,
        between: Band | None = None,
        cosines: bool = True,
        mark: bool = True,
        callback: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Write n look-alikes of every face to a folder, labelled, to train recognition with.

        Each person has a folder of pictures and labels; labels.csv is all of them: file, person,
        seed, number of the draw, cosine, controls. Person i of the faces has seed + i. What was
        broken off goes on at the next call, to the same bytes; a person's folder appears when it
        is whole.

        Args:
            faces: by name, which becomes a folder. callback: called with pictures so far, of all.
            cosines: without a bundle of family arcface, False leaves them out.
            The others are those of `lookalikes`. mark: as in `Picture.save`.

        Returns the path of labels.csv.

        Raises InputError: as `lookalikes`, no faces, a name that is none for a folder, a folder
        that holds something else, or one that cannot be written.
        """
        engine = self._networks[lookalike.FAMILY]
        pixels = {name: pixels_of(face) for name, face in faces.items()}
        size = size_of(engine)
        return write_set(
            engine,
            {name: scaled(face, size, f"face {name}") for name, face in pixels.items()},
            n,
            Path(folder),
            seed=seed,
            between=between,
            judge=self._networks[lookalike.JUDGE] if cosines or between is not None else None,
            mark=mark,
            callback=callback,
        )

    def _scaled(
        self, family: str, faces: Mapping[str, AlignedFace | Image]
    ) -> NDArray[np.uint8]:  # [N, R, R, 3]
        """Faces at the size of a family's network; their names are for messages."""
        size = self.face_size(family)
        return np.stack([scaled(pixels_of(face), size, name) for name, face in faces.items()])


def _check_guided(seed: int | None, psi: float | None) -> None:
    if seed is not None or psi is not None:
        raise InputError(
            "a reference was given, and a seed or psi, which are of random styles",
            hint="Leave one of them out",
        )


def pixels_of(face: AlignedFace | Image) -> NDArray[np.uint8]:
    """Return the crop of an aligned face, or the pixels of a picture."""
    return face.image if isinstance(face, AlignedFace) else as_rgb(face)
