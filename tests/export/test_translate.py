"""Translation: the verb against the chain of its networks, styles, sheets, the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.export.examples import run_example
from tests.export.test_starganv2 import Networks, golden_checkpoint
from tests.export.tiny_starganv2 import DOMAINS, LATENT, STYLE
from tests.golden import load_golden, seeded

import mien_engines
from mien import Studio, provenance
from mien.cli.main import main
from mien.edits.translate import FaceStyle, blend, translated, way
from mien.errors import ArchMismatch, CorruptFile, InputError
from mien.faces.landmarks import Landmarks
from mien.faces.wing import COUNT, align_wing
from mien.images import load, save
from mien_engines import Bundle, Engine
from mien_export.export import export
from mien_export.triton.repository import export_triton

SIZE = {"skip": 64, "plain": 32}
KINDS = tuple(SIZE)


def faces(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Soft blobs: what a face's picture is like, more than noise."""
    blobs = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
    scaled = [Image.fromarray(x).resize((size, size), Image.Resampling.BICUBIC) for x in blobs]
    return np.stack([np.asarray(x) for x in scaled])


@pytest.fixture(scope="module")
def studios(star_bundles: dict[str, Bundle]) -> Iterator[dict[str, Studio]]:
    opened = {kind: Studio(star_bundles[kind].folder, backend="ort") for kind in KINDS}
    yield opened
    for studio in opened.values():
        studio.close()


@pytest.fixture(scope="module")
def engines(star_bundles: dict[str, Bundle]) -> Iterator[dict[str, Engine]]:
    opened = {kind: mien_engines.open(star_bundles[kind], "ort") for kind in KINDS}
    yield opened
    for engine in opened.values():
        engine.close()


def chain(engine: Engine, pictures: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Masks where there are some, then the generator: graph by graph."""
    masks = "heatmaps" in engine.bundle.spec.graphs
    kept = engine.run("heatmaps", picture=pictures) if masks else {}
    drawn: np.ndarray = engine.run("translate", picture=pictures, style=style, **kept)[
        "picture_next"
    ]
    return drawn


def near(a: Any, b: Any) -> None:
    """Equal but for rounding to a level."""
    np.testing.assert_array_less(np.abs(np.asarray(a).astype(int) - np.asarray(b)), 2)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_is_the_chain_of_its_parts(
    engines: dict[str, Engine], rng: np.random.Generator, kind: str, batch: int
) -> None:
    engine = engines[kind]
    a, b = faces(rng, batch, SIZE[kind]), faces(rng, batch, SIZE[kind])
    domain = rng.integers(0, DOMAINS, batch)
    style = engine.run("style_reference", picture=b, domain=domain)["style"]
    expected = chain(engine, a, style)
    found = engine.run("translate_reference", picture=a, reference=b, domain=domain)
    np.testing.assert_allclose(found["style"], style, rtol=0, atol=1e-4)
    near(found["picture_next"], expected)
    if kind == "skip":
        near(engine.run("translate_frame", picture=a, style=style)["picture_next"], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reference_and_its_style_give_one_picture(
    studios: dict[str, Studio], engines: dict[str, Engine], rng: np.random.Generator, kind: str
) -> None:
    studio, engine = studios[kind], engines[kind]
    a, b = faces(rng, 2, SIZE[kind])
    style = studio.face_style(reference=b, domain=2)
    own = engine.run("style_reference", picture=b[None], domain=np.array([2]))["style"]
    np.testing.assert_array_equal(style.code, own[0])
    wanted = chain(engine, a[None], own)[0]
    at_once = studio.translate(a, reference=b, domain=2)
    for found in (studio.translate(a, style), at_once):
        near(found, wanted)
        assert found.edits == ("translate to domain 2",)
        assert found.sources == tuple(map(provenance.digest, (a, b)))
    near(translated(engine, a, style), wanted)
    other = studio.translate(a, reference=b, domain=0).array.astype(int)
    assert np.abs(other - at_once.array).mean() > 0.5


def test_a_random_style_lies_between_the_mean_and_its_code(
    studios: dict[str, Studio], engines: dict[str, Engine]
) -> None:
    studio, engine = studios["plain"], engines["plain"]
    z = np.random.RandomState(7).randn(1, LATENT).astype(np.float32)
    code = engine.run("style_latent", z=z, domain=np.array([1]))["style"][0]
    mean = engine.bundle.constants["style_mean"][1]
    for psi in (0.0, 0.4, 1.0, 1.5):
        found = studio.face_style(domain=1, seed=7, psi=psi)
        np.testing.assert_allclose(found.code, mean + psi * (code - mean), rtol=0, atol=1e-5)
        assert found.sources == ()
    np.testing.assert_array_equal(studio.face_style(domain=1).code, mean)
    face = np.full((32, 32, 3), 90, np.uint8)
    near(
        studio.translate(face, domain=1, seed=7, psi=0.4),
        studio.translate(face, studio.face_style(domain=1, seed=7, psi=0.4)),
    )


def style(code: Any, what: str = "to 1", network: str = "n", *sources: str) -> FaceStyle:
    return FaceStyle(np.asarray(code, np.float32), what, sources, network)


def test_styles_are_blended_and_passed_through() -> None:
    a, b, c = style([0, 4], "to 0", "n", "x"), style([2, 0], "to 1", "n", "y"), style([3, 3])
    half = blend(a, b, 0.25)
    np.testing.assert_array_equal(half.code, [0.5, 3])
    assert (half.what, half.sources) == ("to 0, to 1", ("x", "y"))
    passed = way([a, b, c], 4)
    assert len(passed) == 9
    for i, end in ((0, a), (4, b), (8, c)):
        np.testing.assert_array_equal(passed[i].code, end.code)
    shares = [float(x.code[0]) / 2 for x in passed[:5]]
    assert shares == [0, 0.15625, 0.5, 0.84375, 1]  # 3 t^2 - 2 t^3
    with pytest.raises(ArchMismatch, match="two networks"):
        blend(a, style([0, 0], network="m"), 0.5)
    for styles, frames in (([a], 3), ([a, b], 0), ([a, b], 10_000)):
        with pytest.raises(InputError, match="frames were given"):
            way(styles, frames)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sheet_draws_every_face_in_every_style(
    studios: dict[str, Studio], rng: np.random.Generator, kind: str
) -> None:
    studio, size = studios[kind], SIZE[kind]
    sources, references = faces(rng, 3, size), faces(rng, 4, size)
    sheet = studio.translate_sheet(list(sources), list(references), domain=1)
    gap = max(1, size // 24)
    assert sheet.size == (4 * size + gap, 5 * size + gap)

    def cell(i: int, j: int) -> np.ndarray:
        y, x = (n * size + (gap if n else 0) for n in (i, j))
        return sheet.array[y : y + size, x : x + size]

    for i, reference in enumerate(references, 1):
        np.testing.assert_array_equal(cell(i, 0), reference)
        for j, source in enumerate(sources, 1):
            np.testing.assert_array_equal(cell(0, j), source)
            near(cell(i, j), studio.translate(source, reference=reference, domain=1))
    assert sheet.edits == ("translate to domain 1",)
    assert len(sheet.sources) == 7


def test_a_face_goes_from_style_to_style(
    studios: dict[str, Studio], rng: np.random.Generator
) -> None:
    studio, (face, one, two) = studios["skip"], faces(rng, 3, 64)
    styles = [studio.face_style(reference=x, domain=d) for d, x in enumerate((one, two))]
    found = studio.translate_between(face, styles, frames=5)
    assert found.frames.shape == (6, 64, 64, 3)
    for i, passed in enumerate(way(styles, 5)):
        near(found.frames[i], studio.translate(face, passed))
    assert found.edits == ("translate to domain 0", "translate to domain 1")
    assert found.sources == tuple(map(provenance.digest, (face, one, two)))


def altered(bundle: Bundle, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a bundle with another manifest."""
    shutil.copytree(bundle.folder, folder)
    manifest = folder / "bundle.json"
    record = json.loads(manifest.read_text())
    change(record)
    manifest.write_text(json.dumps(record))
    return folder


def without(*graphs: str) -> Callable[[dict[str, Any]], None]:
    return lambda record: [record["graphs"].pop(graph) for graph in graphs] and None


MASKING = ("heatmaps", "landmarks", "translate_frame", "translate_reference")


def test_a_network_that_needs_masks_says_that_there_is_no_fan(
    star_bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    folder = altered(star_bundles["skip"], tmp_path / "old", without(*MASKING))
    face = np.zeros((64, 64, 3), np.uint8)
    calls: list[Callable[[Studio], object]] = [
        lambda studio: studio.translate(face, domain=1),
        lambda studio: studio.translate(face, reference=face, domain=1),
        lambda studio: studio.translate_sheet([face], [face], domain=1),
    ]
    with Studio(folder, backend="ort") as studio:
        for call in calls:
            with pytest.raises(ArchMismatch, match="no FAN to draw its masks"):
                call(studio)


def test_fan_alone_translates_nothing(star_bundles: dict[str, Bundle], tmp_path: Path) -> None:
    gone = ("translate", "translate_frame", "translate_reference", "style_latent")
    folder = altered(star_bundles["skip"], tmp_path / "fan", without(*gone))
    with (
        Studio(folder, backend="ort") as studio,
        pytest.raises(ArchMismatch, match="FAN alone"),
    ):
        studio.translate(np.zeros((64, 64, 3), np.uint8), domain=1)


def test_domains_have_names_where_the_bundle_says_them(
    star_bundles: dict[str, Bundle], studios: dict[str, Studio], tmp_path: Path
) -> None:
    names = ["cat", "dog", "wild"]
    folder = altered(
        star_bundles["plain"],
        tmp_path / "named",
        lambda record: record["properties"].update(domain_names=names),
    )
    face = np.full((32, 32, 3), 70, np.uint8)
    with Studio(folder, backend="ort") as studio:
        found = studio.translate(face, domain="dog")
        np.testing.assert_array_equal(found.array, studio.translate(face, domain=1).array)
        assert found.edits == ("translate to dog",)
        with pytest.raises(InputError, match="no domain 'fox'") as error:
            studio.translate(face, domain="fox")
        assert "cat, dog, wild" in str(error.value.hint)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "no domain was given"),
        ({"domain": 3}, "there is no domain 3"),
        ({"domain": -1}, "there is no domain -1"),
        ({"domain": "male"}, "there is no domain 'male'"),
        ({"domain": 1, "psi": float("nan")}, "psi is nan"),
        ({"domain": 1, "reference": np.zeros((9, 8, 3), np.uint8)}, "the reference is 8 x 9 px"),
        ({"domain": 1, "seed": 4, "reference": np.zeros((8, 8, 3), np.uint8)}, "of random styles"),
        ({"domain": 1, "psi": 0.5, "reference": np.zeros((8, 8, 3), np.uint8)}, "of random"),
        ({"domain": 1, "psi": 0.5}, "psi was given without a seed"),
        ({"domain": 1, "seed": 2, "psi": float("inf")}, "psi is inf"),
        ({"domain": 1, "seed": -1}, "seed is -1, expected 0 to 4294967295"),
        ({"domain": 1, "seed": 2**32}, "seed is 4294967296"),
        ({"style": style(np.zeros(STYLE)), "psi": 0.5}, "and what to make one of"),
        ({"style": style(np.zeros(STYLE)), "domain": 1}, "and what to make one of"),
        ({"face": np.zeros((5, 6, 3), np.uint8), "domain": 0}, "the face is 6 x 5 px"),
    ],
)
def test_what_cannot_be_translated_is_said(
    studios: dict[str, Studio], given: dict[str, Any], match: str
) -> None:
    face = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(InputError, match=match):
        studios["plain"].translate(**({"face": face} | given))


def test_a_style_of_another_network_is_refused(studios: dict[str, Studio]) -> None:
    found, face = studios["skip"].face_style(domain=0), np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ArchMismatch, match="of another network than bundle"):
        studios["plain"].translate(face, found)
    with pytest.raises(ArchMismatch, match="of another network than bundle"):
        studios["plain"].translate_between(face, [found, found])
    for pictures, references, name in (([], [face], "face"), ([face], [], "reference")):
        with pytest.raises(InputError, match=f"no {name} was given"):
            studios["plain"].translate_sheet(pictures, references, domain=0)


def test_without_a_bundle_the_error_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.networks.BUILT_IN", tmp_path)
    with Studio() as studio, pytest.raises(ArchMismatch, match="mien export starganv2"):
        studio.translate(np.zeros((8, 8, 3), np.uint8), domain=0)


def photograph(rng: np.random.Generator) -> np.ndarray:
    return faces(rng, 1, 300)[0]


def five() -> Landmarks:
    return Landmarks(np.array([[120.0, 140], [180, 140], [150, 175], [125, 205], [175, 205]]))


def test_fan_places_the_face_anew(
    studios: dict[str, Studio], engines: dict[str, Engine], rng: np.random.Generator, tmp_path: Path
) -> None:
    photo, landmarks = photograph(rng), five()
    first = studios["plain"].align_for_translation(photo, landmarks=landmarks)
    wanted = studios["plain"].align(photo, landmarks=landmarks, size=32)
    np.testing.assert_array_equal(first.image, wanted.image)  # there is no FAN
    first = studios["skip"].align(photo, landmarks=landmarks, size=64)
    points = engines["skip"].run("landmarks", picture=first.image[None])["landmarks"][0]
    homogeneous = np.concatenate([points, np.ones((COUNT, 1))], 1)
    placed = (homogeneous @ first.to_photo.T)[:, :2]
    found = studios["skip"].align_for_translation(photo, landmarks=landmarks)
    expected = align_wing(photo, placed, size=64)
    np.testing.assert_allclose(found.quad, expected.quad, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(found.image, expected.image)
    np.savez(tmp_path / "mean.npz", mean=points * 4)
    own = studios["skip"].align_for_translation(
        photo, landmarks=landmarks, mean=tmp_path / "mean.npz"
    )
    # The face is its own mean face: it stays where it was, but for what `align` rounds.
    np.testing.assert_allclose(own.quad, first.quad, rtol=0, atol=1.0)


def test_a_mean_face_is_refused_where_it_is_of_no_use(
    studios: dict[str, Studio], rng: np.random.Generator, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no FAN to lay a face"):
        studios["plain"].align_for_translation(
            photograph(rng), landmarks=five(), mean=tmp_path / "x.npz"
        )
    with pytest.raises(CorruptFile, match=r"x\.npz holds no mean face"):
        studios["skip"].align_for_translation(
            photograph(rng), landmarks=five(), mean=tmp_path / "x.npz"
        )


@pytest.fixture
def files(rng: np.random.Generator, tmp_path: Path) -> list[str]:
    return [str(save(x, tmp_path / f"{i}.png")) for i, x in enumerate(faces(rng, 3, 32))]


def test_the_command_line_translates(
    studios: dict[str, Studio],
    star_bundles: dict[str, Bundle],
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    studio, pictures = studios["plain"], [load(file) for file in files]
    common = ["--aligned", "--bundle", str(star_bundles["plain"].folder), "--backend", "ort"]
    output = tmp_path / "out.png"

    def run(*arguments: str) -> dict[str, Any]:
        assert main(["translate", *arguments, *common, "--json"]) == 0
        record: dict[str, Any] = json.loads(capsys.readouterr().out)
        return record

    said = run(files[0], "--reference", files[1], "--domain", "2", "-o", str(output))
    wanted = studio.translate(pictures[0], reference=pictures[1], domain=2)
    np.testing.assert_array_equal(load(output), wanted.array)
    assert said["edits"] == list(wanted.edits)
    stated = provenance.read(output)
    assert stated is not None
    assert stated.sources == wanted.sources
    run(files[0], "--domain", "1", "--seed", "3", "--psi", "0.5", "-o", str(output))
    wanted = studio.translate(pictures[0], domain=1, seed=3, psi=0.5)
    np.testing.assert_array_equal(load(output), wanted.array)
    run(*files[:2], "--reference", files[2], "--domain", "0", "-o", str(output))
    wanted = studio.translate_sheet(pictures[:2], pictures[2:], domain=0)
    np.testing.assert_array_equal(load(output), wanted.array)
    both = ["--reference", files[1], "--reference", files[2], "--domain", "0", "--animate"]
    run(files[0], *both, "--frames", "3", "-o", str(tmp_path / "way.gif"))
    with Image.open(tmp_path / "way.gif") as animation:
        assert getattr(animation, "n_frames", 0) == 4


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["0.png", "-o", "out.npy"], "out.npy is not named as a picture"),
        (["0.png", "-o", "out.png", "--animate"], "out.png: animations are not written"),
        (["0.png", "-o", "o.png"], "no domain was given"),
        (["0.png", "1.png", "-o", "o.gif", "--animate", "--domain", "1"], "Name one face"),
        (["0.png", "-o", "o.gif", "--animate", "--domain", "1"], "0 styles"),
        (["0.png", "1.png", "-o", "o.png", "--domain", "1"], "no reference was given"),
        (["0.png", "1.png", "-o", "o.png", "--domain", "1", "--seed", "3"], "are of one face"),
    ],
)
def test_the_command_line_refuses_in_one_line(
    star_bundles: dict[str, Bundle],
    files: list[str],
    arguments: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["--aligned", "--bundle", str(star_bundles["plain"].folder), "--backend", "ort"]
    assert main(["translate", *arguments, *common]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert len(list(tmp_path.iterdir())) == len(files)


@pytest.mark.slow
def test_the_official_networks_are_drawn_with(tmp_path: Path) -> None:
    torch.save(golden_checkpoint("starganv2-128"), tmp_path / "nets_ema.ckpt")
    export("starganv2", tmp_path / "nets_ema.ckpt", tmp_path / "bundle")
    _, golden = load_golden("starganv2-128")
    image = seeded.draw("starganv2-128/x", (2, 3, 128, 128)).clip(-1, 1)
    picture = np.rint(image * 127.5 + 127.5).astype(np.uint8).transpose(0, 2, 3, 1).copy()
    z, domain = seeded.draw("starganv2-128/z", (2, 16)), np.array([0, 1])
    exact = torch.from_numpy(picture).permute(0, 3, 1, 2) / 127.5 - 1
    networks = Networks(tmp_path / "nets_ema.ckpt")
    with torch.no_grad():
        _, _, _, expected = networks(exact, exact, torch.from_numpy(z), torch.from_numpy(domain))
    levels = expected.clip(-1, 1).permute(0, 2, 3, 1).numpy() * 127.5 + 127.5
    with mien_engines.open(tmp_path / "bundle", "ort") as engine:
        styles = engine.run("style_latent", z=z, domain=domain)["style"]
        limit = 1e-4 * float(np.ptp(golden["style_latent"]))
        np.testing.assert_allclose(styles, golden["style_latent"], rtol=0, atol=limit)
        network = engine.bundle.spec.source.sha256
        for i, code in enumerate(styles):
            found = translated(engine, picture[i], FaceStyle(code, "to 0", (), network))
            np.testing.assert_allclose(found, levels[i], rtol=0, atol=0.6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_runs(
    star_bundles: dict[str, Bundle], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = run_example("12_translate", [star_bundles[kind].folder], tmp_path, monkeypatch)
    assert len(written) == 6
    assert "between.gif" in written


@pytest.mark.parametrize("kind", KINDS)
def test_triton_translates_as_the_studio_does_in_a_chain_and_in_a_film(
    star_bundles: dict[str, Bundle],
    studios: dict[str, Studio],
    tmp_path: Path,
    rng: np.random.Generator,
    kind: str,
) -> None:
    pytest.importorskip("tritonclient.grpc", reason="tritonclient, whose protobuf judges")
    from tests.triton.server import Server, wiring_faults

    export_triton(star_bundles[kind], tmp_path / "models", prefix="star")
    server = Server(tmp_path / "models")
    assert not wiring_faults(server.configs, "star_translate_chain")
    pictures, domain = faces(rng, 3, SIZE[kind]), DOMAINS - 1
    reference, number = {"reference": pictures[:1]}, np.array([domain])
    film = server.sequence("star_film")
    for i, picture in enumerate(pictures[1:]):
        expected = studios[kind].translate(picture, reference=pictures[0], domain=domain)
        chained = server.infer(
            "star_translate_chain", picture=picture[None], domain=number[None], **reference
        )
        shot = film.infer(picture=picture[None], domain=number, **({} if i else reference))
        for drawn in (chained, shot):
            differs = np.abs(drawn["picture_next"][0].astype(int) - expected.array)
            # A pixel of a mask is on or off, and rounding may switch it.
            assert np.quantile(differs, 0.99) <= 1
    with pytest.raises(Exception, match="first"):  # a sequence that brings no reference
        server.sequence("star_film").infer(picture=pictures[:1], domain=number)
