"""Model repositories: checked against Triton's own protobuf, the ONNX files, and the Studio."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.bundles import BUILT_IN
from mien.edits.latents import layer_weights
from mien.studio import Studio
from mien_engines.bundle import Bundle
from mien_engines.errors import ArchMismatch, InputError, MissingDependency
from mien_engines.spec import Form
from mien_export.triton.models import Serving
from mien_export.triton.repository import export_triton

pytest.importorskip("tritonclient.grpc", reason="tritonclient, whose protobuf judges, is not there")

from tests.triton.server import ONNX, Server, alike, session_of, type_name, wiring_faults

NAMES = ("adain", "vaegan", "lookalike", "demo", "embedder", "faces", "vgg")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not all((BUILT_IN / name).is_dir() for name in NAMES), reason="mien's own bundles are not built"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton") / "models"
    for name in NAMES:
        export_triton(Bundle.open(BUILT_IN / name), folder)
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Server:
    return Server(repository)


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with Studio("demo", backend="ort", threads=1) as opened:
        yield opened


def faces(studio: Studio, *seeds: int) -> Any:  # uint8 [N, R, R, 3]
    return np.stack([studio.render(studio.sample(seed)).array for seed in seeds])


def assert_same_but_for_rounding(one: Any, other: Any) -> None:
    """Alike to a level of 255 here and there: another batch or order of sums rounds otherwise."""
    differs = np.abs(one.astype(int) - other)
    assert differs.max() <= 1
    assert differs.mean() < 0.01


def test_every_graph_of_a_bundle_is_a_model(server: Server) -> None:
    for name in NAMES:
        graphs = Bundle.open(BUILT_IN / name, verify=False).spec.graphs
        assert {f"{name}_{graph}" for graph in graphs} <= server.configs.keys()
    for name, config in server.configs.items():
        assert config.name == name
        assert (server.repository / name / "1").is_dir()


def test_a_configuration_states_what_the_onnx_file_has(server: Server) -> None:
    for name, config in server.configs.items():
        if config.HasField("ensemble_scheduling"):
            continue
        session = session_of(server.file(name), light=True)
        fixed = {tensor.name: tensor for tensor in session.get_inputs()}
        free = {tensor.name: tensor for tensor in session.get_overridable_initializers()}
        stated = {field.name: field for field in config.input}
        extra = {c.name for c in config.sequence_batching.control_input} | {
            s.input_name for s in config.sequence_batching.state
        }
        assert fixed.keys() == stated.keys() - free.keys() | extra
        assert {n for n, field in stated.items() if field.optional} == free.keys()
        assert not free or not config.max_batch_size  # Triton refuses the two together
        made = {tensor.name: tensor for tensor in session.get_outputs()}
        kept = {s.output_name for s in config.sequence_batching.state}
        assert made.keys() == {field.name for field in config.output} | kept
        for field in (*config.input, *config.output):
            tensor = (fixed | free | made)[field.name]
            assert ONNX[tensor.type] == type_name(field)
            shape = [size if isinstance(size, int) else -1 for size in tensor.shape]
            inner = list(field.reshape.shape) if field.HasField("reshape") else list(field.dims)
            assert alike([-1, *inner] if config.max_batch_size else inner, shape), field.name
            if config.max_batch_size:
                assert shape[0] == -1


def test_requests_are_put_together_where_the_graph_lets_them(server: Server) -> None:
    batched = {
        name for name, config in server.configs.items() if config.HasField("dynamic_batching")
    }
    assert {"lookalike_encode", "demo_render", "adain_style", "vaegan_encode"} <= batched
    # One alpha, one weight a layer for a whole call: two requests may want two of them.
    assert not batched & {"adain_transfer", "demo_mix", "vaegan_merge"}
    for name in batched:
        assert server.configs[name].dynamic_batching.default_queue_policy.max_queue_size == 256


def test_the_wiring_of_every_ensemble_holds(server: Server) -> None:
    chains = [n for n, c in server.configs.items() if c.HasField("ensemble_scheduling")]
    assert len(chains) == 7
    for name in chains:
        assert not wiring_faults(server.configs, name)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda c: c.ensemble_scheduling.step[1].input_map.pop("mean"), "misses mean"),
        (lambda c: c.ensemble_scheduling.step[0].output_map.pop("mean"), "nothing makes mean"),
        (lambda c: c.input[0].dims.__setitem__(3, 4), "changes its size"),
        (lambda c: setattr(c.input[0], "data_type", 11), "changes its type"),
        (lambda c: c.ensemble_scheduling.step[0].input_map.update(no="mean"), "has no no"),
    ],
)
def test_a_wiring_that_does_not_hold_is_found(server: Server, damage: Any, fault: str) -> None:
    damaged = type(server.configs["adain_stylize_chain"])()
    damaged.CopyFrom(server.configs["adain_stylize_chain"])
    damage(damaged)
    configs = server.configs | {"adain_stylize_chain": damaged}
    assert any(fault in found for found in wiring_faults(configs, "adain_stylize_chain"))


def test_the_ensemble_of_style_transfer_draws_what_the_studio_draws(
    server: Server, studio: Studio, rng: np.random.Generator
) -> None:
    content, style = (rng.integers(0, 256, size, np.uint8) for size in ((40, 56, 3), (32, 24, 3)))
    drawn = server.infer(
        "adain_stylize_chain", content=content[None], style=style[None],
        alpha=np.array([0.7], np.float32),
    )  # fmt: skip
    expected = studio.stylize(content, style, strength=0.7, match_colour=0).array
    np.testing.assert_array_equal(drawn["drawn"][0], expected)
    assert np.isfinite(drawn["energy"]).all()


def test_the_ensemble_of_merging_draws_what_the_studio_draws(
    server: Server, studio: Studio
) -> None:
    content, pattern = faces(studio, 3, 4, 5), faces(studio, 6, 7, 8)
    weight = np.ones(6, np.float32)
    for chain, learned in (("merge", True), ("merge_plain", False)):
        drawn = server.infer(
            f"vaegan_{chain}_chain", content=content, pattern=pattern, weight=weight
        )
        for one, a, b in zip(drawn["picture"], content, pattern, strict=True):
            expected = studio.merge(a, b, learned=learned).array
            assert_same_but_for_rounding(one, expected)


def test_the_ensemble_of_lookalikes_draws_what_the_studio_draws(
    server: Server, studio: Studio, rng: np.random.Generator
) -> None:
    face = faces(studio, 11)
    controls = rng.uniform(-1, 1, (3, 10)).astype(np.float32)
    drawn = server.infer("lookalike_lookalikes", picture=np.repeat(face, 3, 0), control=controls)[
        "drawn"
    ]
    expected = studio.lookalikes(face[0], control=controls).faces
    np.testing.assert_array_equal(drawn, expected)


def test_the_ensembles_of_a_generator_draw_what_the_studio_draws(
    server: Server, studio: Studio
) -> None:
    two = faces(studio, 21, 22)
    codes = [studio.invert(face) for face in two]
    redrawn = server.infer("demo_redraw", face=two)
    assert_same_but_for_rounding(redrawn["picture"][1], studio.render(codes[1]).array)
    weight = layer_weights("4-7", studio.num_ws, 0.0)
    mixed = server.infer("demo_mix_faces", content=two[:1], style=two[1:], weight=weight)
    expected = studio.mix(codes[0], codes[1], layers="4-7").array
    np.testing.assert_array_equal(mixed["picture"][0], expected)
    z = np.random.RandomState(9).randn(1, studio.z_dim).astype(np.float32)
    psi = np.full(studio.num_ws, 0.7, np.float32)
    sampled = server.infer("demo_sample", z=z, psi=psi)["picture"][0]
    np.testing.assert_array_equal(sampled, studio.render(studio.sample(9)).array)


def test_a_film_holds_its_style_for_the_whole_sequence(
    server: Server, studio: Studio, rng: np.random.Generator
) -> None:
    styles = [rng.integers(0, 256, size, np.uint8) for size in ((24, 40, 3), (48, 32, 3))]
    frames = rng.integers(0, 256, (3, 32, 48, 3), np.uint8)
    alpha = np.array([1], np.float32)
    films = [server.sequence("adain_film") for _ in styles]
    for i, frame in enumerate(frames):  # both sequences in turns
        for film, style in zip(films, styles, strict=True):
            given = {"style": style[None]} if i == 0 else {}
            drawn = film.infer(picture=frame[None], alpha=alpha, **given)["drawn"][0]
            expected = studio.stylize(frame, style, match_colour=0).array
            assert_same_but_for_rounding(drawn, expected)
    films[0]._first = True  # a new sequence in the same place takes its own style
    drawn = films[0].infer(picture=frames[:1], alpha=alpha, style=styles[1][None])["drawn"][0]
    expected = studio.stylize(frames[0], styles[1], match_colour=0).array
    assert_same_but_for_rounding(drawn, expected)


def test_a_film_that_begins_without_a_style_is_an_error_not_a_picture(
    server: Server, rng: np.random.Generator
) -> None:
    frame = rng.integers(0, 256, (1, 32, 48, 3), np.uint8)
    with pytest.raises(Exception, match="first"):
        server.sequence("adain_film").infer(picture=frame, alpha=np.ones(1, np.float32))


def test_the_first_graph_of_a_film_runs_once_a_sequence(server: Server) -> None:
    choice = [n for n in _nodes(server.repository / "adain_film/1/model.onnx") if n.op_type == "If"]
    assert len(choice) == 1
    branches = {attribute.name: attribute.g for attribute in choice[0].attribute}
    assert sum(n.op_type == "Conv" for n in branches["then_branch"].node) > 0
    assert {n.op_type for n in branches["else_branch"].node} == {"Identity"}


def _nodes(path: Path) -> Any:
    import onnx

    return onnx.load(path, load_external_data=False).graph.node


def test_weights_lie_once_on_the_disk_or_are_copied(repository: Path, tmp_path: Path) -> None:
    own = BUILT_IN / "lookalike" / "weights.safetensors"
    export_triton(Bundle.open(BUILT_IN / "lookalike"), tmp_path / "copies", copy=True)
    for folder, shared in ((repository, True), (tmp_path / "copies", False)):
        one, other = (
            folder / f"lookalike_{graph}/1" / own.name for graph in ("encode", "generate")
        )
        assert one.samefile(other) == shared
        assert not one.samefile(own)  # onnx would refuse the bundle's file for its links
        assert one.read_bytes() == other.read_bytes() == own.read_bytes()


def test_the_repository_needs_nothing_but_itself(repository: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(repository / "adain_style", moved / "adain_style")
    found = Server(moved).infer("adain_style", picture=np.zeros((2, 16, 16, 3), np.uint8))
    assert found["mean"].shape == (2, 64)


def test_plans_are_served_by_tensorrt(tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    plans.mkdir()
    (plans / "encode.plan").write_bytes(b"a plan")
    bundle = Bundle.open(BUILT_IN / "lookalike")
    written = export_triton(bundle, tmp_path / "models", backend="trt", plans=plans)
    assert written.left_out == ("generate",)
    config = Server(tmp_path / "models").configs["lookalike_encode"]
    assert (config.backend, config.default_model_filename) == ("tensorrt", "model.plan")
    place = tmp_path / "models" / "lookalike_encode" / "1"
    assert [path.name for path in place.iterdir()] == ["model.plan"]
    with pytest.raises(InputError, match=r"there is no .*generate\.plan"):
        export_triton(
            bundle, tmp_path / "more", backend="trt", plans=plans, graphs=["encode", "generate"]
        )
    with pytest.raises(InputError, match="TensorRT needs plans"):
        export_triton(bundle, tmp_path / "more", backend="trt")
    with pytest.raises(InputError, match="plans were given for ONNX Runtime"):
        export_triton(bundle, tmp_path / "more", plans=plans)
    assert not (tmp_path / "more").exists()


def test_wrong_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, folder = Bundle.open(BUILT_IN / "adain"), tmp_path / "models"
    with pytest.raises(ArchMismatch, match="no graph 'paint'"):
        export_triton(bundle, folder, graphs=["paint"])
    with pytest.raises(InputError, match="no name for a model's folder"):
        export_triton(bundle, folder, prefix="../up")
    with pytest.raises(InputError, match="backend 'tf'"):
        export_triton(bundle, folder, backend="tf")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependency, match="needs onnx"):
        export_triton(bundle, folder)
    assert not folder.exists()
    export_triton(bundle, folder, films=False)
    assert not (folder / "adain_film").exists()
    (folder / "adain_style" / "mine").touch()
    with pytest.raises(InputError, match="has adain_style already"):
        export_triton(bundle, folder, graphs=["style"])
    export_triton(bundle, folder, graphs=["style"], overwrite=True)
    assert not (folder / "adain_style" / "mine").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models"]


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export_triton(Bundle.open(BUILT_IN / "lookalike"), tmp_path / "file" / "models")


def test_how_models_are_served_can_be_said(tmp_path: Path) -> None:
    serving = Serving(max_batch=0, instances=2, device="cpu")
    export_triton(Bundle.open(BUILT_IN / "lookalike"), tmp_path / "models", serving=serving)
    config = Server(tmp_path / "models").configs["lookalike_encode"]
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1, 128, 128, 3]
    assert (config.instance_group[0].count, config.instance_group[0].kind) == (2, 2)


def test_the_command_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import typer\nfrom mien_export.triton.cli import command\n"
        "app = typer.Typer(); app.command()(command); app()"
    )
    folders = os.pathsep.join(str(ROOT / name) for name in ("sdk", "engines", "export"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(BUILT_IN / "adain"), "-o", str(tmp_path / "r"), "--json"],
        env=os.environ | {"PYTHONPATH": folders}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    kinds = {model["name"]: model["kind"] for model in record["models"]}
    assert kinds["adain_film"] == "film"
    assert kinds["adain_stylize_chain"] == "ensemble"
    assert kinds["adain_style"] == "onnxruntime"


class InProcess:
    """What the example's client talks to, in the place of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sequences: dict[int, Any] = {}

    def infer(self, name: str, inputs: Any, **sequence: Any) -> Answer:
        feeds = {
            one.name(): np.frombuffer(
                one._get_content(), {"UINT8": np.uint8, "FP32": np.float32}[one.datatype()]
            ).reshape(one.shape())
            for one in inputs
        }
        if not sequence:
            return Answer(self._server.infer(name, **feeds))
        number = sequence["sequence_id"]
        if sequence["sequence_start"]:
            self._sequences[number] = self._server.sequence(name)
        answer = Answer(self._sequences[number].infer(**feeds))
        if sequence["sequence_end"]:
            del self._sequences[number]
        return answer

    async_infer = infer


class Answer:
    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def as_numpy(self, name: str) -> Any:
        return self._found[name]

    def get_result(self) -> Answer:
        return self


def test_the_example_asks_as_the_configurations_say(
    server: Server, studio: Studio, rng: np.random.Generator
) -> None:
    place = ROOT / "examples" / "triton" / "client.py"
    spec = importlib.util.spec_from_file_location("client", place)
    assert spec is not None
    assert spec.loader is not None
    client = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(client)
    here, face = InProcess(server), faces(studio, 31)[0]
    drawn = client.lookalikes(here, face, 2)
    controls = np.random.default_rng(0).uniform(-1, 1, (2, 10)).astype(np.float32)
    expected = studio.lookalikes(face, control=controls).faces
    for one, other in zip(drawn, expected, strict=True):
        assert_same_but_for_rounding(one, other)
    frames = rng.integers(0, 256, (3, 32, 48, 3), np.uint8)
    style = rng.integers(0, 256, (24, 24, 3), np.uint8)
    shot = list(client.film(here, frames, style, 7))
    for one, frame in zip(shot, frames, strict=True):
        expected = studio.stylize(frame, style, match_colour=0).array
        assert_same_but_for_rounding(one, expected)
    assert not here._sequences


def test_a_precision_takes_the_forms_that_there_are(tmp_path: Path) -> None:
    bundle = Bundle.open(BUILT_IN / "lookalike", verify=False)
    own = bundle.spec.graphs["encode"]
    form = Form(file="encode.fp16.onnx", errors={})
    graphs = bundle.spec.graphs | {"encode": own.model_copy(update={"forms": {"fp16": form}})}
    shutil.copytree(bundle.folder, tmp_path / "bundle")
    shutil.copy(tmp_path / "bundle/encode.onnx", tmp_path / "bundle/encode.fp16.onnx")
    spec = bundle.spec.model_copy(update={"graphs": graphs})
    narrow = Bundle(tmp_path / "bundle", spec, "")
    written = export_triton(narrow, tmp_path / "models", precision="fp16")
    assert written.files == {"encode": "encode.fp16.onnx", "generate": "generate.onnx"}
    with pytest.raises(InputError, match="precision 'int8'"):
        export_triton(narrow, tmp_path / "more", precision="int8")  # type: ignore[arg-type]
