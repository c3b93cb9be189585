"""What a plan measures, and who takes part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from mien.bench import plugins
from mien.bench.graphs import Contestant, check_batch, graph_contestants
from mien.bench.report import FILMS, LIVE, Failure, Refusal
from mien.bench.settings import Plan
from mien.bench.verbs import verb_contestants
from mien.bundles import bundle_path
from mien.errors import BackendUnavailable
from mien_engines import Bundle
from mien_engines.backends import LISTING, REFERENCE, get
from mien_engines.backends.base import Backend


@dataclass(frozen=True)
class Work:
    """A graph of a bundle, or a verb."""

    name: str
    bundle: Bundle | None
    graph: str | None
    verb: str | None

    @property
    def is_film(self) -> bool:
        """Whether a call makes a film, of which the frames are timed."""
        return self.verb in FILMS


def works_of(plan: Plan) -> Iterator[Work]:
    """Raises ArchMismatch for a graph that is not there, InputError for a batch that it lacks."""
    if plan.graphs or not plan.verbs:
        bundle = Bundle.open(bundle_path(plan.bundle or "demo"))
        often = [name for name, graph in bundle.spec.graphs.items() if graph.measured]
        for graph in plan.graphs or often or list(bundle.spec.graphs):
            check_batch(bundle.graph(graph), plan.batch)
            yield Work(f"{bundle.name}/{graph}", bundle, graph, None)
    for verb in plan.verbs:
        if verb != LIVE:
            yield Work(verb, None, None, verb)


def backends_of(plan: Plan) -> tuple[list[str], list[Refusal]]:
    """Those that were named, each of which must open; else all that do. The reference is first."""
    if plan.backends:
        for name in plan.backends:
            get(name).probe()
        return list(dict.fromkeys(plan.backends)), []
    opening, refused = [], []
    for name in LISTING:
        try:
            get(name).probe()
            opening.append(name)
        except BackendUnavailable as error:
            refused.append(Refusal(work="", who=name, reason=str(error)))
    return sorted(opening, key=lambda name: name != REFERENCE), refused


def rivals_of(work: Work, plan: Plan) -> list[Backend]:
    """Make the rivals that a plan names, for one work. Raises what `plugins.rival` does."""
    if work.bundle is None or work.graph is None:
        return []
    return [
        plugins.rival(name, work.bundle, work.graph, plan.checkpoint, plan.extras)
        for name in plan.against
    ]


def contestants_of(
    work: Work, plan: Plan, names: list[str], others: list[Backend], stack: ExitStack
) -> tuple[list[Contestant], list[Refusal | Failure]]:
    """Open who takes part in a work; say who cannot, and who fails. others: its rivals."""
    if work.bundle is not None and work.graph is not None:
        entered = graph_contestants(
            work.bundle,
            work.graph,
            [*map(get, names), *others],
            stack,
            batch=plan.batch,
            threads=plan.threads,
        )
    else:
        assert work.verb is not None
        entered = verb_contestants(
            work.verb,
            None if plan.bundle is None else str(plan.bundle),
            names,
            stack,
            side=plan.side,
            threads=plan.threads,
        )
    contestants: list[Contestant] = []
    left: list[Refusal | Failure] = []
    for one in entered:
        if isinstance(one, Contestant):
            contestants.append(one)
        else:
            left.append(one)
    return contestants, left
