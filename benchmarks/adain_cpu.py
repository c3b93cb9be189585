"""AdaIN on one core: mien's kernel against ONNX Runtime and against copying the same memory.

    python benchmarks/adain_cpu.py [--rounds 30] [--dtype float16]

ONNX Runtime runs InstanceNormalization, Mul and Add, and where the row has a leaky ReLU that too,
as a graph with one thread into memory that is there already. `mien::AdaIN` is the body of the node
as bundles carry it. A copy reads and writes each number once, which is the least that anything can.
Results are compared before anything is timed.

Times are those of the processor, not of the clock on the wall: all of it runs on one thread, and
other work on the machine then counts less. It still takes its share of the caches and of memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from rounds import machine

from mien.ops import dispatch
from mien.ops.adain import adain
from mien_export.nets.adain import function

CALLS = 2  # in each turn

# Shapes of float32 [N, C, H, W], and the slope behind: those of 8 MB and more are beyond L2.
SHAPES = [
    ("StarGAN v2, 256 px, 16 px", (1, 512, 16, 16), 0.2),
    ("StarGAN v2, 256 px, 128 px", (1, 256, 128, 128), 0.2),
    ("StarGAN v2, 256 px, 256 px", (1, 128, 256, 256), 0.2),
    ("StyleGAN1, 1024 px, 64 px", (1, 512, 64, 64), 1.0),
    ("StyleGAN1, 1024 px, 256 px", (1, 128, 256, 256), 1.0),
    ("StyleGAN1, 1024 px, 512 px", (1, 64, 512, 512), 1.0),
    ("StyleGAN1, 1024 px, 1024 px", (1, 32, 1024, 1024), 1.0),
    ("AdaIN transfer, 512 px, relu4_1", (1, 512, 64, 64), 1.0),
    ("AdaIN transfer, 1024 px, relu4_1", (1, 512, 128, 128), 1.0),
]


@dataclass(frozen=True)
class Row:
    """Times are medians; ratios are medians of those of neighbouring calls."""

    what: str
    shape: tuple[int, ...]
    dtype: str
    mien_ms: float
    copy_ms: float
    ort_ms: float | None
    function_ms: float | None
    of_copy: float  # 1 is the speed of the copy
    times_ort: float | None
    times_function: float | None
    channels_last_of_copy: float
    n: int


def instance_norm(shape: tuple[int, ...], slope: float) -> onnx.ModelProto:
    """x, gamma, beta -> y, of standard operators."""
    n, c, _, _ = shape
    constants = [("ones", np.ones(c, np.float32)), ("zeros", np.zeros(c, np.float32))]
    nodes = [
        helper.make_node("InstanceNormalization", ["x", "ones", "zeros"], ["a"], epsilon=1e-5),
        helper.make_node("Mul", ["a", "gamma"], ["b"]),
        helper.make_node("Add", ["b", "beta"], ["c"]),
        helper.make_node("LeakyRelu", ["c"], ["y"], alpha=slope),
    ]
    if slope == 1:
        nodes[-2:] = [helper.make_node("Add", ["b", "beta"], ["y"])]
    return _model(nodes, shape, (n, c, 1, 1), constants, [])


def as_function(shape: tuple[int, ...], slope: float) -> onnx.ModelProto:
    """The same by mien::AdaIN."""
    n, c, _, _ = shape
    nodes = [helper.make_node("AdaIN", ["x", "gamma", "beta"], ["y"], domain="mien")]
    if slope != 1:
        nodes[0].output[0] = "c"
        nodes.append(helper.make_node("LeakyRelu", ["c"], ["y"], alpha=slope))
    return _model(nodes, shape, (n, c), [], [function()])


def _model(
    nodes: list[Any],
    shape: tuple[int, ...],
    row: tuple[int, ...],
    constants: list[tuple[str, NDArray[np.float32]]],
    functions: list[Any],
) -> onnx.ModelProto:
    f32 = TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info(name, f32, size)
        for name, size in (("x", shape), ("gamma", row), ("beta", row))
    ]
    graph = helper.make_graph(
        nodes, "adain", inputs, [helper.make_tensor_value_info("y", f32, shape)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("mien", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=9)


def bound(model: onnx.ModelProto, inputs: dict[str, NDArray[Any]]) -> tuple[Any, Any]:
    """A call of the graph on one thread, into an array of its own, and that array."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    out = np.zeros_like(inputs["x"])
    binding = session.io_binding()
    held = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in inputs.values()]
    for name, value in zip(inputs, held, strict=True):
        binding.bind_ortvalue_input(name, value)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(out)
    binding.bind_ortvalue_output("y", value)
    return (lambda: session.run_with_iobinding(binding)), value


def measure(what: str, shape: tuple[int, ...], slope: float, dtype: str, rounds: int) -> Row:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32).astype(dtype)
    gamma, beta = rng.standard_normal((2, *shape[:2]), np.float32)
    y = np.zeros_like(x)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    last_y = np.zeros_like(last)
    calls: dict[str, Callable[[], object]] = {
        "mien": lambda: adain(x, gamma, beta, slope=slope, out=y, impl="native", threads=1),
        "copy": lambda: np.copyto(y, x),
        "channels last": lambda: adain(
            last, gamma, beta, slope=slope, layout="NHWC", out=last_y, impl="native", threads=1
        ),
    }
    if dtype == "float32":
        planes = (*shape[:2], 1, 1)
        rows = {"x": x, "gamma": gamma.reshape(planes), "beta": beta.reshape(planes)}
        calls["ort"], found = bound(instance_norm(shape, slope), rows)
        calls["function"], also = bound(
            as_function(shape, slope), {"x": x, "gamma": gamma, "beta": beta}
        )
        wanted = adain(x, gamma, beta, slope=slope, impl="native", threads=1)
        for call, value in ((calls["ort"], found), (calls["function"], also)):
            call()
            # ONNX Runtime sums a plane of a million pixels to four or five digits.
            np.testing.assert_allclose(wanted, value.numpy(), rtol=0, atol=1e-3)
    times = _turns(calls, rounds)
    median = {name: statistics.median(values) for name, values in times.items()}

    def ratio(name: str, to: str = "mien") -> float | None:
        if name not in times:
            return None
        return statistics.median(a / b for a, b in zip(times[name], times[to], strict=True))

    of_copy, last_of_copy = ratio("copy"), ratio("copy", "channels last")
    assert of_copy is not None
    assert last_of_copy is not None
    return Row(
        what, shape, dtype, 1e3 * median["mien"], 1e3 * median["copy"],
        1e3 * median["ort"] if "ort" in median else None,
        1e3 * median["function"] if "function" in median else None,
        of_copy, ratio("ort"), ratio("function"), last_of_copy, len(times["mien"]),
    )  # fmt: skip


def _turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of the processor, `CALLS` a round after one that is not timed."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            calls[name]()
            for _ in range(CALLS):
                began = time.thread_time()
                calls[name]()
                times[name].append(time.thread_time() - began)
    return times


def show(rows: list[Row]) -> None:
    print("| what | shape | MB | mien ms | copy ms | speed of copy | ORT, IN + Mul + Add | "
          "times ORT | times mien::AdaIN in ORT | channels last, speed of copy |")  # fmt: skip
    print("| --- | --- |" + " ---: |" * 8)
    for r in rows:
        shape = " x ".join(str(size) for size in r.shape)
        mb = np.prod(r.shape) * np.dtype(r.dtype).itemsize / 1e6
        ort = "-" if r.ort_ms is None else f"{r.ort_ms:.2f}"
        times = "-" if r.times_ort is None else f"{r.times_ort:.1f}"
        function = "-" if r.times_function is None else f"{r.times_function:.1f}"
        print(
            f"| {r.what} | {shape} | {mb:.1f} | {r.mien_ms:.2f} | {r.copy_ms:.2f} | "
            f"{r.of_copy:.0%} | {ort} | {times} | {function} | {r.channels_last_of_copy:.0%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30, help=f"of {CALLS} timed calls each")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    rows = [measure(*case, options.dtype, options.rounds) for case in SHAPES]
    versions = f"{machine('onnxruntime', 'numpy')}; kernels {dispatch.state()}"
    if options.json:
        print(json.dumps({"machine": versions}))
        for row in rows:
            print(json.dumps(asdict(row)))
    else:
        print(f"{versions}\n")
        show(rows)


if __name__ == "__main__":
    main()
