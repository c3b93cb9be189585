"""PyTorch as a backend: the same results, the same state, and only the bundle's own checkpoint."""

from __future__ import annotations

import importlib
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from mien.bench import Plan, measure
from mien.bundles import BUILT_IN
from mien_engines import Bundle, Source, backends
from mien_engines.errors import ArchMismatch, InputError
from mien_engines.parity import Referee, distance
from mien_export.rivals import RIVALS, module_of

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "export" / "zoo" / "vgg" / "vgg.safetensors"

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
    rival = RIVALS[name](vgg, "adain_encode", CHECKPOINT)
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
    with RIVALS["torch"](vgg, name, CHECKPOINT).open(path, spec, 1) as session:
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
        module_of(vgg, "features", None)
    other = Source(file="x", format="x", sha256="0" * 64, licence="none")
    spoilt = Bundle(vgg.folder, vgg.spec.model_copy(update={"source": other}), vgg.fingerprint)
    with pytest.raises(ArchMismatch, match=r"was made from 000000000000"):
        module_of(spoilt, "features", CHECKPOINT)
    with pytest.raises(ArchMismatch, match="graph dance of bundle vgg is not among"):
        module_of(vgg, "dance", CHECKPOINT)
    strange = Bundle(vgg.folder, vgg.spec.model_copy(update={"family": "test"}), vgg.fingerprint)
    with pytest.raises(ArchMismatch, match="family test is not one of mien's"):
        module_of(strange, "features", CHECKPOINT)


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
