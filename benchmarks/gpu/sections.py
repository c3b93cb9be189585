"""The sections of a run on a GPU: each takes a `Run` and yields rows, kept as they come."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.bundles import BUILT_IN, built_in
from mien_engines import Bundle, backends, build
from mien_engines.backends.base import Backend, Session
from mien_engines.backends.trt import Trt, TrtSession
from mien_engines.errors import MienError
from mien_engines.machine import cpu_model
from mien_engines.parity import Referee

Row = dict[str, Any]
GPU_BACKENDS = ("ort-cuda", "trt", "trt-fp16", "trt-bf16", "rtx", "rtx-fp16", "rtx-bf16")
DRY_BACKENDS = ("ort", "ov")
TYPED = {"f32": "fp32", "fp16": "fp16", "bf16": "bf16"}
VERSIONS = ("torch", "onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt-rtx-cu13-libs",
            "pycuda", "numpy")  # fmt: skip
AT_ONCE = 16  # steps of a loop that are timed together


@dataclass(frozen=True)
class Run:
    """work: where bundles are written. dry: tiny sizes, on the CPU, to prove that it runs."""

    work: Path
    dry: bool

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def backends(self) -> tuple[str, ...]:
        return DRY_BACKENDS if self.dry else GPU_BACKENDS

    @property
    def repeats(self) -> int:
        return 3 if self.dry else 60


def machine(run: Run) -> Iterator[Row]:
    """What the figures are of."""
    query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,memory.total,power.limit"
    versions = {}
    for name in VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    yield {
        "gpu": _said(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]),
        "cpu": cpu_model(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _said(["git", "rev-parse", "HEAD"]),
        "dry": run.dry,
    }


def ceilings(run: Run) -> Iterator[Row]:
    """What a copy and a matrix product reach here, in this run."""
    import torch
    from timing import copy_ceiling, product_ceiling

    for megabytes in (1,) if run.dry else (1, 16, 64, 256, 1024):
        found = copy_ceiling(run.device, megabytes << 20, run.repeats)
        yield {"ceiling": "copy", **found}
    size = 64 if run.dry else 8192
    for name in ("float32", "bfloat16") if run.dry else ("float32", "float16", "bfloat16"):
        found = product_ceiling(run.device, size, getattr(torch, name), run.repeats)
        yield {"ceiling": f"product {name}", **found}
    if not run.dry:
        found = product_ceiling(run.device, size, torch.float32, run.repeats, tf32=True)
        yield {"ceiling": "product tf32", **found}


def check(run: Run) -> Iterator[Row]:
    """Every graph of every bundle that ships, on every backend, against ONNX Runtime on the CPU."""
    names = ("adain", "embedder") if run.dry else built_in()
    for name in names:
        bundle = Bundle.open(BUILT_IN / name)
        reference = backends.get(backends.REFERENCE)
        opened = {g: reference.open(bundle.graph_path(g), s) for g, s in bundle.spec.graphs.items()}
        referee = Referee(bundle, opened.__getitem__)
        for graph in list(opened)[: 1 if run.dry else None]:
            for backend in run.backends:
                yield {"bundle": name, "graph": graph, "backend": backend,
                       **_checked(bundle, graph, backend, referee, opened[graph])}  # fmt: skip


def _checked(bundle: Bundle, graph: str, name: str, referee: Referee, judge: Session) -> Row:
    backend = backends.get(name)
    try:
        if isinstance(backend, Trt):
            library, precision = backend.library_name, TYPED[backend.precision]
            (plan,) = build(bundle, library, precision, [graph]).plans
            return {key: value for key, value in asdict(plan).items() if key != "path"}
        with backend.open(bundle.graph_path(graph), bundle.graph(graph)) as session:
            found = referee.check(graph, session, judge)
    except MienError as error:
        return {"state": "failed", "detail": str(error)}
    state = "accepted" if found.passed else "refused"
    return {"state": state, "error": found.worst, "tolerance": found.tolerance,
            "detail": found.detail}  # fmt: skip


def synthesis(run: Run) -> Iterator[Row]:
    """StyleGAN2 at 1024 px, batch 1, random weights."""
    import subjects

    yield from contest(run, subjects.generator(run.work / "g", "synthesis", tiny=run.dry))


def projection(run: Run) -> Iterator[Row]:
    """The projection step at 1024 px, random weights."""
    import subjects

    yield from contest(run, subjects.generator(run.work / "g", "project_step", tiny=run.dry))


def gatys(run: Run) -> Iterator[Row]:
    """Gatys' step at 512 px over VGG-19, random weights."""
    import subjects

    yield from contest(run, subjects.gatys(run.work / "gatys", tiny=run.dry))


def transfer(run: Run) -> Iterator[Row]:
    """AdaIN style transfer of one 512 px picture."""
    import subjects

    yield from contest(run, subjects.transfer(tiny=run.dry))


def kernels(run: Run) -> Iterator[Row]:
    """The CUDA kernels, where their benchmark is in this copy of mien. On a CPU none runs."""
    if not (Path(__file__).parent / "kernels.py").exists():
        yield {"skipped": "there is no kernels.py here"}
    elif run.dry:
        yield {"skipped": "kernels need a GPU"}
    else:
        yield from importlib.import_module("kernels").run()


def contest(run: Run, subject: Any) -> Iterator[Row]:
    """Time one subject: mien's backends and torch, interleaved; who cannot run says why."""
    from subjects import torch_call
    from timing import Times, take_turns

    calls: dict[str, tuple[Callable[[], object], int]] = {}
    for name in run.backends:
        try:
            calls |= _calls(subject, backends.get(name))
        except MienError as error:
            yield {"subject": subject.what, "who": name, "failed": str(error)}
    halves = (False,) if run.dry else (False, True)
    for compiled, half in [(c, h) for c in (False, True) for h in halves]:
        who = f"torch {'compile' if compiled else 'eager'}{' fp16' if half else ''}"
        try:
            call = torch_call(subject, run.device, compiled=compiled, half=half, dry=run.dry)
            call()
            calls[who] = (call, 1)
        except Exception as error:  # whatever torch raises: it is a rival, not our own
            yield {"subject": subject.what, "who": who, "failed": str(error)[:300]}
    times = take_turns({name: call for name, (call, _) in calls.items()}, run.repeats)
    for name, seconds in times.items():
        found = Times.of(seconds, calls[name][1])
        yield {"subject": subject.what, "who": name, **asdict(found)}


def _calls(subject: Any, backend: Backend) -> dict[str, tuple[Callable[[], object], int]]:
    """How a backend runs a subject, and how many steps a call takes."""
    bundle, graph = subject.bundle, subject.graph
    if isinstance(backend, Trt):
        precision = TYPED[backend.precision]
        sizes = {name: (1, 1, 1) for name in ("N",)}
        (plan,) = build(bundle, backend.library_name, precision, [graph], sizes=sizes).plans
        if plan.state not in ("accepted", "kept"):
            raise MienError(f"{plan.state}: {plan.detail}")
    session = backend.open(bundle.graph_path(graph), bundle.graph(graph))
    if subject.state:
        loop = session.loop(subject.feeds)
        return {
            backend.name: (loop.step, 1),
            f"{backend.name}, {AT_ONCE} at once": (lambda: loop.advance(AT_ONCE), AT_ONCE),
        }
    calls: dict[str, tuple[Callable[[], object], int]] = {
        backend.name: (lambda: session.run(subject.feeds), 1)
    }
    if isinstance(session, TrtSession):
        resident = {
            name: np.asarray(array) if array.nbytes < 1 << 12 else session.put(array)
            for name, array in subject.feeds.items()
        }
        calls[f"{backend.name}, on the device"] = (lambda: session.run_resident(resident), 1)
    return calls


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"unknown ({error})"


SECTIONS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "machine": machine,
    "ceilings": ceilings,
    "check": check,
    "transfer": transfer,
    "synthesis": synthesis,
    "projection": projection,
    "gatys": gatys,
    "kernels": kernels,
}
