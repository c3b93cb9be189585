"""The sections of a run on a GPU: each takes a `Run` and yields rows, kept as they come."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from contest import contest
from goals import COMPILED
from opening import TYPED, raise_if_lost
from probe import probe

from mien.bundles import BUILT_IN, built_in
from mien_engines import Bundle, backends, build
from mien_engines.backends.base import Session
from mien_engines.backends.trt import Trt
from mien_engines.errors import DeviceLost, MienError
from mien_engines.machine import cpu_model
from mien_engines.parity import Referee

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]
GPU_BACKENDS = ("ort-cuda", "trt", "trt-fp16", "trt-bf16", "rtx", "rtx-fp16", "rtx-bf16")
DRY_BACKENDS = ("ort", "ov")
VERSIONS = ("torch", "onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt-rtx-cu13-libs",
            "pycuda", "numpy")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """work: where all is kept. dry: tiny sizes, on the CPU, to prove that it runs.

    until: when its process will be killed, by `time.monotonic`, which all processes share.
    """

    work: Path
    dry: bool
    section: str = ""
    until: float = float("inf")

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def backends(self) -> tuple[str, ...]:
        return DRY_BACKENDS if self.dry else GPU_BACKENDS

    @property
    def repeats(self) -> int:
        return 3 if self.dry else 200

    @property
    def seconds(self) -> float:
        """Of one contest's timing."""
        return 1.0 if self.dry else 60.0

    def left(self) -> float:
        """Seconds until its process will be killed."""
        return self.until - time.monotonic()

    @property
    def rows(self) -> Path:
        return self._file("jsonl")

    @property
    def log(self) -> Path:
        return self._file("log")

    @property
    def probed(self) -> Path:
        return self.work / "probed.json"

    @property
    def cache(self) -> Path:
        """Where mien keeps what it builds meanwhile."""
        return self.work.resolve() / "cache"

    def clear(self) -> None:
        """Forget what an earlier call of this section left."""
        self.rows.parent.mkdir(parents=True, exist_ok=True)
        for kind in ("jsonl", "log", "dropped", "now"):
            self._file(kind).unlink(missing_ok=True)

    @contextlib.contextmanager
    def about(self, who: str) -> Iterator[None]:
        """Say who is at work, for whoever finds this process dead. An exception leaves it said."""
        self._file("now").write_text(who)
        yield
        self._file("now").unlink()

    def at_work(self) -> str:
        """Who was at work when a process ended; nothing where nobody was."""
        now = self._file("now")
        return now.read_text() if now.exists() else ""

    def drop(self, who: str, reason: str) -> None:
        known = self._dropped() | {who: reason}
        self._file("dropped").write_text(json.dumps(known))
        self._file("now").unlink(missing_ok=True)

    def dropped(self, who: str) -> str:
        """Why somebody does not take part; nothing where he does."""
        if reason := self._dropped().get(who):
            return reason
        probes = json.loads(self.probed.read_text()) if self.probed.exists() else {}
        found = probes.get(probe_of(who), {"alive": True})
        return "" if found["alive"] else str(found["detail"])

    def _dropped(self) -> dict[str, str]:
        kept = self._file("dropped")
        return json.loads(kept.read_text()) if kept.exists() else {}

    def _file(self, kind: str) -> Path:
        return self.work / "rows" / f"{self.section.replace(' ', '-')}.{kind}"


def probe_of(backend: str) -> str:
    """Which probe speaks for a backend: all precisions of a TensorRT are one library."""
    library = backend.partition("-")[0]
    return library if library in ("trt", "rtx") else backend


def machine(run: Run) -> Iterator[Row]:
    """What the figures are of, and which backends run here at all."""
    query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,memory.total,power.limit"
    yield {
        "gpu": _said(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]),
        "cpu": cpu_model(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": commit(ROOT),
        "dry": run.dry,
    }
    found = {}
    for name in dict.fromkeys(probe_of(backend) for backend in run.backends):
        found[name] = probe(name)
        run.probed.write_text(json.dumps(found))
        yield found[name]


def _versions() -> dict[str, str]:
    versions = {}
    for name in VERSIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    with contextlib.suppress(ImportError):
        import onnxruntime  # of two installed packages, the one that is loaded

        versions["onnxruntime loaded"] = onnxruntime.__version__
    return versions


def commit(root: Path) -> str:
    """What the packer has written, else what git says."""
    noted = root / "COMMIT"
    if noted.exists():
        return noted.read_text().strip()
    return _said(["git", "-C", str(root), "rev-parse", "HEAD"])


def ceilings(run: Run) -> Iterator[Row]:
    """What a copy and a matrix product reach here, in this run."""
    import torch
    from timing import copy_ceiling, product_ceiling

    repeats = min(run.repeats, 50)
    for megabytes in (1,) if run.dry else (1, 16, 64, 256, 1024):
        found = copy_ceiling(run.device, megabytes << 20, repeats)
        yield {"ceiling": "copy", **found}
    size = 64 if run.dry else 8192
    for name in ("float32", "bfloat16") if run.dry else ("float16", "bfloat16", "float32"):
        found = product_ceiling(run.device, size, getattr(torch, name), min(repeats, 10))
        yield {"ceiling": f"product {name}", **found}
    if not run.dry:
        found = product_ceiling(run.device, size, torch.float32, 10, tf32=True)
        yield {"ceiling": "product tf32", **found}


def check(run: Run) -> Iterator[Row]:
    """Every graph of every bundle that ships, on every backend, against ONNX Runtime on the CPU."""
    names = ("adain", "embedder") if run.dry else built_in()
    for backend in run.backends:
        if reason := run.dropped(backend):
            yield {"backend": backend, "failed": reason}
    taking_part = [backend for backend in run.backends if not run.dropped(backend)]
    for name in names:
        yield from _checked_bundle(run, name, taking_part)


def _checked_bundle(run: Run, name: str, names: Sequence[str]) -> Iterator[Row]:
    """names: of the backends. Each graph's reference is opened once for all of them."""
    bundle = Bundle.open(BUILT_IN / name)

    def reference(graph: str) -> Session:
        backend = backends.get(backends.REFERENCE)
        return backend.open(bundle.graph_path(graph), bundle.graph(graph))

    referee = Referee(bundle, reference)
    for graph in list(bundle.spec.graphs)[: 1 if run.dry else None]:
        with reference(graph) as judge:
            for backend in names:
                with run.about(backend):
                    found = _checked(bundle, graph, backend, referee, judge)
                yield {"bundle": name, "graph": graph, "backend": backend, **found}


def _checked(bundle: Bundle, graph: str, name: str, referee: Referee, judge: Session) -> Row:
    backend = backends.get(name)
    try:
        if isinstance(backend, Trt):
            library, precision = backend.library_name, TYPED[backend.precision]
            (plan,) = build(bundle, library, precision, [graph]).plans
            raise_if_lost(plan.detail)
            return {key: value for key, value in asdict(plan).items() if key != "path"}
        with backend.open(bundle.graph_path(graph), bundle.graph(graph)) as session:
            found = referee.check(graph, session, judge)
    except DeviceLost:
        raise  # nothing else runs in this process
    except MienError as error:
        return {"state": "failed", "detail": str(error)}
    state = "accepted" if found.passed else "refused"
    return {"state": state, "error": found.worst, "tolerance": found.tolerance,
            "detail": found.detail}  # fmt: skip


def transfer(run: Run, *, compiled: bool = False) -> Iterator[Row]:
    """AdaIN style transfer of one 512 px picture."""
    import subjects

    yield from contest(run, subjects.transfer(tiny=run.dry), compiled=compiled)


def synthesis(run: Run, *, compiled: bool = False) -> Iterator[Row]:
    """StyleGAN2 at 1024 px, W+ code to picture, batch 1, random weights."""
    import subjects

    subject = subjects.generator(run.work, "render", tiny=run.dry)
    yield from contest(run, subject, compiled=compiled)


def projection(run: Run, *, compiled: bool = False) -> Iterator[Row]:
    """The projection step at 1024 px, random weights."""
    import subjects

    subject = subjects.generator(run.work, "project_step", tiny=run.dry)
    yield from contest(run, subject, compiled=compiled)


def gatys(run: Run, *, compiled: bool = False) -> Iterator[Row]:
    """Gatys' step at 512 px over VGG-19, random weights."""
    import subjects

    yield from contest(run, subjects.gatys(run.work, tiny=run.dry), compiled=compiled)


def kernels(run: Run, *, compiled: bool = False) -> Iterator[Row]:
    """The CUDA kernels. On a CPU none runs."""
    if run.dry:
        yield {"skipped": "kernels need a GPU"}
        return
    import kernels as measured

    against = ("compiled",) if compiled else ("eager",)
    yield from measured.run(against=against, about=run.about, dropped=run.dropped)


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"unknown ({error})"


CONTESTS: dict[str, Callable[..., Iterator[Row]]] = {
    "synthesis": synthesis,
    "projection": projection,
    "gatys": gatys,
    "transfer": transfer,
    "kernels": kernels,
}
SECTIONS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "machine": machine,
    "ceilings": ceilings,
    **CONTESTS,
    "check": check,
    # Compiling takes torch minutes: last, so that it costs nothing else its time.
    **{name + COMPILED: partial(section, compiled=True) for name, section in CONTESTS.items()},
}
