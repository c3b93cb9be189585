"""A lane: one execution context with its own stream and buffers, for inputs of certain shapes.

One thread at a time drives a lane. The first run warms up: TensorRT picks kernels in it. The second
is captured, copies included, and from then on a run is one call of the driver. A plan that refuses
its capture is run call by call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien_engines.backends.contexts import Contexts
from mien_engines.backends.feeds import Array, check_dtype
from mien_engines.device import Device, Graph, Memory, Pinned
from mien_engines.errors import InputError, MienError, RunError
from mien_engines.exchange import DeviceArray, borrow, is_on_device
from mien_engines.spec import GraphSpec
from mien_engines.trt_library import Library

STRIDE = 16  # steps at most that are recorded into one graph


@dataclass(frozen=True)
class Slot:
    """An input or an output: where it lies on the device, and its twin on the host."""

    memory: Memory
    host: Pinned

    @property
    def array(self) -> Array:
        return self.host.array


class Lane:
    """Runs a plan for inputs of the given shapes.

    Args:
        contexts: of the plan, shared by all lanes.

    Raises:
        InputError: the plan was not built for these shapes. DeviceOutOfMemory: nothing is kept.
    """

    def __init__(
        self,
        library: Library,
        device: Device,
        contexts: Contexts,
        spec: GraphSpec,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._library, self._device, self._spec = library, device, spec
        self._contexts = contexts
        self._graphs: dict[Hashable, Graph] = {}
        self._schedules: dict[str, Slot] = {}
        self._tensors = {tensor.name: tensor for tensor in spec.inputs}
        self._warm = False
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self.stream = device.stream()
            stack.callback(self.stream.close)
            self._context = contexts.new()
            stack.callback(self._drop_context)
            self._shape_inputs(shapes)
            self._give_memory()
            self.inputs = {t.name: self._slot(t.name, shapes[t.name], t.dtype) for t in spec.inputs}
            self.outputs = {
                t.name: self._slot(t.name, self._output_shape(t.name), t.dtype)
                for t in spec.outputs
            }
            for name, slot in (self.inputs | self.outputs).items():
                self._context.set_tensor_address(name, slot.memory.address)
            stack.callback(self._free_graphs)
            stack.callback(self._settle)  # the last in is the first out: all work ends before
            self._stack = stack.pop_all()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once: host arrays in, host arrays of the caller's own out."""
        for name, slot in self.inputs.items():
            np.copyto(slot.array, feeds[name])
        self.replay("frame", self._frame)
        self.stream.synchronize()
        return {name: slot.array.copy() for name, slot in self.outputs.items()}

    def run_resident(self, feeds: Mapping[str, Any]) -> dict[str, DeviceArray]:
        """Run once: arrays of the host or of the device in, device arrays of the caller's out."""
        borrowed = []
        with contextlib.ExitStack() as made:
            try:
                for name, slot in self.inputs.items():
                    if is_on_device(feeds[name]):
                        taken = borrow(name, feeds[name], self._device, self.stream.handle)
                        borrowed.append(taken)
                        check_dtype(self._spec.name, self._tensors[name], taken.dtype)
                        self.stream.copy(slot.memory.address, taken.address, slot.memory.nbytes)
                    else:
                        np.copyto(slot.array, feeds[name])
                        self.stream.upload(slot.memory, slot.host)
                results = {}
                for name, slot in self.outputs.items():
                    memory = self._device.allocate(slot.memory.nbytes)
                    made.callback(memory.free)
                    results[name] = (memory, slot)
                self.replay("bare", self._execute)
                for memory, slot in results.values():
                    self.stream.copy(memory.address, slot.memory.address, memory.nbytes)
                self.stream.synchronize()
            except BaseException:
                with contextlib.suppress(MienError):
                    self._settle()  # before what it reads and writes is given back
                raise
            finally:
                for taken in borrowed:
                    taken.release()
            made.pop_all()
        return {
            name: DeviceArray(memory, slot.array.shape, slot.array.dtype)
            for name, (memory, slot) in results.items()
        }

    def steps(self, count: int, schedule: Mapping[str, Array]) -> None:
        """Run count times, outputs that are state becoming inputs; all of it on the device.

        schedule: values of inputs by step, [count, ...].
        """
        for name, values in schedule.items():
            slot = self._schedules.get(name)
            if slot is None:
                slot = self._schedules[name] = self._schedule_slot(name)
            np.copyto(slot.array[:count], values)
            self.stream.upload(slot.memory, slot.host)
        names = tuple(schedule)
        self.replay(("steps", count, names), lambda: self._steps(count, names))
        self.stream.synchronize()

    def put(self, name: str, array: Array) -> None:
        """Set an input."""
        slot = self.inputs[name]
        np.copyto(slot.array, array)
        self.stream.upload(slot.memory, slot.host)
        self.stream.synchronize()

    def fetch(self, slot: Slot) -> Array:
        """A copy of what lies on the device."""
        self.stream.download(slot.host, slot.memory)
        self.stream.synchronize()
        return slot.array.copy()

    def replay(self, key: Hashable, body: Callable[[], None]) -> None:
        """Queue what body queues: itself at first, its captured graph later where it has one."""
        if not self._warm:
            body()
            self._warm = True
            self._contexts.keep_kernels()
            return
        refusal = ""
        if key not in self._graphs and not self._contexts.uncaptured:
            refusal = self._capture(key, body)
        graph = self._graphs.get(key)
        if graph is None:
            body()
        else:
            self.stream.launch(graph)
        # Last: where the run fails too, that error is raised above, and the capture is not blamed.
        if refusal:
            self._contexts.refuse_capture(refusal)

    def _capture(self, key: Hashable, body: Callable[[], None]) -> str:
        """Record what body queues; return why that cannot be done, or nothing."""
        if not self._is_capturable():
            return f"{self._library.title} cannot capture it"
        try:
            with self.stream.capture() as graph:
                body()
        except RunError as error:
            if type(error) is not RunError:
                raise  # out of memory, or lost: a run without a capture would fail, too
            return error.message
        self._graphs[key] = graph
        return ""

    def _is_capturable(self) -> bool:
        if not hasattr(self._context, "is_stream_capturable"):
            return True  # TensorRT does not tell; the attempt will
        with self._device.checked(f"graph {self._spec.name}: whether it can be captured"):
            return bool(self._context.is_stream_capturable(self.stream.handle))

    def close(self) -> None:
        """Give everything back, once the work that was queued has ended."""
        self._stack.close()

    def _frame(self) -> None:
        for slot in self.inputs.values():
            self.stream.upload(slot.memory, slot.host)
        self._execute()
        for slot in self.outputs.values():
            self.stream.download(slot.host, slot.memory)

    def _steps(self, count: int, names: tuple[str, ...]) -> None:
        for i in range(count):
            for name in names:
                target, source = self.inputs[name].memory, self._schedules[name].memory
                self.stream.copy(target.address, source.address + i * target.nbytes, target.nbytes)
            self._execute()
            for output, name in self._spec.state.items():
                new, old = self.outputs[output].memory, self.inputs[name].memory
                self.stream.copy(old.address, new.address, new.nbytes)

    def _execute(self) -> None:
        with self._device.checked(f"graph {self._spec.name}"):
            # It returns False where it refused, and the old outputs would look like new ones.
            if not self._context.execute_async_v3(self.stream.handle):
                raise RuntimeError(self._library.said() or "TensorRT refused to run it")

    def _drop_context(self) -> None:
        with self._device.discarding():
            self._context = None

    def _shape_inputs(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name, shape in shapes.items():
            with self._device.checked(f"input {name}"):
                fits = self._context.set_input_shape(name, shape)
            if not fits:
                raise InputError(
                    f"graph {self._spec.name}: its plan was not built for input {name} of shape "
                    f"{shape}",
                    hint="Build it for this size: mien build BUNDLE --size NAME=LEAST:USUAL:MOST",
                )

    def _give_memory(self) -> None:
        """What the context computes in: as much as these shapes take."""
        with self._device.checked(f"graph {self._spec.name}: its memory"):
            nbytes = int(self._context.update_device_memory_size_for_shapes())
        memory = self._device.allocate(nbytes)
        self._stack.callback(memory.free)
        with self._device.checked(f"graph {self._spec.name}: its memory"):
            self._context.set_device_memory(memory.address, nbytes)

    def _output_shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise RunError(
                f"graph {self._spec.name}: output {name} has a size that depends on values",
                hint="Run it with another backend",
            )
        return shape

    def _slot(self, name: str, shape: tuple[int, ...], dtype: str) -> Slot:
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        memory = self._device.allocate(nbytes)
        self._stack.callback(memory.free)
        host = self._device.pinned(tuple(shape), dtype)
        self._stack.callback(host.free)
        return Slot(memory, host)

    def _schedule_slot(self, name: str) -> Slot:
        array = self.inputs[name].array
        slot = self._slot(name, (STRIDE, *array.shape), array.dtype.str)
        # Its place on the stack is above the callback that ends all work; put that on top again.
        self._stack.callback(self._settle)
        return slot

    def _settle(self) -> None:
        if not self._device.lost:
            self.stream.synchronize()

    def _free_graphs(self) -> None:
        while self._graphs:
            self._graphs.popitem()[1].free()
