"""Verbs for the face in every frame of a film: it is cut out, edited, and laid back.

`Studio` has them. Each returns an edit of frames, for `mien.video.convert` or `mien.realtime`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.edits import translate as translation
from mien.edits.crops import size_of
from mien.edits.express import express
from mien.edits.expression import Expression, as_expression
from mien.edits.translate import FaceStyle, translated
from mien.faces.align import AlignedFace
from mien.faces.landmarks import Landmarks
from mien.faces.paste import paste
from mien.images import Image, Picture
from mien.networks import Networks
from mien.video import FrameEdit
from mien_engines import Engine

if TYPE_CHECKING:
    from mien.faces.detect import Which

U8 = NDArray[np.uint8]


class FilmVerbs(ABC):
    """What a studio does with the largest face of each frame."""

    _networks: Networks

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """The generator's engine."""

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

    @abstractmethod
    def invert(self, face: AlignedFace | Image) -> NDArray[np.float32]:
        """Return the encoder's guess of a face's code; `Studio.invert` says how."""

    @abstractmethod
    def render(self, code: ArrayLike) -> Picture:
        """Draw the face of a code."""

    def face_edit(
        self,
        draw: Callable[[U8], U8],
        name: str,
        *,
        size: int,
        sources: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> FrameEdit:
        """Make an edit of faces an edit of frames: of the largest face, laid back into the frame.

        A frame without a face raises NoFace; the caller's rule for failures says what then.

        Args:
            draw: aligned face -> face, uint8 RGB [size, size, 3].
            name, sources: what the file says was done, and with what.
            settings: what the result depends on; a broken run goes on only where they are equal.
        """

        def frame(picture: U8) -> U8:
            face = self.align(picture, which="largest", size=size)
            return paste(picture, face, draw(face.image))

        return FrameEdit(frame, (name,), tuple(sources), settings or {"edit": name})

    def translate_edit(self, style: FaceStyle) -> FrameEdit:
        """Translate the face in every frame to a style, which was encoded once (`face_style`).

        Raises ArchMismatch for a style of another network.
        """
        engine = self._networks[translation.FAMILY]
        style.check(engine.bundle)
        settings = {"network": engine.bundle.fingerprint, "style": style.code.tobytes().hex()}
        return self.face_edit(
            lambda face: translated(engine, face, style),
            f"translate {style.what}",
            size=size_of(engine),
            sources=style.sources,
            settings=settings,
        )

    def express_edit(self, expression: Expression | str | Path, strength: float = 1.0) -> FrameEdit:
        """Give the face in every frame an expression.

        The encoder finds each frame's code, and what the expression changes of its picture is added
        to the frame: what the generator cannot draw stays as it was.

        Raises ArchMismatch for an expression of another generator, or without an encoder.
        """
        chosen = as_expression(expression)
        chosen.check(self.engine.bundle)

        def draw(face: U8) -> U8:
            code = self.invert(face)
            plain, moved = (
                self.render(ws).array.astype(np.int16)
                for ws in (code, express(code, chosen, strength))
            )
            return np.clip(face + (moved - plain), 0, 255).astype(np.uint8)

        name = f"express {chosen.name} {strength:.3g}"
        settings = {"network": self.engine.bundle.fingerprint, "edit": name}
        size = size_of(self.engine)
        return self.face_edit(draw, name, size=size, settings=settings)
