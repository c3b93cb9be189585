"""What Gatys' style transfer minimises, and how: settings, and presets of them by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from mien.errors import InputError

Optimiser = Literal["adam", "lbfgs"]
Colour = Literal["style", "lightness", "matched"]
Begin = Literal["content", "noise"]
# Layers by name with a weight each; or those of the published recipe, or all of the network's,
# all with a weight of 1.
LayerWeights = Mapping[str, float] | Literal["published", "all"]

LARGEST = 1024  # px, of a side


@dataclass(frozen=True)
class GatysSettings:
    """A search for a picture of the content's values and the style's Gram matrices.

    size: the longer side of the picture in px; None means the content's own.
    steps: of each size, from coarse to fine: each size is half of the next, and begins with what
        the one before has found. (150, 80) takes 150 steps at half the size and 80 at the whole.
        A step of L-BFGS is one evaluation of the gradient.
    optimiser: "adam", a graph that does the whole step; "lbfgs", the published one.
    rate: Adam's learning rate of the first step of each size, in [-1, 1] of the image; decay: its
        factor at each later one. history: gradients that L-BFGS remembers.
    style_layers, content_layers: convolutions such as {"conv1_1": 1.0}, before the ReLU;
        "published": all up to conv3_1 for the style, stage 2's last for the content; "all".
    style_weight, content_weight: factors of the mean squared differences of Gram matrices over
        C H W, and of maps.
    relative: divide each layer's difference by the mean square of what it is compared with. Then
        weights mean the same in every layer, and for networks whose maps are of another size.
    smoothness: factor of the mean squared difference of neighbouring pixels.
    start: "content", or "noise" of a seed.
    colour: "style" takes the styles' colours. "lightness" keeps the content's hues. "matched" gives
        the styles the mean and the covariance of the content's colours beforehand.
    """

    size: int | None = 256
    steps: tuple[int, ...] = (150, 80)
    optimiser: Optimiser = "adam"
    rate: float = 0.03
    decay: float = 0.99
    history: int = 100
    style_layers: LayerWeights = "all"
    content_layers: LayerWeights = "published"
    style_weight: float = 1.0
    content_weight: float = 0.3
    relative: bool = True
    smoothness: float = 0.3
    start: Begin = "content"
    seed: int = 0
    colour: Colour = "style"

    def __post_init__(self) -> None:
        if not self.steps or not all(1 <= steps <= 100_000 for steps in self.steps):
            raise InputError(f"steps is {self.steps}, expected a number from 1 for each size")
        ranges = {"rate": (0, 10), "decay": (0, 1), "history": (1, 1000), "seed": (0, 2**63)}
        unbounded = dict.fromkeys(("style_weight", "content_weight", "smoothness"), (0, 1e15))
        sizes = {} if self.size is None else {"size": (1, LARGEST)}
        for name, (low, high) in {**ranges, **unbounded, **sizes}.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}, expected {low} to {high}")
        for name, choices in (("optimiser", Optimiser), ("start", Begin), ("colour", Colour)):
            if getattr(self, name) not in get_args(choices):
                expected = ", ".join(get_args(choices))
                raise InputError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        for name in ("style_layers", "content_layers"):
            _check_layers(name, getattr(self, name))


def _check_layers(name: str, layers: LayerWeights) -> None:
    if isinstance(layers, str):
        if layers not in ("published", "all"):
            raise InputError(
                f"{name} is {layers!r}, expected published, all or weights by layer",
                hint=f'Write {name}={{"conv1_1": 1.0}}',
            )
        return
    for layer, weight in layers.items():
        if not 0 <= weight < float("inf"):
            raise InputError(f"{name}: the weight of {layer} is {weight}, expected 0 or more")


# System 2 as published, but for the sides: it makes every picture square. Its loop counts
# evaluations and ends after the twentieth of a call that passes 600.
PUBLISHED = GatysSettings(
    size=512,
    steps=(620,),
    optimiser="lbfgs",
    style_layers="published",
    style_weight=1e6,
    content_weight=1.0,
    relative=False,
    smoothness=0.0,
)

# Chosen by eye with mien's own VGG, on a face that mien drew, in three of its styles.
FAST = GatysSettings()

GATYS_PRESETS: Mapping[str, GatysSettings] = MappingProxyType(
    {"fast": FAST, "published": PUBLISHED}
)
