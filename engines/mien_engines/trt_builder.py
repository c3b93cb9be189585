"""ONNX to plan: one way for TensorRT 10.16, 11 and TensorRT-RTX.

Networks are strongly typed: TensorRT computes in the types that the ONNX file says, and decides
nothing about precision. What a library does not have is left out, by feature.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien_engines.errors import ArchMismatch, BuildFailed, Cancelled
from mien_engines.kernels import sources
from mien_engines.trt_library import Library

Shapes = Mapping[str, tuple[tuple[int, ...], ...]]
Progress = Callable[[str, int, int], object]  # what is done, how much of it, of how much
WORKSPACE_BYTES = 8 << 30  # at most; a build takes what it needs of it


@dataclass(frozen=True)
class Built:
    """plan: what a runtime loads. layers: of the network. timing: measured kernels, to keep."""

    plan: bytes
    layers: int
    seconds: float
    timing: bytes


def flags_of(library: Library) -> tuple[str, ...]:
    """What is decided about a build, for the plan's key."""
    has_tf32 = hasattr(library.trt.BuilderFlag, "TF32")
    plugin = [f"AdaIN plugin of kernels {sources.digest()}"] if _plugin(library) else []
    own = ["memory of ours where it can"] if _has_memory_flag(library) else []
    return ("strongly typed", *(["no TF32"] if has_tf32 else []), *own, *plugin)


def build_plan(
    library: Library,
    path: Path,
    shapes: Shapes,
    *,
    timing: bytes = b"",
    progress: Progress | None = None,
) -> Built:
    """Build the plan of an ONNX file; its external weights lie beside it.

    Args:
        shapes: input -> its least, usual and greatest shape.
        timing: what an earlier build has measured on this GPU.
        progress: called by threads of the builder's; an exception in it ends the build.

    Raises:
        BuildFailed: the parser or the builder refuses the graph. ArchMismatch: it has other inputs
            than shapes. Cancelled: progress raised KeyboardInterrupt.
    """
    with library.build_lock:
        library.said()
        begin = time.perf_counter()
        trt = library.trt
        builder = trt.Builder(library.logger)
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        plugin = _plugin(library)
        if plugin is not None:
            flags |= plugin.network_flags(trt)
        network = builder.create_network(flags)
        parser = trt.OnnxParser(network, library.logger)
        if plugin is None:
            parsed = parser.parse_from_file(str(path))
        else:
            parsed = parser.parse(plugin.prepared(trt, path.read_bytes()), str(path))
        if not parsed:
            errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise _failure(library, path, "; ".join(errors))
        config = builder.create_builder_config()
        _configure(library, config)
        kept = _timing_cache(library, config, timing)
        monitor = None if progress is None else _monitor(library, config, progress)
        _add_profile(builder, network, config, shapes, path.name)
        layers = network.num_layers
        plan = builder.build_serialized_network(network, config)
        if plan is None and _has_memory_flag(library) and (monitor is None or not monitor.broken):
            # Perhaps it has to allocate as it runs. Such a plan cannot be captured, but runs.
            library.said()
            config.clear_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
            plan = builder.build_serialized_network(network, config)
        if monitor is not None and monitor.broken is not None:
            raise monitor.broken
        if plan is None:
            raise _failure(library, path, "no kernels were found for it")
        measured = bytes(kept.serialize()) if kept is not None else b""
        return Built(bytes(plan), layers, time.perf_counter() - begin, measured)


def _plugin(library: Library) -> Any | None:
    """What swaps mien::AdaIN for its plugin, where mien and this TensorRT have one.

    Elsewhere TensorRT takes the body of the function, which does the same work, slower.
    """
    try:
        plugin = importlib.import_module("mien_engines.kernels.plugin")
    except ModuleNotFoundError:
        return None
    return plugin if plugin.is_offered(library.trt) else None


def _has_memory_flag(library: Library) -> bool:
    """Whether plans can be made to run in memory of ours alone, as TensorRT-RTX's captures need."""
    return hasattr(library.trt.BuilderFlag, "REQUIRE_USER_ALLOCATION")


def _configure(library: Library, config: Any) -> None:
    trt = library.trt
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32, as in ort-cuda
    if _has_memory_flag(library):
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if hasattr(config, "profiling_verbosity"):
        config.profiling_verbosity = trt.ProfilingVerbosity.LAYER_NAMES_ONLY


def _timing_cache(library: Library, config: Any, timing: bytes) -> Any | None:
    """Give the builder what was measured before.

    TensorRT-RTX, known by its cache of the run time, measures nothing when it builds: there these
    calls are deprecated and do nothing.
    """
    if hasattr(library.trt, "IRuntimeCache"):
        return None
    kept = config.create_timing_cache(timing)
    if kept is None or not config.set_timing_cache(kept, False):  # of another version: begin anew
        kept = config.create_timing_cache(b"")
        if kept is None or not config.set_timing_cache(kept, False):
            return None
    return kept


def _monitor(library: Library, config: Any, progress: Progress) -> Any | None:
    """Tell `progress` how far the builder is; its phases are nested, and the outermost counts."""
    if not hasattr(library.trt, "IProgressMonitor"):
        return None

    class Monitor(library.trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            library.trt.IProgressMonitor.__init__(self)
            self.broken: BaseException | None = None
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self.tell(phase_name, 0)

        def phase_finish(self, phase_name: str) -> None:
            self.tell(phase_name, self.steps.get(phase_name, 1))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.tell(phase_name, step + 1)
            return self.broken is None  # False ends the build

        def tell(self, phase: str, step: int) -> None:
            try:
                if self.broken is None:
                    progress(phase, step, self.steps.get(phase, 1))
            except KeyboardInterrupt:
                self.broken = Cancelled("the build was stopped")
            except Exception as error:  # TensorRT's thread has no use for it
                self.broken = error

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor


def _add_profile(builder: Any, network: Any, config: Any, shapes: Shapes, name: str) -> None:
    """Say which sizes the open dimensions of the inputs have."""
    profile, dynamic = builder.create_optimization_profile(), False
    tensors = [network.get_input(i) for i in range(network.num_inputs)]
    if sorted(found := [tensor.name for tensor in tensors]) != sorted(shapes):
        raise ArchMismatch(
            f"{name} has inputs {', '.join(found)}, its manifest says {', '.join(shapes)}",
            hint="Export the bundle again",
        )
    for tensor in tensors:
        if -1 in tuple(tensor.shape):
            dynamic = True
            profile.set_shape(tensor.name, *shapes[tensor.name])
    if dynamic:
        config.add_optimization_profile(profile)


def _failure(library: Library, path: Path, reason: str) -> BuildFailed:
    said = library.said()
    return BuildFailed(
        f"backend {library.name} refuses {path.name}: {' '.join(reason.split())[:300]}"
        + (f" ({said})" if said else ""),
        hint='Run it with another backend, such as backend="ort"',
    )
