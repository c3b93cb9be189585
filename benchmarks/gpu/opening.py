"""A session to be timed, of a plan that the gate refuses too; and what exceptions mean."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mien_engines import Bundle, build
from mien_engines.backends.base import Backend, Session
from mien_engines.backends.trt import Trt
from mien_engines.building import PRECISIONS, UNSUPPORTED
from mien_engines.cache import write_atomic
from mien_engines.device import FATAL
from mien_engines.errors import DeviceLost, MienError
from mien_engines.forms import form_of
from mien_engines.plan_file import PlanKey, graph_digest
from mien_engines.plan_upkeep import timing_path
from mien_engines.plans import PlanCache
from mien_engines.sizes import open_dimensions, profile, sizes_of
from mien_engines.trt_builder import build_plan

Row = dict[str, Any]
TYPED = {precision: typed for typed, precision in PRECISIONS.items()}
SIZES = {"N": (1, 1, 1)}


def opened(bundle: Bundle, graph: str, backend: Backend, plans: Path) -> tuple[Session, Row]:
    """A session, and what is known of its plan. One that the gate refuses is opened all the same,
    and its row says so."""
    spec = bundle.graph(graph)
    if not isinstance(backend, Trt):
        return backend.open(bundle.graph_path(graph), spec), {}
    precision = TYPED[backend.precision]
    sizes = {n: SIZES[n] for n in open_dimensions(spec) if n in SIZES}
    (plan,) = build(
        bundle, backend.library_name, precision, [graph], sizes=sizes, host=backend.host
    ).plans
    known = {"build_s": plan.seconds, "plan_mb": None if plan.nbytes is None else plan.nbytes / 1e6}
    if plan.state in ("accepted", "kept"):
        return backend.open(bundle.graph_path(graph), spec), known
    if plan.state != "refused":
        raise_if_lost(plan.detail)
        raise MienError(f"{plan.state}: {plan.detail}")
    error = "" if plan.error is None else f", error {plan.error:.2g}"
    session = _refused(bundle, graph, backend, plans)
    return session, {**known, "state": f"refused{error}: {plan.detail}"}


def _refused(bundle: Bundle, graph: str, backend: Trt, plans: Path) -> Session:
    """Build a plan as `build` does, without the gate: it is for timing, and never mien's to use."""
    spec = bundle.graph(graph)
    key = PlanKey(
        graph=spec.name,
        digest=graph_digest(bundle.graph_path(graph)),
        precision=backend.precision,
        sizes=sizes_of(bundle.spec, spec, SIZES),
        **backend.host.machine(),
    )
    kept = plans / key.folder / f"{key.name}.plan"
    if kept.exists():
        return backend.session(spec, kept.read_bytes())
    plan = _built(bundle, graph, backend, key)
    write_atomic(kept, plan)  # the process may be killed meanwhile
    return backend.session(spec, plan)


def _built(bundle: Bundle, graph: str, backend: Trt, key: PlanKey) -> bytes:
    library, device = backend.host.library, backend.host.device
    assert device is not None
    unsupported = UNSUPPORTED.get((library.name, backend.precision), ())
    # What the builder has timed for the plan that was refused: it chooses as it did.
    timing = timing_path(PlanCache().root, backend.host.machine())
    known = timing.read_bytes() if timing.exists() else b""
    with tempfile.TemporaryDirectory() as folder, device.use():
        path = form_of(bundle, graph, backend.precision, (), unsupported, Path(folder))
        shapes = profile(bundle.graph(graph), key.sizes)
        return build_plan(library, path, shapes, timing=known).plan


def said(error: Exception) -> str:
    """What a row says of an exception. Raises DeviceLost where it means that: nobody else can use
    the GPU in this process."""
    if isinstance(error, DeviceLost):
        raise error
    raise_if_lost(str(error))
    return " ".join(str(error).split())[:300] or repr(error)


def raise_if_lost(message: str) -> None:
    """Raise DeviceLost for words after which the GPU answers no one in this process."""
    lost = ("the gpu failed", *FATAL)  # mien's own words, and drivers'
    if any(words in message.lower() for words in lost):
        raise DeviceLost(message)
