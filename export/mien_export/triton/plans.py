"""Which models a bundle becomes: one a graph, and those made of several, by family.

An ensemble is a chain of graphs that Triton runs as one model: arrays stay on the server between
them. A film is a chain whose first part runs once a sequence: what it finds is held by the server,
as the state of the sequence, and the second part draws each frame with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from mien_engines.spec import BundleSpec


@dataclass(frozen=True)
class Step:
    """A graph of a chain.

    inputs, outputs: the graph's names -> the chain's. An input that is not named keeps its name; an
    output that is not named is dropped.
    """

    graph: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ensemble:
    """A chain of graphs. outputs: the chain's; its inputs are what no step makes."""

    name: str
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]

    @property
    def graphs(self) -> frozenset[str]:
        return frozenset(step.graph for step in self.steps)


@dataclass(frozen=True)
class Film:
    """A graph that runs at the start of a sequence, and one that runs for each frame.

    inputs: the first graph's names -> the film's. Its outputs are held, under the names by which
    the second graph takes them.
    """

    first: str
    inputs: Mapping[str, str]
    frame: str
    name: str = "film"

    @property
    def graphs(self) -> frozenset[str]:
        return frozenset((self.first, self.frame))


Chain = TypeVar("Chain", Ensemble, Film)
DRAWN = ("picture", "energy")


def _merge(name: str, graph: str) -> Ensemble:
    return Ensemble(
        name,
        (
            Step("encode", {"picture": "content"}, {"mu": "content_mu"}),
            Step("encode", {"picture": "pattern"}, {"mu": "pattern_mu"}),
            Step(graph, outputs={name: name for name in DRAWN}),
        ),
        DRAWN,
    )


def _generator() -> tuple[Ensemble, ...]:
    render = Step("render", outputs={name: name for name in DRAWN})
    return (
        Ensemble("sample", (Step("mapping", outputs={"ws": "ws"}), render), DRAWN),
        Ensemble(
            "redraw",
            (Step("invert", {"picture": "face"}, {"ws": "ws"}), render),
            (*DRAWN, "ws"),
        ),
        Ensemble(
            "mix_faces",
            (
                Step("invert", {"picture": "content"}, {"ws": "ws_a"}),
                Step("invert", {"picture": "style"}, {"ws": "ws_b"}),
                Step("mix", outputs={name: name for name in DRAWN}),
            ),
            DRAWN,
        ),
    )


def _translate(frame: str) -> Ensemble:
    outputs = ("picture_next", "energy")
    return Ensemble(
        "translate_chain",
        (
            Step("style_reference", {"picture": "reference"}, {"style": "style"}),
            Step(frame, outputs={name: name for name in outputs}),
        ),
        outputs,
    )


ENSEMBLES: dict[str, tuple[Ensemble, ...]] = {
    "adain": (
        Ensemble(
            "stylize_chain",
            (
                Step("style", {"picture": "style"}, {"mean": "mean", "deviation": "deviation"}),
                Step("transfer", {"picture": "content"}, {"drawn": "drawn", "energy": "energy"}),
            ),
            ("drawn", "energy"),
        ),
    ),
    "vaegan": (
        _merge("merge_chain", "merge_codes"),
        _merge("merge_plain_chain", "merge_plain_codes"),
    ),
    "lookalike": (
        Ensemble(
            "lookalikes",
            (
                Step("encode", outputs={"identity": "identity"}),
                Step("generate", {}, {"picture": "drawn", "energy": "energy"}),
            ),
            ("drawn", "energy"),
        ),
    ),
    "stylegan2": _generator(),
    "stylegan1": _generator(),
    # A network with a skip draws a frame with masks of its own finding, by `translate_frame`.
    "starganv2": (_translate("translate_frame"), _translate("translate")),
}
FILMS: dict[str, tuple[Film, ...]] = {
    "adain": (Film("style", {"picture": "style"}, "transfer"),),
    "starganv2": tuple(
        Film("style_reference", {"picture": "reference"}, frame)
        for frame in ("translate_frame", "translate")
    ),
}


def ensembles_of(spec: BundleSpec, graphs: frozenset[str]) -> tuple[Ensemble, ...]:
    """Return the ensembles that can be made of these graphs of a bundle."""
    return _possible(ENSEMBLES.get(spec.family, ()), graphs)


def films_of(spec: BundleSpec, graphs: frozenset[str]) -> tuple[Film, ...]:
    """Return the films that can be made of these graphs of a bundle."""
    return _possible(FILMS.get(spec.family, ()), graphs)


def _possible(chains: tuple[Chain, ...], graphs: frozenset[str]) -> tuple[Chain, ...]:
    """Those whose graphs are all there; of several of one name the first."""
    found: dict[str, Chain] = {}
    for chain in chains:
        if chain.graphs <= graphs:
            found.setdefault(chain.name, chain)
    return tuple(found.values())
