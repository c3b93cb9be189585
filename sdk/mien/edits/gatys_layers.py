"""Which layers of a VGG are compared, and which graphs of its bundle hold them at least cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.edits.gatys_settings import GatysSettings, LayerWeights, Optimiser
from mien.errors import ArchMismatch, InputError
from mien_engines import Engine

F32 = NDArray[np.float32]

SETS = ("published", "")  # of graphs, the cheaper ones first: gatys_published_step, gatys_step
KINDS: Mapping[Optimiser, str] = {"adam": "step", "lbfgs": "gradient"}


@dataclass(frozen=True, eq=False)
class Chosen:
    """A set of graphs, and the whole weight of each layer that they hold, in their order.

    grams, contents: names of the graphs' inputs that are targets.
    """

    of_set: str
    grams: tuple[str, ...]
    contents: tuple[str, ...]
    style_weights: F32
    content_weights: F32

    def graph(self, optimiser: Optimiser) -> str:
        """Name the graph that an optimiser runs."""
        return _graph(self.of_set, KINDS[optimiser])


def chosen_layers(engine: Engine, settings: GatysSettings) -> Chosen:
    """Return the cheapest graphs that hold the settings' layers.

    Raises:
        ArchMismatch: the bundle has no such graphs, or not those of the published layers.
        InputError: a layer that the network does not have, or no layer at all.
    """
    if _graph("", "step") not in engine.bundle.spec.graphs:
        raise ArchMismatch(
            f"bundle {engine.bundle.name} has no graph {_graph('', 'step')}",
            hint="Export it again: mien export vgg CHECKPOINT -o BUNDLE",
        )
    style = _weights(engine, settings.style_layers, "gram_", "style_layers")
    content = _weights(engine, settings.content_layers, "content_", "content_layers")
    if not any(style.values()) and not any(content.values()):
        raise InputError("no layer has a weight", hint='Give one: {"conv1_1": 1.0}')
    for of_set in SETS:
        if _graph(of_set, "step") not in engine.bundle.spec.graphs:
            continue
        held = [_held(engine, of_set, kind) for kind in ("gram_", "content_")]
        if used(style) <= set(held[0]) and used(content) <= set(held[1]):
            break
    return Chosen(
        of_set,
        tuple(f"gram_{name}" for name in held[0]),
        tuple(f"content_{name}" for name in held[1]),
        _whole([style.get(name, 0.0) for name in held[0]], settings.style_weight),
        _whole([content.get(name, 0.0) for name in held[1]], settings.content_weight),
    )


def _whole(weights: Sequence[float], factor: float) -> F32:
    product = np.asarray(weights, np.float64) * factor
    if product.max(initial=0) > np.finfo(np.float32).max:
        raise InputError(f"a layer's weight comes to {product.max():.3g}, more than float32 holds")
    return product.astype(np.float32)


def used(weights: Mapping[str, float]) -> set[str]:
    """Names of the layers that have a weight."""
    return {name for name, weight in weights.items() if weight}


def _weights(engine: Engine, layers: LayerWeights, kind: str, setting: str) -> dict[str, float]:
    known = _held(engine, "", kind)
    if isinstance(layers, str):
        of_set = "" if layers == "all" else layers
        if _graph(of_set, "step") not in engine.bundle.spec.graphs:
            raise ArchMismatch(
                f"bundle {engine.bundle.name} ends at {known[-1]}, before the published layers",
                hint=f'Name others: {setting}="all"',
            )
        return dict.fromkeys(_held(engine, of_set, kind), 1.0)
    for name in layers:
        if name not in known:
            raise InputError(
                f"{setting}: the network has no {name}", hint=f"It has {', '.join(known)}"
            )
    return dict(layers)


def _held(engine: Engine, of_set: str, kind: str) -> tuple[str, ...]:
    """Layers that a set's graphs compare, by the names of its inputs."""
    inputs = engine.bundle.graph(_graph(of_set, "step")).inputs
    names = (t.name.removeprefix(kind) for t in inputs if t.name.startswith(kind))
    return tuple(name for name in names if name.startswith("conv"))


def _graph(of_set: str, kind: str) -> str:
    return "_".join(part for part in ("gatys", of_set, kind) if part)
