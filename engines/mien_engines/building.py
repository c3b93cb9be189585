"""Building a bundle's plans: form, build, gate, cache; and a report of it.

A plan is accepted when it agrees with ONNX Runtime on the bundle's samples, which takes the GPU
that it was built for. Without one, TensorRT-RTX still builds: that proves that the graph builds,
and the plan is reported as not checked and never used.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mien_engines import backends
from mien_engines.backends.trt import Host, Trt, unfit
from mien_engines.bundle import Bundle
from mien_engines.cache import write_atomic
from mien_engines.errors import InputError, MienError, NotBuilt, Untrusted
from mien_engines.forms import form_of
from mien_engines.parity import Referee
from mien_engines.plan_file import PlanHeader, PlanKey, Verdict, graph_digest, shown, unpacked
from mien_engines.plan_upkeep import timing_path
from mien_engines.plans import WAIT_S, PlanCache
from mien_engines.sizes import Range, check_names, profile, sizes_of
from mien_engines.spec import GraphSpec, Precision
from mien_engines.trt_builder import Built, Progress, build_plan

State = Literal["accepted", "kept", "not checked", "left out", "refused", "failed"]
NO_GPU = "no GPU"
PRECISIONS: dict[str, Precision] = {"fp32": "f32", "fp16": "fp16", "bf16": "bf16"}
SUFFIX = {"f32": "", "fp16": "-fp16", "bf16": "-bf16"}
# What a library's builder has no kernels for: found by building, see docs/tensorrt.md.
UNSUPPORTED: dict[tuple[str, Precision], tuple[str, ...]] = {("rtx", "bf16"): ("ConvTranspose",)}


@dataclass(frozen=True)
class PlanReport:
    """What became of one graph.

    state: accepted; kept: it was there already; not checked: built, without a GPU to run it on;
        left out: not built, and why; refused: built, but too far from the reference; failed.
    layers: of the network. seconds: of the build. error, tolerance: in the measure of the gate.
    """

    graph: str
    precision: Precision
    state: State
    detail: str = ""
    layers: int | None = None
    seconds: float | None = None
    nbytes: int | None = None
    error: float | None = None
    tolerance: float | None = None
    path: str | None = None


@dataclass(frozen=True)
class BuildReport:
    """What `build` did. library: TensorRT's name and version. gpu: None without one."""

    bundle: str
    backend: str
    library: str
    gpu: str | None
    plans: tuple[PlanReport, ...]

    @property
    def failed(self) -> bool:
        return any(plan.state in ("refused", "failed") for plan in self.plans)

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def build(
    bundle: Bundle | str | Path,
    backend: str,
    precision: str = "fp32",
    graphs: Iterable[str] | None = None,
    *,
    sizes: Mapping[str, Range] | None = None,
    keep: Sequence[str] = (),
    again: bool = False,
    wait_s: float = WAIT_S,
    progress: Progress | None = None,
    host: Host | None = None,
) -> BuildReport:
    """Build plans of a bundle's graphs, hold them against ONNX Runtime, and keep those that pass.

    Args:
        backend: "trt" (TensorRT) or "rtx" (TensorRT-RTX).
        precision: "fp32", "fp16" or "bf16". Statistics, reductions, demodulation, softmax and
            losses stay float32 in all of them.
        graphs: None means all that the precision is meant for: in fp16 none that has state, since
            gradients do not fit into float16. One that is named is built all the same.
        sizes: open dimension -> least, usual and greatest size that the plans take.
        keep: operators, or nodes by name, that stay float32.
        again: build also what is there.
        wait_s: how long to wait for another process that builds the same.
        progress: told what is done, how much of it, of how much.
        host: what to build with and run on; None means what this machine has.

    Raises:
        BackendUnavailable: that TensorRT is not installed. MissingDependency: onnx is needed.
        InputError: an unknown backend, precision or size. ModelError: the bundle is not whole.
        What goes wrong with one graph is in its report, and the others are built.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    if backend not in ("trt", "rtx"):
        raise InputError(f"plans are built for trt or rtx, not for {backend!r}")
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise InputError(f"there is no precision {precision!r}", hint=f"There are: {known}")
    narrowed = PRECISIONS[precision]
    named = None if graphs is None else list(graphs)
    specs = {name: opened.graph(name) for name in named or opened.spec.graphs}
    check_names(list(specs.values()), sizes or {})
    here = host or Host.here(backend, needs_device=False)  # type: ignore[arg-type]
    runner = backends.get(backend + SUFFIX[narrowed])
    assert isinstance(runner, Trt)
    work = _Work(
        opened, here, type(runner)(here), narrowed, dict(sizes or {}), tuple(keep), again, wait_s
    )
    reports = []
    for name, spec in specs.items():
        reason = "" if named else unfit(spec, narrowed)
        report = (
            PlanReport(name, narrowed, "left out", reason)
            if reason
            else work.report(name, spec, progress)
        )
        reports.append(report)
    gpu = here.device.info().name if here.device is not None else None
    return BuildReport(opened.name, backend, here.library.title, gpu, tuple(reports))


@dataclass(frozen=True)
class _Work:
    """What is the same for all graphs of one build."""

    bundle: Bundle
    host: Host
    runner: Trt
    precision: Precision
    sizes: dict[str, Range]
    keep: tuple[str, ...]
    again: bool
    wait_s: float

    def report(self, name: str, spec: GraphSpec, progress: Progress | None) -> PlanReport:
        try:
            return self._report(name, spec, progress)
        except (MienError, OSError) as error:
            return PlanReport(name, self.precision, "failed", str(error))

    def _report(self, name: str, spec: GraphSpec, progress: Progress | None) -> PlanReport:
        cache = PlanCache()
        key = self._key(name, spec)
        waiting = None if progress is None else _waiting(progress)
        with cache.building(key, self.wait_s, waiting):
            there = None if self.again else self._kept(cache, key)
            if there is not None:
                path = cache.path(key)
                return _said(there, path if path.exists() else None, self.precision, "kept")
            told = None if progress is None else _named(progress, name)
            built = self._build(name, spec, key, told)
            verdict = self.judge(name, spec, built.plan)
            header = PlanHeader(
                key=key,
                verdict=verdict,
                sha256=hashlib.sha256(built.plan).hexdigest(),
                nbytes=len(built.plan),
                layers=built.layers,
                seconds=built.seconds,
            )
            state: State = "accepted" if verdict.accepted else "refused"
            if verdict.detail == NO_GPU:
                state = "not checked"
            stored = state != "refused" and cache.store(header, built.plan)
        if state == "accepted":
            cache.tidy(self.host.machine())
        return _said(header, cache.path(key) if stored else None, self.precision, state)

    def _key(self, name: str, spec: GraphSpec) -> PlanKey:
        sizes = sizes_of(self.bundle.spec, spec, self.sizes)
        return PlanKey(
            graph=spec.name,
            digest=graph_digest(self.bundle.graph_path(name)),
            precision=self.precision,
            sizes=_with_samples(self.bundle, spec, sizes, self.sizes),
            keep=tuple(sorted(self.keep)),
            **self.host.machine(),
        )

    def _kept(self, cache: PlanCache, key: PlanKey) -> PlanHeader | None:
        """What another call or another process has built already."""
        try:
            return cache.load(cache.path(key))[0]
        except Untrusted:  # nothing is there, or it is built again, over what is
            return None

    def _build(self, name: str, spec: GraphSpec, key: PlanKey, progress: Progress | None) -> Built:
        library = self.host.library
        unsupported = UNSUPPORTED.get((library.name, self.precision), ())
        timing = timing_path(PlanCache().root, self.host.machine())
        with tempfile.TemporaryDirectory(prefix="mien-build-") as folder:
            path = form_of(self.bundle, name, self.precision, self.keep, unsupported, Path(folder))
            known = _bytes(timing) if self.host.device is not None else b""
            shapes = profile(spec, key.sizes)
            if self.host.device is None:
                built = build_plan(library, path, shapes, progress=progress)
            else:
                with self.host.device.use():
                    built = build_plan(library, path, shapes, timing=known, progress=progress)
        if self.host.device is not None and built.timing:
            write_atomic(timing, built.timing)
        return built

    def judge(self, name: str, spec: GraphSpec, plan: bytes) -> Verdict:
        """Hold a plan against ONNX Runtime."""
        if self.host.device is None:
            return Verdict(accepted=False, detail=NO_GPU)
        reference = backends.get(backends.REFERENCE)
        referee = Referee(
            self.bundle,
            lambda graph: reference.open(self.bundle.graph_path(graph), self.bundle.graph(graph)),
        )
        with (
            reference.open(self.bundle.graph_path(name), spec) as judge,
            self.runner.session(spec, plan) as session,
        ):
            found = referee.check(name, session, judge)
        return Verdict(
            accepted=found.passed,
            error=found.worst,
            tolerance=found.tolerance,
            detail=found.detail,
        )


def adopt(
    bundle: Bundle | str | Path, plan: str | Path, *, trust_engine: bool = False
) -> PlanReport:
    """Take a plan that was built elsewhere, for machines that are the same, and gate it.

    Args:
        plan: a file that `build` has made. Loading it can run its maker's code.
        trust_engine: say that you trust its maker; without it nothing is loaded.

    Raises:
        Untrusted: it is damaged, or was not said to be trusted. ArchMismatch: the bundle has no
            such graph.
        NotBuilt: it is for another machine, or of another graph; the message says what differs.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    path, cache = Path(plan), PlanCache()
    if not trust_engine:
        raise Untrusted(
            f"{path} is a plan from elsewhere, and loading it can run its code",
            hint="Build it here, or say that you trust it: trust_engine=True",
        )
    header, content = unpacked(path)
    key = header.key
    runner = backends.get(key.library + SUFFIX[key.precision])
    assert isinstance(runner, Trt)
    names = {spec.name: name for name, spec in opened.spec.graphs.items()}
    name = names.get(key.graph, key.graph)  # raises below where the bundle has none
    wanted = runner.host.machine() | {"digest": graph_digest(opened.graph_path(name))}
    for field, here in wanted.items():
        if getattr(key, field) != here:
            raise NotBuilt(
                f"{path} was built for {field} {shown(getattr(key, field))}, this is {shown(here)}",
                hint="Build it here: mien build BUNDLE",
            )
    work = _Work(opened, runner.host, runner, key.precision, {}, (), False, WAIT_S)
    verdict = work.judge(name, opened.graph(name), content)
    header = header.model_copy(update={"verdict": verdict})
    state: State = "accepted" if verdict.accepted else "refused"
    stored = verdict.accepted and cache.store(header, content)
    return _said(header, cache.path(key) if stored else None, key.precision, state)


def _with_samples(
    bundle: Bundle, spec: GraphSpec, sizes: Mapping[str, Range], asked: Mapping[str, Range]
) -> dict[str, Range]:
    """Ranges that were not asked for, wide enough for the samples that the gate runs."""
    found = dict(sizes)
    for tensor in spec.inputs:
        for sample in _samples(bundle, spec.name, tensor.name):
            if sample.ndim != len(tensor.shape):
                continue
            for size, name in zip(sample.shape, tensor.shape, strict=True):
                if name in found and name not in asked:
                    least, usual, most = found[str(name)]
                    least, most = min(least, size), max(most, size)
                    found[str(name)] = (least, min(max(usual, least), most), most)
    return found


def _samples(bundle: Bundle, graph: str, name: str) -> Iterator[Any]:
    for key in (f"sample.{graph}.{name}", f"sample.{name}"):
        if key in bundle.constants:
            yield bundle.constants[key]


def _said(header: PlanHeader, path: Path | None, precision: Precision, state: State) -> PlanReport:
    verdict = header.verdict
    if state == "kept" and not verdict.accepted:
        state = "not checked"
    detail = verdict.detail
    if path is None and state != "refused":
        kept = "it could not be kept, and lasts as long as this process"
        detail = f"{detail}; {kept}" if detail else kept
    return PlanReport(
        graph=header.key.graph,
        precision=precision,
        state=state,
        detail=detail,
        layers=header.layers,
        seconds=header.seconds,
        nbytes=header.nbytes,
        error=verdict.error,
        tolerance=verdict.tolerance,
        path=None if path is None else str(path),
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _waiting(progress: Progress) -> Callable[[str], None]:
    def tell(text: str) -> None:
        progress(text, 0, 1)

    return tell


def _named(progress: Progress, graph: str) -> Progress:
    return lambda phase, done, total: progress(f"{graph}: {phase}", done, total)


assert set(get_args(Precision)) == set(PRECISIONS.values())
