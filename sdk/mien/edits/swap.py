"""Face swap: one face's identity, another's pose, colours and background, by gradient descent.

System 1's objective: a projection of the attributes' face whose picture a recognition network also
has to take for the donor. The step is one engine, run by the same loop as a projection's. The run
begins at the attributes' code with the donor's middle layers, the published one without them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.edits.latents import Layers, as_code, layer_range, mix, save_code
from mien.edits.loop import Outcome, RunState, Step, descend
from mien.edits.project import project
from mien.edits.settings import ProjectionSettings
from mien.errors import ArchMismatch, InputError
from mien.images import Picture
from mien.provenance import digest
from mien_engines import Engine

GRAPH = "swap_step"
TERMS = ("perceptual", "ms_ssim", "colour", "surroundings", "move", "identity")  # the engine's

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

Codes = Literal["projected", "encoded"]


@dataclass(frozen=True)
class SwapSettings:
    """What a swap minimises, and how.

    The defaults were chosen with mien's own generator, by eye (docs/swap.md).

    steps: Adam steps. rate: learning rate of the first; decay: its factor at each later one.
    perceptual, ms_ssim, colour, surroundings: weights of the distances to the attributes' face:
        LPIPS, 1 - MS-SSIM, the squared difference of a coarse picture, that of what is not face.
    move: weight of the squared distance from the first code, in units of the variance of w.
    identity: weight of 1 - cosine to the donor.
    layers: of the first code, those that are the donor's, as in `mien.mix`; () for none.
    codes: how the faces' codes are found: "projected" or "encoded".
    """

    steps: int = 60
    rate: float = 0.05
    decay: float = 0.97
    perceptual: float = 0.3
    ms_ssim: float = 0.1
    colour: float = 8.0
    surroundings: float = 8.0
    move: float = 3.0
    identity: float = 0.3
    layers: Layers = "middle"
    codes: Codes = "projected"

    def __post_init__(self) -> None:
        for name, low, high in (("steps", 1, 100_000), ("rate", 0.0, 10.0), ("decay", 0.0, 1.0)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}, expected {low} to {high}")
        for name in TERMS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"weight {name} is {getattr(self, name)}, expected 0 or more")
        if self.codes not in ("projected", "encoded"):
            raise InputError(f"codes is {self.codes!r}, expected projected or encoded")

    def inputs(self) -> dict[str, F32]:
        """Return the settings as the engine takes them."""
        return {
            "rate": np.array([self.rate], np.float32),
            "decay": np.array([self.decay], np.float32),
            "term_weights": np.array([getattr(self, name) for name in TERMS], np.float32),
        }


# The published objective. Its weight of the identity differs from source to source, 0.5 to 10; as
# of a projection, 150 rounds are 149 steps, and the decay is not published.
PUBLISHED = SwapSettings(
    steps=149,
    decay=0.99,
    perceptual=1.0,
    ms_ssim=0.5,
    colour=0.0,
    surroundings=0.0,
    move=0.0,
    identity=1.0,
    layers=(),
)


@dataclass(frozen=True, eq=False)
class Swap:
    """A swapped face.

    ws: W+ code, float32 [L, D]; NumPy functions take the swap itself in its place.
    picture: what it looks like. It says in its metadata that it was swapped, once it is saved.
    cosine: of its embedding and the donor's, by the recogniser that the run minimised: that one is
        no independent judge. distance: the perceptual term, to the attributes' face.
    loss, terms: at this code; terms in the order of TERMS.
    steps: taken. finished: whether all were. losses: the loss every few steps. seconds: of the
        steps. backend: who ran them, and at which precision.
    """

    ws: F32
    picture: Picture
    loss: float
    terms: dict[str, float]
    steps: int
    finished: bool
    losses: tuple[float, ...]
    seconds: float
    backend: str

    @property
    def cosine(self) -> float:
        return 1 - self.terms["identity"]

    @property
    def distance(self) -> float:
        return self.terms["perceptual"]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.ws, dtype=dtype, copy=copy)

    def save(self, path: str | Path, *, mark: bool = True) -> Path:
        """Write the picture as PNG, JPEG or WebP. Without mark the file does not say what it is."""
        return self.picture.save(path, mark=mark)

    def save_code(self, path: str | Path) -> Path:
        """Write the code as FILE.npy."""
        return save_code(self.ws, path)


def swap(
    engine: Engine,
    identity: U8,  # [R, R, 3]
    attributes: U8,  # [R, R, 3]
    settings: SwapSettings,
    *,
    start: ArrayLike | None = None,  # [L, D]
    every: int = 10,
    callback: Callable[[Step], object] | None = None,
    stop: threading.Event | None = None,
    save: Path | None = None,
    resume: bool = False,
) -> Swap:
    """Give the face of `attributes` the identity of `identity`; arguments as in `Studio.swap`.

    Raises:
        ArchMismatch: the bundle has no recogniser.
        InputError: pictures of another size; layers or a start that do not fit; or the saved run
            is of something else.
        NotFinite: the search diverged to infinity.
    """
    _check_bundle(engine)
    label = _label(engine, identity, attributes, settings, start)
    if resume and save is not None and save.exists():
        state = RunState.load(save)
        state.check(label)
    else:
        state = RunState(_state(_first_code(engine, identity, attributes, settings, start)), label)
    outcome = descend(
        engine,
        GRAPH,
        state,
        {
            **settings.inputs(),
            **engine.run("swap_identity", picture=identity[None]),
            **engine.run("project_target", picture=attributes[None]),
        },
        steps=settings.steps,
        every=every,
        callback=callback,
        stop=stop,
        save=save,
    )
    pixels = engine.run("render", ws=outcome.best)["picture"][0]
    picture = Picture(pixels, ("swap",), (digest(identity), digest(attributes)))
    return _swap(outcome, picture, label["backend"])


def _check_bundle(engine: Engine) -> None:
    spec = engine.bundle.spec
    if GRAPH not in spec.graphs:
        raise ArchMismatch(
            f"bundle {spec.name} cannot swap faces: it has no graph {GRAPH}",
            hint="Make one that has a recognition network: "
            "mien export stylegan2 CHECKPOINT -o BUNDLE --arcface ARCFACE.pth",
        )


def _first_code(
    engine: Engine, identity: U8, attributes: U8, settings: SwapSettings, given: ArrayLike | None
) -> F32:  # [L, D]
    layers, width = (int(engine.bundle.spec.properties[p]) for p in ("num_ws", "w_dim"))  # type: ignore[arg-type]
    if given is not None:
        code = as_code(given, "start")
        if code.shape != (layers, width):
            raise InputError(
                f"start has shape {code.shape}, this generator's codes ({layers}, {width})",
                hint="Start from a code of the same generator",
            )
        return code
    borrowed = layer_range(settings.layers, layers)
    faces = np.stack([attributes, identity]) if borrowed else attributes[None]
    codes = _codes(engine, faces, settings)
    return mix(codes[0], codes[1], layers=borrowed) if borrowed else codes[0]


def _codes(engine: Engine, faces: U8, settings: SwapSettings) -> F32:
    if settings.codes == "projected":
        return np.stack([found.ws for found in project(engine, faces, ProjectionSettings())])
    if "invert" not in engine.bundle.spec.graphs:
        raise InputError("this bundle has no encoder to find codes with", hint="Use projected")
    encoded: F32 = engine.run("invert", picture=faces)["ws"]
    return encoded


def _state(code: F32) -> dict[str, F32]:
    zeros = np.zeros_like(code[None])
    return {
        "ws": code[None].copy(),
        "m": zeros,
        "v": zeros.copy(),
        "t": np.zeros(1, np.float32),
        "start": code[None].copy(),
    }


def _label(
    engine: Engine,
    identity: U8,
    attributes: U8,
    settings: SwapSettings,
    start: ArrayLike | None,
) -> dict[str, str]:
    """What must be equal for a saved run to go on to the bits of an unbroken one."""
    given = b"" if start is None else as_code(start, "start").tobytes()
    content = identity.tobytes() + attributes.tobytes() + given
    setup = {k: v for k, v in asdict(settings).items() if k != "steps"}
    return {
        "bundle": engine.bundle.fingerprint,
        "faces": hashlib.sha256(content).hexdigest(),
        "settings": repr(sorted(setup.items())),
        "backend": engine.session(GRAPH).backend.name,
    }


def _swap(outcome: Outcome, picture: Picture, backend: str) -> Swap:
    return Swap(
        ws=outcome.best[0],
        picture=picture,
        loss=float(outcome.loss[0]),
        terms=dict(zip(TERMS, map(float, outcome.terms[0]), strict=True)),
        steps=outcome.steps,
        finished=outcome.finished,
        losses=tuple(outcome.losses),
        seconds=outcome.seconds,
        backend=backend,
    )
