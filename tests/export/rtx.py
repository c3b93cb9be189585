"""TensorRT-RTX parses and builds graphs on machines without a GPU."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest

from mien_export.precision import in_half


def assert_builds(
    path: Path, largest_batch: int = 4, side: int = 1, divisors: Mapping[str, int] | None = None
) -> None:
    """Parse the graph and build an engine for batches of 1 to largest_batch, or skip.

    side: px of the sides that are open, which may be as many times larger as the batch.
    divisors: input -> what its own sides are of those.
    """
    pytest.importorskip("tensorrt_rtx_libs", reason="TensorRT-RTX is not installed")
    _build(path, largest_batch, side, divisors or {})


def assert_builds_in_half(path: Path, largest_batch: int = 4, side: int = 1) -> None:
    """Do so with the graph's float16 form."""
    pytest.importorskip("tensorrt_rtx_libs", reason="TensorRT-RTX is not installed")
    with tempfile.TemporaryDirectory() as folder:
        narrow = Path(folder) / "half.onnx"
        onnx.save(in_half(onnx.load(path)), narrow)
        _build(narrow, largest_batch, side, {})


def _build(path: Path, largest_batch: int, side: int, divisors: Mapping[str, int]) -> None:
    import tensorrt_rtx_bindings as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(str(path))
    errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert parsed, "\n".join(errors)
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    dynamic = False
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shape = list(tensor.shape)
        dynamic = dynamic or -1 in shape
        own = side // divisors.get(tensor.name, 1)
        sizes = (
            [n if n >= 0 else b if place == 0 else b * own for place, n in enumerate(shape)]
            for b in (1, 1, largest_batch)
        )
        profile.set_shape(tensor.name, *sizes)
    if dynamic:
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    assert plan.nbytes > 0


BOTH = pytest.mark.parametrize(
    "assert_it_builds", [assert_builds, assert_builds_in_half], ids=["fp32", "fp16"]
)
"""For tests of graphs without state, which come in both precisions."""
