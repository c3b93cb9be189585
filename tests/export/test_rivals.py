"""PyTorch as a backend: the same results, the same state, and only the bundle's own checkpoint."""

from __future__ import annotations

import hashlib
import importlib
import os
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from mien.bench import Plan, measure, plugins
from mien.bundles import BUILT_IN
from mien_engines import Bundle, Source, backends
from mien_engines.errors import ArchMismatch, InputError
from mien_engines.parity import Referee, distance
from mien_engines.spec import BundleSpec
from mien_export.rivals import RIVALS, module_of

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "export" / "zoo" / "vgg" / "vgg.safetensors"
EMBEDDER = ROOT / "export" / "zoo" / "embedder" / "embedder.safetensors"

pytestmark = pytest.mark.skipif(
    not (BUILT_IN / "vgg" / "bundle.json").is_file(), reason="the bundle vgg is not built"
)


@pytest.fixture(scope="module")
def vgg() -> Bundle:
    return Bundle.open(BUILT_IN / "vgg")


@pytest.mark.parametrize(("name", "tolerance"), [
    ("torch", 1e-5), ("torch-channels-last", 1e-5), ("torch-bf16", 0.05),
])  # fmt: skip
def test_a_rival_gives_what_onnx_runtime_gives(vgg: Bundle, name: str, tolerance: float) -> None:
    rival = RIVALS[name](vgg, "adain_encode", CHECKPOINT, {})
    assert rival.name == name
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 48, 3), np.uint8)
    path, spec = vgg.graph_path("adain_encode"), vgg.graph("adain_encode")
    with rival.open(path, spec, 1) as session, backends.get("ort").open(path, spec, 1) as judge:
        found, expected = (s.run({"picture": picture}) for s in (session, judge))
    assert set(found) == set(expected)
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        assert 0 < distance(found[key], array) < tolerance


def test_a_loop_of_a_rival_is_its_calls_fed_back(vgg: Bundle) -> None:
    name = "gatys_published_step"
    path, spec = vgg.graph_path(name), vgg.graph(name)
    ort = backends.get("ort")
    referee = Referee(vgg, lambda n: ort.open(vgg.graph_path(n), vgg.graph(n), 1))
    feeds = dict(referee.feeds(name))
    with RIVALS["torch"](vgg, name, CHECKPOINT, {}).open(path, spec, 1) as session:
        loop = session.loop(feeds)
        for _ in range(2):
            loop.step()
        once = session.run(feeds)
        state = {target: once[output] for output, target in spec.state.items()}
        twice = session.run(feeds | state)
        for output, target in spec.state.items():
            np.testing.assert_array_equal(loop.state()[target], twice[output])
        np.testing.assert_array_equal(loop.read("loss"), twice["loss"])
        loop.set("t", np.zeros(1, np.float32))
        assert loop.state()["t"] == 0
    with ort.open(path, spec, 1) as judge:
        np.testing.assert_allclose(once["loss"], judge.run(feeds)["loss"], rtol=1e-4)


def test_another_checkpoint_than_the_bundles_is_refused(vgg: Bundle) -> None:
    with pytest.raises(InputError, match=r"Name the checkpoint .* vgg\.safetensors: --checkpoint"):
        module_of(vgg, "features", None, {})
    other = Source(file="x", format="x", sha256="0" * 64, licence="none")
    spoilt = Bundle(vgg.folder, vgg.spec.model_copy(update={"source": other}), vgg.fingerprint)
    with pytest.raises(ArchMismatch, match=r"was made from 000000000000"):
        module_of(spoilt, "features", CHECKPOINT, {})
    with pytest.raises(ArchMismatch, match="graph dance of bundle vgg is not among"):
        module_of(vgg, "dance", CHECKPOINT, {})
    strange = Bundle(vgg.folder, vgg.spec.model_copy(update={"family": "test"}), vgg.fingerprint)
    with pytest.raises(ArchMismatch, match="family test is not one of mien's"):
        module_of(strange, "features", CHECKPOINT, {})


def bundle_of(checkpoint: Path, **properties: str) -> Bundle:
    """What is known of a bundle that was exported from a checkpoint; its graphs are not needed."""
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    source = Source(file=checkpoint.name, format="x", sha256=sha256, licence="none")
    spec = BundleSpec(
        name="b", family="stylegan2", source=source, properties={**properties}, files={}, graphs={}
    )
    return Bundle(checkpoint.parent, spec, "0" * 64)


def test_a_step_with_another_loss_is_refused(rosinality_pt: Path) -> None:
    """A bundle that was exported with --vgg and --lpips has its step under the same name."""
    lpips = bundle_of(rosinality_pt, perceptual="LPIPS 0.1, VGG-16")
    own = bundle_of(rosinality_pt, perceptual="face encoder features")
    with pytest.raises(
        ArchMismatch, match=r"'LPIPS 0.1, VGG-16', these .*'face encoder .*--vgg and --lpips"
    ):
        module_of(lpips, "project_step", rosinality_pt, {})
    module_of(own, "project_step", rosinality_pt, {})
    module_of(lpips, "render", rosinality_pt, {})  # has no loss


@pytest.mark.slow
def test_files_that_the_export_took_make_their_graphs(rosinality_pt: Path) -> None:
    bundle = bundle_of(
        rosinality_pt, perceptual="face encoder features", recogniser="mobilefacenet"
    )
    with pytest.raises(ArchMismatch, match=r"swap_step .* alone\. .*--arcface"):
        module_of(bundle, "swap_step", rosinality_pt, {})
    module_of(bundle, "swap_step", rosinality_pt, {"arcface": EMBEDDER})
    other = bundle_of(rosinality_pt, perceptual="face encoder features", recogniser="iresnet50")
    with pytest.raises(ArchMismatch, match=r"recogniser 'iresnet50', these .*'mobilefacenet'"):
        module_of(other, "swap_step", rosinality_pt, {"arcface": EMBEDDER})
    with pytest.raises(InputError, match="LPIPS needs both"):
        module_of(bundle, "project_step", rosinality_pt, {"lpips": EMBEDDER})


def test_torch_is_told_to_wait_asleep_before_it_is_loaded(
    vgg: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        name = "torch"

        def load(self) -> object:
            assert os.environ["OMP_WAIT_POLICY"] == "passive"
            return lambda *arguments: arguments

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()])
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # restored afterwards
    monkeypatch.delenv("OMP_WAIT_POLICY")
    found: object = plugins.rival("torch", vgg, "features", CHECKPOINT, {"lpips": CHECKPOINT})
    assert found == (vgg, "features", CHECKPOINT, {"lpips": CHECKPOINT})
    assert "OMP_WAIT_POLICY" not in os.environ  # the caller's own stays as it was
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    with pytest.raises(AssertionError):  # what the user chose stays
        plugins.rival("torch", vgg, "features", CHECKPOINT, {})
    assert os.environ["OMP_WAIT_POLICY"] == "active"


def test_a_graph_is_measured_against_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name="torch", value="mien_export.rivals:eager", group="mien.bench")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    plan = Plan(
        bundle="vgg", graphs=("adain_encode",), backends=("ort",), against=("torch",),
        checkpoint=CHECKPOINT, calls=5, threads=1,
    )  # fmt: skip
    report = measure(plan)
    assert [case.who for case in report.cases] == ["ort", "torch"]
    assert report.cases[1].accuracy is not None
    assert report.cases[1].accuracy.passed
    ((case, against),) = [(c.case, c.against) for c in report.comparisons]
    assert (case, against) == ("vgg/adain_encode, ort", "torch")


def test_every_rival_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["mien.bench"]
    assert set(points) == set(RIVALS)
    for name, place in points.items():
        module, _, attribute = place.partition(":")
        assert getattr(importlib.import_module(module), attribute) is RIVALS[name]
