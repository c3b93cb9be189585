"""Forms of 16 bits: how near they are, what stays in float32, and that nothing overflows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto
from onnx.reference import ReferenceEvaluator
from tests.export.rtx import assert_builds
from tests.export.tiny import CONFIG, tiny
from torch import Tensor, nn

from mien_engines import Bundle
from mien_engines.errors import InputError
from mien_engines.spec import Source
from mien_export import narrow
from mien_export.families.stylegan2_graphs import stylegan2_graphs
from mien_export.nets.adain import adain
from mien_export.precision import in_half
from mien_export.to_bundle import write_bundle
from mien_export.to_onnx import onnx_from_module


class Drawing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.synthesis = tiny()[0].synthesis

    def forward(self, ws: Tensor) -> Tensor:
        image: Tensor = self.synthesis(ws)
        return image


class Normed(nn.Module):
    """A convolution, an adaptive normalisation, a mean of squares."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)

    def forward(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        y = adain(self.conv(x), style, style)
        return y, (x * x).mean((1, 2, 3))


def run(model: ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found: list[np.ndarray] = session.run(None, feeds)
    return found


@pytest.fixture(scope="module")
def drawing() -> ModelProto:
    ws = torch.randn(2, CONFIG.num_ws, CONFIG.w_dim)
    return onnx_from_module(Drawing(), [ws], ["ws"], ["image"])


@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_a_synthesis_stays_near_and_finite_however_large_its_styles(
    drawing: ModelProto, rng: np.random.Generator, scale: float
) -> None:
    ws = scale * rng.standard_normal((3, CONFIG.num_ws, CONFIG.w_dim)).astype(np.float32)
    # toRGB has no demodulation: its styles scale the picture, which no float16 can hold at 10000.
    expected, found = (run(model, ws=ws)[0] for model in (drawing, in_half(drawing)))
    assert np.isfinite(found).all() == (np.abs(expected).max() < 65_000)
    if np.isfinite(found).all():
        assert np.abs(found - expected).max() / np.ptp(expected) < 5e-3


def test_kernels_meet_maps_in_half_and_styles_in_full(drawing: ModelProto) -> None:
    narrow = in_half(drawing)
    onnx.checker.check_model(narrow, full_check=True)
    types = {
        v.name: v.type.tensor_type.elem_type
        for v in onnx.shape_inference.infer_shapes(narrow).graph.value_info
    } | {t.name: t.data_type for t in narrow.graph.initializer}
    for node in narrow.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            assert {types[name] for name in node.input} == {TensorProto.FLOAT16}
        if node.op_type in ("Gemm", "MatMul", "Sqrt"):
            assert TensorProto.FLOAT16 not in {types.get(name) for name in node.input}


def test_statistics_and_sums_of_squares_stay_in_full(rng: np.random.Generator) -> None:
    x, style = torch.randn(2, 3, 8, 6), torch.randn(2, 4)
    model = onnx_from_module(Normed(), [x, style], ["x", "style"], ["y", "energy"])
    feeds = {
        "x": (300 * rng.standard_normal((3, 3, 8, 6))).astype(np.float32),  # squares beyond 65504
        "style": rng.standard_normal((3, 4)).astype(np.float32),
    }
    expected, found = run(model, **feeds), run(in_half(model), **feeds)
    np.testing.assert_allclose(found[0], expected[0], atol=0.02)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("forms") / "tiny"
    write_bundle(
        folder,
        stylegan2_graphs(*tiny()),
        name="tiny",
        family="stylegan2",
        source=Source(file="none", format="none", sha256="0" * 64, licence="Apache-2.0"),
        properties={},
        constants={},
        half=True,
        fp16=True,
    )
    return Bundle.open(folder)


def test_a_bundle_says_how_near_its_forms_are(bundle: Bundle) -> None:
    for name, graph in bundle.spec.graphs.items():
        assert (set(graph.forms) == {"fp16"}) == (not graph.state), name
        for form in graph.forms.values():
            assert set(form.errors) == {tensor.name for tensor in graph.outputs}
            assert max(form.errors.values()) < 0.02
    assert max(bundle.graph("render").forms["fp16"].errors.values()) > 0


def test_both_forms_share_the_stored_halves(bundle: Bundle) -> None:
    one, two = (
        {(e.key, e.value) for t in _stored(bundle.folder / f) for e in t.external_data}
        for f in ("synthesis.onnx", "synthesis.fp16.onnx")
    )
    kernels = {place for place in one & two if place[0] == "offset"}
    assert len(kernels) > 10


def _stored(path: Path) -> list[TensorProto]:
    model = onnx.load(path, load_external_data=False)
    return [t for t in model.graph.initializer if t.external_data]


@pytest.mark.parametrize("graph", ["mapping", "synthesis", "render", "mix", "project_target"])
def test_tensorrt_builds_the_form(bundle: Bundle, graph: str) -> None:
    assert_builds(bundle.folder / f"{graph}.fp16.onnx")


def test_in_bf16_maps_have_the_range_of_float32(
    drawing: ModelProto, rng: np.random.Generator
) -> None:
    """By ONNX's own evaluator, since ONNX Runtime has no bfloat16 convolutions on the CPU."""
    form = in_half(drawing, "bf16")
    types = {node.attribute[0].i for node in form.graph.node if node.op_type == "Cast"}
    assert types == {TensorProto.FLOAT, TensorProto.BFLOAT16}
    evaluate = ReferenceEvaluator(form).run
    ws = 100_000 * rng.standard_normal((1, CONFIG.num_ws, CONFIG.w_dim)).astype(np.float32)
    expected, found = run(drawing, ws=ws)[0], evaluate(None, {"ws": ws})[0]
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 65_504  # more than float16 holds
    assert np.abs(found - expected).max() / np.ptp(expected) < 0.05  # 8 bits in every layer's maps


def test_what_is_to_be_kept_stays_float32(drawing: ModelProto, rng: np.random.Generator) -> None:
    ws = rng.standard_normal((2, CONFIG.num_ws, CONFIG.w_dim)).astype(np.float32)
    expected = run(drawing, ws=ws)[0]
    kept = in_half(drawing, "fp16", ["Conv"])
    onnx.checker.check_model(kept, full_check=True)
    for node in kept.graph.node:
        if node.op_type == "Conv":
            assert not [name for name in node.input if name.endswith("__fp16")]
        if node.op_type == "ConvTranspose":
            assert [name for name in node.input if name.endswith("__fp16")]
    everything = {node.op_type for node in drawing.graph.node}
    np.testing.assert_array_equal(run(in_half(drawing, "fp16", [*everything]), ws=ws)[0], expected)
    one = next(node.name for node in drawing.graph.node if node.op_type == "Conv")
    assert one
    some = in_half(drawing, "fp16", [one])
    wide = [n for n in some.graph.node if n.op_type == "Conv" and n.input[0][-6:] != "__fp16"]
    assert [node.name for node in wide] == [one]


def test_a_form_is_written_for_the_builder(
    drawing: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    source = tmp_path / "synthesis.onnx"
    onnx.save(drawing, source)
    ws = rng.standard_normal((1, CONFIG.num_ws, CONFIG.w_dim)).astype(np.float32)
    expected = run(in_half(drawing), ws=ws)[0]
    for limit in (1 << 30, 100):  # in one file, and with its weights beside it
        monkeypatch.setattr(narrow, "LARGEST_FILE", limit)
        target = narrow.write_narrowed(
            source, tmp_path / f"{limit}.onnx", "fp16", unsupported=["X"]
        )
        assert (tmp_path / f"{limit}.onnx.data").exists() == (limit == 100)
        session = onnxruntime.InferenceSession(str(target))
        np.testing.assert_array_equal(session.run(None, {"ws": ws})[0], expected)
    with pytest.raises(InputError, match=r"no operator or node 'Konv' to keep.*Conv, ConvTr"):
        narrow.write_narrowed(source, tmp_path / "x.onnx", "fp16", ["Konv"])
    with pytest.raises(InputError, match=r"no form in fp8.*fp16, bf16"):
        narrow.write_narrowed(source, tmp_path / "x.onnx", "fp8")  # type: ignore[arg-type]


def test_the_pass_is_found_without_torch() -> None:
    code = "import sys, mien_export.narrow; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
