"""Gatys' style transfer: the pixels themselves are searched for, by gradient descent.

Gatys et al. 2016; what is minimised is system 2's form of it (mien_export.steps.pixels has the
equations). The network's features, the losses, the gradient and Adam are one engine; here is where
a search begins, how it goes from coarse to fine, and what becomes of its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.edits.colour import with_colours_of, with_hues_of
from mien.edits.gatys_layers import Chosen, chosen_layers
from mien.edits.gatys_settings import LARGEST, GatysSettings
from mien.edits.loop import Array, Course, Ending, Outcome, RunState, Step, descend
from mien.edits.project import check_limits
from mien.edits.quasi_newton import descend_quasi_newton
from mien.edits.settings import scalar
from mien.errors import InputError
from mien.images import Picture, check_name
from mien.provenance import digest
from mien_engines import Engine

TERMS = ("style", "content", "smoothness")  # the engine's
IMAGE = Course(code="image")
LEAST_STYLE = 32  # px of a style's shorter side, so that each stage of a network sees something

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Callback = Callable[[Step], object]


@dataclass(frozen=True, eq=False)
class Painting:
    """A found picture; NumPy functions take the painting itself in its place.

    picture: of the least loss at the whole size, or, where the run ended before it came there,
        enlarged from the size it had reached.
    loss, terms: at this picture; terms by name, weighted: their sum is the loss.
    steps: taken, of all sizes together. ended: by what: all steps, the time (seconds), or stop.
    losses: every few steps, of all sizes one after another.
    seconds: of the run. backend: who ran the steps, and at which precision.
    """

    picture: Picture
    loss: float
    terms: dict[str, float]
    steps: int
    ended: Ending
    losses: tuple[float, ...]
    seconds: float
    backend: str

    @property
    def finished(self) -> bool:
        """Whether all steps were taken."""
        return self.ended == "steps"

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Array:
        return np.array(self.picture.array, dtype=dtype, copy=copy)  # type: ignore[call-overload, no-any-return]

    def save(self, path: str | Path, *, mark: bool = True) -> Path:
        """Write PNG, JPEG or WebP, by suffix. Without mark the file does not say who made it."""
        return self.picture.save(path, mark=mark)


def gatys(
    engine: Engine,
    content: U8,  # [H, W, 3]
    styles: Sequence[U8],  # [S, T, 3] each
    settings: GatysSettings,
    *,
    weights: Sequence[float] | None = None,
    start: U8 | None = None,  # [A, B, 3]
    every: int = 10,
    callback: Callback | None = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    save: Path | None = None,
    mark: bool = True,
) -> Painting:
    """Paint content in the style of others; arguments as in `Studio.gatys`.

    Raises:
        InputError: sizes, weights or layers that do not fit. ArchMismatch: the bundle is of an
            older mien, and has no graph for it.
        NotFinite: the search diverged. KeyboardInterrupt is passed on; `save` has the best so far.
    """
    check_limits(every, None, seconds)
    if save is not None:
        check_name(save)
    shares = _shares(styles, weights)
    sizes = _sizes(engine, content, settings)
    layers = chosen_layers(engine, settings)
    if settings.colour == "matched":
        styles = [with_colours_of(content, style) for style in styles]
    sources = tuple(map(digest, [content, *styles, *([] if start is None else [start])]))

    def picture(image: F32) -> Picture:  # [1, 3, H, W]
        return Picture(_finished(image, sizes[-1], content, settings), ("gatys",), sources)

    began, total = time.perf_counter(), sum(settings.steps)
    done, losses = 0, []
    image = _first_image(content if start is None else start, sizes[0], settings, start is None)
    outcome: Outcome | None = None
    for size, steps in zip(sizes, settings.steps, strict=True):
        image = image if outcome is None else _scaled_image(outcome.best, size)
        least = np.inf

        def record(step: Step, begun: int = done) -> None:
            nonlocal least
            if callback is None and save is None:
                return
            drawn = picture(step.codes)
            if save is not None and step.loss[0] < least:
                least = float(step.loss[0])
                drawn.save(save, mark=mark)
            if callback is not None:
                callback(
                    replace(
                        step,
                        step=begun + step.step,
                        steps=total,
                        seconds=time.perf_counter() - began,
                        shown={"picture": drawn.array[None]},
                    )
                )

        outcome = _search(
            engine,
            layers,
            image,
            _targets(engine, layers, _scaled(content, size), _sized(styles, size), shares),
            settings,
            steps,
            every=every,
            callback=record,
            seconds=None if seconds is None else began + seconds - time.perf_counter(),
            stop=stop,
        )
        done += outcome.steps
        losses += outcome.losses
        if not outcome.finished:
            break
    assert outcome is not None
    painting = Painting(
        picture=picture(outcome.best),
        loss=float(outcome.loss[0]),
        terms=dict(zip(TERMS, map(float, outcome.terms[0]), strict=True)),
        steps=done,
        ended=outcome.ended,
        losses=tuple(losses),
        seconds=time.perf_counter() - began,
        backend=engine.backend_of(layers.graph(settings.optimiser)),
    )
    if save is not None:
        painting.save(save, mark=mark)
    return painting


def _search(
    engine: Engine,
    layers: Chosen,
    image: F32,
    targets: Mapping[str, F32],
    settings: GatysSettings,
    steps: int,
    *,
    every: int,
    callback: Callback,
    seconds: float | None,
    stop: threading.Event | None,
) -> Outcome:
    """Search at one size."""
    grams, contents = layers.style_weights, layers.content_weights
    if settings.relative:
        grams = _relative(grams, [targets[name] for name in layers.grams])
        contents = _relative(contents, [targets[name] for name in layers.contents])
    constants = {
        "style_weights": grams,
        "content_weights": contents,
        "smoothness": scalar(settings.smoothness),
        **targets,
    }
    graph = layers.graph(settings.optimiser)
    if settings.optimiser == "lbfgs":
        return descend_quasi_newton(
            engine, graph, image, constants, steps=steps, history=settings.history,
            every=every, callback=callback, seconds=seconds, stop=stop,
        )  # fmt: skip
    zeros = np.zeros_like(image)
    state = {"image": image, "m": zeros, "v": zeros.copy(), "t": scalar(0)}
    rates = {"rate": scalar(settings.rate), "decay": scalar(settings.decay)}
    return descend(
        engine, graph, RunState(state, {}), constants | rates, steps=steps,
        course=IMAGE, every=every, callback=callback, seconds=seconds, stop=stop,
    )  # fmt: skip


def _targets(
    engine: Engine, layers: Chosen, content: U8, styles: Sequence[U8], shares: F32
) -> dict[str, F32]:
    """What the steps of one size compare with.

    The weighted mean of the styles' Gram matrices stands for them all: it has the gradient of the
    weighted sum of their losses.
    """
    found: dict[str, F32] = {}
    for style, share in zip(styles, shares, strict=True):
        one = engine.run("gatys_targets", content=content[None], style=style[None])
        found |= {name: one[name] for name in layers.contents}
        for name in layers.grams:
            found[name] = found.get(name, np.float32(0)) + share * one[name]
    return found


def _relative(weights: F32, targets: Sequence[F32]) -> F32:
    """Divide weights by the mean squares of targets; one that is zero throughout has none."""
    squares = [float(np.square(target, dtype=np.float64).mean()) or 1.0 for target in targets]
    divided: F32 = (weights / np.array(squares)).astype(np.float32)
    return divided


def _shares(styles: Sequence[U8], weights: Sequence[float] | None) -> F32:
    """Return the styles' weights, made to sum 1."""
    shares = np.ones(len(styles)) if weights is None else np.asarray(weights, float)
    if not styles or shares.shape != (len(styles),):
        raise InputError(
            f"{len(styles)} styles with {shares.size} weights", hint="Give each style one weight"
        )
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise InputError(
            f"the weights are {shares.tolist()}, expected numbers from 0 whose sum is above 0"
        )
    normal: F32 = (shares / shares.sum()).astype(np.float32)
    return normal


def _sizes(engine: Engine, content: U8, settings: GatysSettings) -> list[tuple[int, int]]:
    """Return height and width in px of each size, from coarse to fine; the aspect is kept."""
    height, width = content.shape[:2]
    longer = settings.size or max(height, width)
    least = engine.bundle.spec.properties.get("least_side", 1)
    assert isinstance(least, int)
    sizes = []
    for halvings in reversed(range(len(settings.steps))):
        scale = longer / max(height, width) / 2**halvings
        sizes.append((max(1, round(height * scale)), max(1, round(width * scale))))
    if longer > LARGEST or min(sizes[0]) < least:
        raise InputError(
            f"the picture would be {sizes[-1][1]} x {sizes[-1][0]} px, and {sizes[0][1]} x "
            f"{sizes[0][0]} px at first, expected sides of {least} to {LARGEST} px",
            hint="Give another size, or fewer steps=(...) to begin at a larger one",
        )
    return sizes


def _sized(styles: Sequence[U8], size: tuple[int, int]) -> list[U8]:
    """Scale the styles so that their longer side is that of the picture."""
    scaled = []
    for style in styles:
        height, width = style.shape[:2]
        scale = max(size) / max(height, width)
        sides = [max(LEAST_STYLE, round(side * scale)) for side in (height, width)]
        scaled.append(_scaled(style, (sides[0], sides[1])))
    return scaled


def _scaled(picture: U8, size: tuple[int, int]) -> U8:
    if picture.shape[:2] == size:
        return picture
    smaller = size[0] < picture.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=how), np.uint8)


def _first_image(
    picture: U8, size: tuple[int, int], settings: GatysSettings, may_be_noise: bool
) -> F32:  # [1, 3, H, W]
    if may_be_noise and settings.start == "noise":
        noise = np.random.default_rng(settings.seed).standard_normal((1, 3, *size), np.float32)
        return (2 * noise - 1).clip(-1, 1)  # system 2's: normal numbers for [0, 1], clamped
    pixels = _scaled(picture, size).astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _scaled_image(image: F32, size: tuple[int, int]) -> F32:  # [1, 3, h, w] -> [1, 3, H, W]
    pixels = cv2.resize(
        image[0].transpose(1, 2, 0), (size[1], size[0]), interpolation=cv2.INTER_CUBIC
    )
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None].clip(-1, 1), np.float32)


def _finished(
    image: F32, size: tuple[int, int], content: U8, settings: GatysSettings
) -> U8:  # [1, 3, h, w] -> [H, W, 3]
    """Turn an image into the picture that a user gets, at the whole size."""
    whole = image if image.shape[2:] == size else _scaled_image(image, size)
    levels = np.rint(whole[0].transpose(1, 2, 0) * 127.5 + 127.5).clip(0, 255).astype(np.uint8)
    if settings.colour == "lightness":
        return with_hues_of(_scaled(content, size), levels)
    return np.ascontiguousarray(levels)
