"""Verbs of style transfer: on a picture, in one pass or by a search, on a video, live.

`Studio` has them. The bundles of the families adain and vgg are opened at their first use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from mien.bundles import style_path
from mien.edits.gatys import Painting, gatys
from mien.edits.gatys_settings import GatysSettings
from mien.edits.loop import Step
from mien.edits.presets import gatys_settings_of
from mien.edits.stylize import Style, blended, style_of, stylize, stylized_under_masks
from mien.errors import InputError
from mien.faces.align import AlignedFace
from mien.family_verbs import pixels_of
from mien.images import Image, Picture, as_rgb
from mien.networks import Networks
from mien.provenance import digest
from mien.video import Converted, Frame, FrameEdit, convert, edited

if TYPE_CHECKING:
    from mien.realtime.report import Report
    from mien.realtime.sources import LiveSource
    from mien.realtime.viewers import Viewer


Styles = Image | Style | Sequence[Image | Style]


class StyleVerbs:
    """What a studio does with the families adain and vgg."""

    _networks: Networks

    def encode_style(self, style: Image) -> Style:
        """Read a style once; `stylize` and `style_edit` take it in the picture's place."""
        return self._styles(style)[0][0]

    def stylize(
        self,
        content: AlignedFace | Image,
        style: Styles,
        *,
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
        masks: Sequence[NDArray[np.float32]] | None = None,
        match_colour: float = 1.0,
        keep_colour: bool = False,
    ) -> Picture:
        """Draw a picture of any size in the style of one or more others (AdaIN, one pass).

        Args:
            style: a picture, what `encode_style` made of one, or several: they are blended by
                weights, or laid side by side by masks, one of the content's height and width
                each, float32 in 0..1. "mosaic", "print", "strokes" and "waves" come with mien.
            strength: 0 redraws the content, 1 takes the whole style.
            match_colour: how far what the network draws is given the style's mean colour and the
                covariance of its colours, 0 to 1; the paper has 0.
            keep_colour: hues stay the content's.

        Raises InputError: weights and masks at once, or of another number, or sizes that the
        network does not take.
        """
        engine, pixels = self._networks["adain"], pixels_of(content)
        styles, sources = self._styles(style)
        if masks is not None and weights is not None:
            raise InputError("weights and masks were both given", hint="Leave one of them out")
        if masks is not None:
            drawn = stylized_under_masks(
                engine, pixels, styles, masks,
                strength=strength, match_colour=match_colour, keep_colour=keep_colour,
            )  # fmt: skip
        else:
            mixed = blended(styles, weights)
            drawn = stylize(
                engine, pixels, mixed,
                strength=strength, match_colour=match_colour, keep_colour=keep_colour,
            )  # fmt: skip
        return Picture(drawn, ("stylize",), (digest(pixels), *sources))

    def gatys(
        self,
        content: AlignedFace | Image,
        style: Image | Sequence[Image],
        settings: GatysSettings | str | None = None,
        *,
        weights: Sequence[float] | None = None,
        start: Image | None = None,
        every: int = 10,
        callback: Callable[[Step], object] | None = None,
        seconds: float | None = None,
        stop: threading.Event | None = None,
        save: str | Path | None = None,
        mark: bool = True,
    ) -> Painting:
        """Paint a picture in the style of one or more others, by a search for its pixels.

        Slower than `stylize`, and free in what it takes of the style: layers, weights, sizes.

        Args:
            style: a picture, or several: they are blended by weights, which are made to sum 1.
                "mosaic", "print", "strokes" and "waves" come with mien.
            settings: mien.GatysSettings(...), or a preset by its name: "fast" or "published".
            start: a picture to begin with; None follows the settings.
            every: steps between two records. callback: called with each, a `Step`, whose
                shown["picture"] is what was found so far, uint8 [1, H, W, 3].
            seconds: end after so many. stop: set this event to end early; the best so far is
                returned.
            save: a picture file that has the best so far at each record, also where the run is
                interrupted. mark: say in it who made it.

        Raises:
            InputError: sizes, weights or layers that do not fit, an unknown preset.
            ArchMismatch: the bundle has no graph for these settings.
            NotFinite: the search diverged.
        """
        return gatys(
            self._networks["vgg"],
            pixels_of(content),
            style_pictures(style),
            gatys_settings_of(settings),
            weights=weights,
            start=None if start is None else as_rgb(start),
            every=every,
            callback=callback,
            seconds=seconds,
            stop=stop,
            save=None if save is None else Path(save),
            mark=mark,
        )

    def style_edit(
        self,
        style: Styles,
        *,
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
        match_colour: float = 1.0,
        keep_colour: bool = False,
    ) -> FrameEdit:
        """Encode a style once, as an edit of frames: for `mien.video.convert`, or `mien.realtime`.

        Arguments and errors are those of `stylize`.
        """
        engine = self._networks["adain"]
        styles, sources = self._styles(style)
        mixed = blended(styles, weights)
        settings = {
            "network": engine.bundle.fingerprint,
            "backend": engine.backend_of("transfer"),
            "strength": str(strength),
            "match_colour": str(match_colour),
            "weights": "alike" if weights is None else str(list(weights)),
            "colours": "kept" if keep_colour else "of the style",
        }

        def draw(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return stylize(
                engine, picture, mixed,
                strength=strength, match_colour=match_colour, keep_colour=keep_colour,
            )  # fmt: skip

        return FrameEdit(draw, ("stylize",), sources, settings)

    @overload
    def stylize_video(
        self,
        source: str | Path,
        output: str | Path,
        *,
        style: Image | Sequence[Image],
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
        match_colour: float = 1.0,
        keep_colour: bool = False,
        **options: Any,
    ) -> Converted: ...

    @overload
    def stylize_video(
        self,
        source: str | Path,
        output: None = None,
        *,
        style: Image | Sequence[Image],
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
        match_colour: float = 1.0,
        keep_colour: bool = False,
        **options: Any,
    ) -> Iterator[Frame]: ...

    def stylize_video(
        self,
        source: str | Path,
        output: str | Path | None = None,
        *,
        style: Image | Sequence[Image],
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
        match_colour: float = 1.0,
        keep_colour: bool = False,
        **options: Any,
    ) -> Converted | Iterator[Frame]:
        """Draw every frame of a video in a style; times stay exact, sound is copied bit for bit.

        Args:
            source: a video file or a GIF.
            output: the file; None returns the frames instead, one after another, with their times.
            style, strength, weights, match_colour, keep_colour: as in `stylize`.
            options: those of `mien.video.convert`, or of `mien.video.edited` without an output.

        Raises what those raise.
        """
        edit = self.style_edit(
            style, strength=strength, weights=weights,
            match_colour=match_colour, keep_colour=keep_colour,
        )  # fmt: skip
        if output is None:
            return edited(source, edit, **options)
        return convert(source, output, edit, **options)

    def stylize_live(
        self,
        source: LiveSource,
        viewer: Viewer,
        *,
        style: Image | Sequence[Image],
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
        match_colour: float = 1.0,
        keep_colour: bool = False,
        **options: Any,
    ) -> Report:
        """Draw live frames in a style and show them, until the source ends or the viewer is gone.

        Args:
            source, viewer: from `mien.realtime.open_source` and `open_viewer`.
            style, strength, weights, match_colour, keep_colour: as in `stylize`.
            options: those of `mien.realtime.run`.

        Raises what that raises.
        """
        from mien.realtime import run

        edit = self.style_edit(
            style, strength=strength, weights=weights,
            match_colour=match_colour, keep_colour=keep_colour,
        )  # fmt: skip
        return run(source, edit, viewer, **options)

    def _styles(self, style: Styles) -> tuple[list[Style], tuple[str, ...]]:
        """Styles of one or more pictures, and the names of those as sources."""
        engine = self._networks["adain"]
        several = [style] if isinstance(style, Style | str | Path | Picture | np.ndarray) else style
        found = [
            one if isinstance(one, Style) else style_of(engine, style_pictures(one)[0])
            for one in several
        ]
        return found, tuple(one.source for one in found)


def style_pictures(style: Image | Sequence[Image]) -> list[NDArray[np.uint8]]:
    """One or several, by the names of mien's own or as any picture."""
    several = [style] if isinstance(style, str | Path | Picture | np.ndarray) else list(style)
    return [as_rgb(style_path(one) if isinstance(one, str | Path) else one) for one in several]
