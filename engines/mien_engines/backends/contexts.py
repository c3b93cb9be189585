"""Execution contexts of a plan: in memory of ours, and with kernels kept between processes.

Left alone, TensorRT allocates for the greatest shapes of a plan, and TensorRT-RTX also in the midst
of a run, which no capture allows. TensorRT-RTX moreover compiles kernels for the GPU when a plan is
first run: what it compiled is kept beside the plan.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien_engines.backends.compiled import load_compiled, save_compiled
from mien_engines.device import Device
from mien_engines.errors import MienError, Untrusted
from mien_engines.plan_upkeep import KERNELS_SUFFIX
from mien_engines.plans import PlanCache
from mien_engines.trt_library import Library

logger = logging.getLogger("mien")


@dataclass(frozen=True)
class KernelFile:
    """Compiled kernels beside a plan in the cache. They are code, and trusted as plans are."""

    plans: PlanCache
    path: Path

    @classmethod
    def beside(cls, plans: PlanCache, plan: Path) -> KernelFile:
        return cls(plans, plan.with_suffix(KERNELS_SUFFIX))

    def load(self, restore: Callable[[bytes], bool]) -> bool:
        """Hand over what is there, and say whether that was taken.

        Absent, damaged or open to others: it is compiled again.
        """
        try:
            self.plans.check_owner(self.path)
        except Untrusted:
            return False
        return bool(load_compiled(self.path, restore))

    def save(self, content: bytes) -> None:
        save_compiled(self.path, content)


class Contexts:
    """Makes the execution contexts of one plan, and knows what holds for all of them.

    It has to stay for as long as one of them does.

    Args:
        engine: of TensorRT. graph: its name, for messages.
        kernels: where TensorRT-RTX's kernels are kept; None means that they are not.
    """

    def __init__(
        self,
        library: Library,
        device: Device,
        engine: Any,
        graph: str,
        kernels: KernelFile | None = None,
    ) -> None:
        self.uncaptured = ""  # why runs are not captured; nothing while they are
        self._library, self._device, self._engine = library, device, engine
        self._graph, self._kernels, self._kept = graph, kernels, b""
        self._lock = threading.Lock()
        with device.checked(f"graph {graph}: how it is to be run"):
            self._config = self._new_config()
            self._cache = self._new_cache()

    def new(self) -> Any:
        """A context, still without shapes and memory. Raises DeviceOutOfMemory."""
        what = f"graph {self._graph}: an execution context"
        with self._lock, self._device.checked(what):
            context = self._engine.create_execution_context(self._config)
        if context is None:
            said = self._library.said() or "out of memory, or a plan for another GPU"
            raise self._device.fault(what, said)
        return context

    def refuse_capture(self, reason: str) -> None:
        """Run without captured graphs from now on, and say so once."""
        with self._lock:
            if self.uncaptured:
                return
            self.uncaptured = reason
        logger.warning("graph %s runs without a CUDA graph, and slower: %s", self._graph, reason)

    def keep_kernels(self) -> None:
        """Keep what the first run of some shapes has compiled. That never fails a run."""
        if self._cache is None or self._kernels is None:
            return
        try:
            with self._lock, self._device.checked(f"graph {self._graph}: its compiled kernels"):
                content = _content(self._cache)
                digest = hashlib.sha256(content).digest()
                if content and digest != self._kept:
                    self._kernels.save(content)
                    self._kept = digest
        except MienError as error:
            logger.warning("%s", error.message)

    def _new_config(self) -> Any:
        trt = self._library.trt
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            # The default compiles beside the first runs, and a capture would keep the slower
            # kernels that run meanwhile.
            eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        return config

    def _new_cache(self) -> Any | None:
        if self._kernels is None or not hasattr(self._config, "create_runtime_cache"):
            return None
        cache = self._config.create_runtime_cache()
        # It refuses kernels of another GPU, driver or version itself.
        if self._kernels.load(lambda content: bool(cache.deserialize(content))):
            # Not of the file: the library may order the same kernels otherwise.
            self._kept = hashlib.sha256(_content(cache)).digest()
        self._config.set_runtime_cache(cache)
        self._library.said()
        return cache


def _content(cache: Any) -> bytes:
    """What a runtime cache holds; nothing where it says so."""
    return bytes(cache.serialize() or b"")
