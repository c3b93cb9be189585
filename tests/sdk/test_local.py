"""Local edits: masks against the published ones, clusters, contributions, parts, files, verbs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.golden import load_golden, seeded

from mien import Catalogue, LocalEdit, load_catalogue, locality_map, provenance
from mien.bundles import BUILT_IN
from mien.cli.main import main
from mien.edits.catalogue import HEADER
from mien.edits.clusters import contributions, labels_of, plane_normalised
from mien.edits.kmeans import nearest, normalised, spherical_kmeans
from mien.edits.latents import save_code
from mien.edits.local import channel_mask, interpolated, part_mask
from mien.edits.locality import cielab, squared_error
from mien.edits.parts import FEATURES, PARTS, overlap, proposed, regions
from mien.errors import ArchMismatch, CorruptFile, InputError
from mien.images import load
from mien.studio import Studio

needs_demo = pytest.mark.skipif(
    not (BUILT_IN / "demo").exists(), reason="the demo bundle is not built"
)
GOLDEN = "local-edit-masks"


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with Studio("demo", backend="ort") as opened:
        yield opened


@pytest.fixture
def small(rng: np.random.Generator) -> Catalogue:
    """Five layers of 8, 8, 6, 4 and 4 channels, six clusters, three parts."""
    m = rng.uniform(0, 1, (6, 30))
    return Catalogue(
        contributions=(m / m.sum(0)).astype(np.float16),
        channels=(8, 8, 6, 4, 4),
        centres=normalised(rng.standard_normal((6, 4)).astype(np.float32)),
        layer=3,
        parts={"eyes": (0, 4), "nose": (2,), "mouth": (1,)},
        generator="tiny",
        generator_sha256="ab" * 32,
        samples=3,
        seed=1,
        licence="CC0-1.0",
        note="two\nlines, ünïcode",
    )


def test_masks_are_the_published_ones() -> None:
    spec, outputs = load_golden(GOLDEN)
    config = spec["config"]
    scale = np.float32([[0.5], [0.3], [0.9]])
    for layer, channels in enumerate(config["channels"]):
        drawn = seeded.draw(f"{GOLDEN}/M{layer}", (3, channels))
        rows = np.clip(np.abs(drawn), 0, 1) * scale
        for m, label in zip(rows, config["labels"], strict=True):
            found = channel_mask(m, rho=config["rho"], epsilon=config["epsilon"][label])
            wanted = outputs[f"q_{layer}_{label}"] > 0
            # The clip makes equal contributions, whose order the published sort leaves open: where
            # the limit falls among equals, as many of them are taken, and else the same channels.
            assert found.sum() == wanted.sum(), (layer, label)
            different = found != wanted
            assert len(np.unique(m[different])) <= 1, (layer, label)
            assert not different[m < m.max()].any()


def test_a_mask_follows_its_definition(rng: np.random.Generator) -> None:
    for channels in (1, 7, 200):
        m = rng.uniform(0, 0.6, channels).astype(np.float32)
        for rho, epsilon in ((0.1, 5.0), (0.0, 0.5), (0.3, 1e9), (0.1, 0.0)):
            wanted, spent = set(), 0.0
            for channel in sorted(range(channels), key=lambda c: -float(m[c])):
                spent += float(np.float32(1) - m[channel])
                if spent < epsilon and m[channel] > np.float32(rho):
                    wanted.add(channel)
            found = channel_mask(m, rho=rho, epsilon=epsilon)
            assert set(np.flatnonzero(found).tolist()) == wanted


def test_a_part_is_the_sum_of_its_clusters(small: Catalogue) -> None:
    rows = small.contributions.astype(np.float32)
    found = small.part("eyes")
    assert [len(m) for m in found] == [8, 8, 6, 4, 4]
    np.testing.assert_allclose(np.concatenate(found), rows[0] + rows[4], rtol=1e-6)


def test_limits_are_the_published_ones_unless_given(small: Catalogue) -> None:
    layers = small.part("nose")
    each = [*[5.0] * 4, 30.0]
    wanted = [channel_mask(m, rho=0.1, epsilon=e) for m, e in zip(layers, each, strict=True)]
    np.testing.assert_array_equal(part_mask(small, "nose"), np.concatenate(wanted))
    np.testing.assert_array_equal(
        part_mask(small, "eyes", epsilon=2.0), part_mask(small, "eyes", epsilon=[2.0] * 5)
    )
    assert not part_mask(small, "eyes", epsilon=0).any()
    assert part_mask(small, "eyes", rho=0, epsilon=1e9).all()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"part": "chin"}, "no part 'chin'.*eyes, nose, mouth"),
        ({"rho": 1.5}, "rho is 1.5, expected 0 to 1"),
        ({"rho": float("nan")}, "rho is nan"),
        ({"epsilon": -1.0}, "epsilon is -1.0"),
        ({"epsilon": [1.0, 2.0]}, "5 of them"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
    ],
)
def test_values_out_of_range_are_refused(
    small: Catalogue, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        part_mask(small, **({"part": "eyes"} | changes))


@pytest.mark.parametrize("leading", [(), (2,)])
def test_styles_change_in_the_mask_alone(
    rng: np.random.Generator, leading: tuple[int, ...]
) -> None:
    a, b = rng.standard_normal((2, *leading, 9)).astype(np.float32)
    mask = np.array([True, False, False, True, True, False])  # of six; three colour the picture
    q = np.zeros(9, np.float32)
    q[:6] = mask
    found = interpolated(a, b, mask)
    wanted = (1 - q) * a + q * b  # the published formula
    if leading:
        np.testing.assert_array_equal(interpolated(a, b, mask, shift=True), wanted)
        wanted[1] = a[1]
    else:
        with pytest.raises(InputError, match="do not shift"):
            interpolated(a, b, mask, shift=True)
    np.testing.assert_array_equal(found, wanted)


def blobs(rng: np.random.Generator, count: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of any length round known directions, and whose each is."""
    directions = np.linalg.qr(rng.standard_normal((12, count)))[0].T
    rows = np.repeat(directions, each, 0) + 0.1 * rng.standard_normal((count * each, 12))
    rows *= rng.uniform(0.1, 30, (len(rows), 1))
    return rows.astype(np.float32), np.repeat(np.arange(count), each)


def test_known_directions_are_found_whatever_the_lengths(rng: np.random.Generator) -> None:
    rows, owner = blobs(rng, 7, 300)
    centres = spherical_kmeans(rows, 7, seed=3)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-5)
    labels = nearest(normalised(rows), centres)
    for k in range(7):
        assert len(np.unique(labels[owner == k])) == 1
    assert len(np.unique(labels)) == 7
    mean = normalised(np.stack([normalised(rows)[labels == k].mean(0) for k in range(7)]))
    assert (centres * mean).sum(1).min() > 0.999


def test_mini_batches_come_near_lloyds_algorithm(rng: np.random.Generator) -> None:
    rows = normalised(rng.standard_normal((4000, 5)).astype(np.float32))
    found = (rows @ spherical_kmeans(rows, 9, seed=0).T).max(1).mean()
    centres = rows[:9]
    for _ in range(60):
        labels = nearest(rows, centres)
        centres = normalised(np.stack([rows[labels == k].mean(0) for k in range(9)]))
    assert found > 0.98 * (rows @ centres.T).max(1).mean()


def test_clusters_depend_on_the_seed_alone(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((500, 6)).astype(np.float32)
    first, again, other = (spherical_kmeans(rows, 5, seed=seed) for seed in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_rows_that_cannot_be_clustered_are_refused() -> None:
    rows = np.ones((3, 2), np.float32)
    for count in (0, 4):
        with pytest.raises(InputError, match=f"{count} clusters of 3 rows"):
            spherical_kmeans(rows, count, seed=0)
    rows[1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        spherical_kmeans(rows, 2, seed=0)
    assert np.isfinite(spherical_kmeans(np.zeros((5, 2), np.float32), 3, seed=0)).all()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 6), (1, 2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_contributions_are_the_papers_sum(
    rng: np.random.Generator, batch: int, height: int, width: int
) -> None:
    features = rng.standard_normal((batch, 5, height, width)).astype(np.float32) * 3 + 1
    labels = rng.integers(0, 4, (batch, 4, 4))
    found = contributions(features, labels, 4)
    total = np.zeros((4, 5))
    for n in range(batch):
        for c in range(5):
            plane = features[n, c].astype(np.float64)
            a = (plane - plane.mean()) / np.sqrt(plane.var() + 1e-5)
            for y in range(height):
                for x in range(width):
                    total[labels[n, y * 4 // height, x * 4 // width], c] += a[y, x] ** 2
    np.testing.assert_allclose(found, total / (batch * height * width), rtol=1e-4, atol=1e-6)
    # Over all clusters a channel adds its variance, which is 1 but for the epsilon.
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-2)


def test_a_plane_without_variance_adds_nothing() -> None:
    assert (plane_normalised(np.full((2, 3, 4, 4), 7, np.float32)) == 0).all()


@pytest.fixture
def marks() -> np.ndarray:
    """68 points of a face in a picture of 128 px."""
    points = np.zeros((68, 2))
    angle = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([64 - 30 * np.cos(angle), 60 + 42 * np.sin(angle)], 1)
    for first, x in ((17, 40), (22, 72)):
        points[first : first + 5] = [(x + 4 * i, 48) for i in range(5)]
    points[27:31] = [(64, 55 + 6 * i) for i in range(4)]
    points[31:36] = [(58 + 3 * i, 76) for i in range(5)]
    for first, x in ((36, 48), (42, 80)):
        ring = np.linspace(0, 2 * np.pi, 7)[:6]
        points[first : first + 6] = np.stack([x + 6 * np.cos(ring), 58 + 3 * np.sin(ring)], 1)
    ring = np.linspace(0, 2 * np.pi, 21)[:20]
    points[48:] = np.stack([64 + 12 * np.cos(ring), 88 + 5 * np.sin(ring)], 1)
    return points


def test_parts_lie_round_their_landmarks(marks: np.ndarray) -> None:
    for size in (128, 64):
        found = regions((marks + 0.5) * size / 128 - 0.5, size)
        assert found.shape == (size, size)

        def at(x: float, y: float, found: np.ndarray = found, size: int = size) -> str:
            return PARTS[found[int(y * size / 128), int(x * size / 128)]]

        assert at(48, 58) == at(80, 58) == "eyes"
        assert at(48, 48) == "brows"
        assert at(64, 70) == "nose"
        assert at(64, 88) == "mouth"
        assert at(42, 76) == at(64, 40) == "skin"
        assert at(64, 12) == "hair"
        assert at(3, 3) == at(124, 64) == "background"


def test_five_points_name_no_parts() -> None:
    with pytest.raises(InputError, match="68 landmarks, not 5"):
        regions(np.zeros((5, 2)), 32)


def test_a_cluster_is_of_the_part_that_most_of_it_lies_in(rng: np.random.Generator) -> None:
    places = rng.integers(0, len(PARTS), (2, 40, 40)).astype(np.uint8)
    noisy = rng.uniform(size=places.shape) < 0.1
    labels = np.where(noisy, rng.integers(0, len(PARTS), places.shape), places).astype(np.int64)
    together = overlap(labels, places, len(PARTS) + 1)
    assert together.sum() == places.size
    assert proposed(together[:-1]) == {part: (i,) for i, part in enumerate(PARTS)}
    # One that no cluster is mostly of takes the one that has most of it.
    starved = np.zeros((5, len(PARTS)))
    starved[:, PARTS.index("skin")] = 90
    starved[3, PARTS.index("eyes")] = 10
    starved[[0, 1, 2], [1, 2, 3]] = 200
    assert proposed(starved)["eyes"] == (3,)
    assert set(FEATURES) <= set(proposed(starved))


def test_cielab_is_that_of_the_standard(rng: np.random.Generator) -> None:
    named = {
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),  # published values for D65
        (0, 0, 255): (32.30, 79.19, -107.86),
    }
    for rgb, lab in named.items():
        np.testing.assert_allclose(cielab(np.array([[rgb]], np.uint8))[0, 0], lab, atol=0.06)
    picture = rng.integers(0, 256, (9, 7, 3), np.uint8)
    other = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    np.testing.assert_allclose(cielab(picture), other, atol=0.3)  # OpenCV interpolates a table


def test_a_locality_map_is_white_where_most_changed(rng: np.random.Generator) -> None:
    before = rng.integers(0, 200, (6, 5, 3), np.uint8)
    after = before.copy()
    after[2, 3] += 50
    after[4, 1] += 3
    found = locality_map(before, after).array
    assert found[2, 3].tolist() == [255] * 3
    assert (found[4, 1] < 30).all()
    changed = np.argwhere(squared_error(before, after) > 0)
    assert changed.tolist() == [[2, 3], [4, 1]]
    assert not locality_map(before, before).array.any()
    with pytest.raises(InputError, match="5 x 6 and 4 x 6 px"):
        locality_map(before, before[:, :4])


def test_a_catalogue_comes_back_as_it_was_saved(small: Catalogue, tmp_path: Path) -> None:
    again = load_catalogue(small.save(tmp_path / "c.safetensors"))
    assert again.record() == small.record()
    np.testing.assert_array_equal(again.contributions, small.contributions)
    np.testing.assert_array_equal(again.centres, small.centres)
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
    with pytest.raises(InputError, match="not named as a catalogue"):
        small.save(tmp_path / "c.npz")
    with pytest.raises(InputError, match="cannot be written"):
        small.save(tmp_path / "none" / "c.safetensors")


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"eyes": (0, 9)}, "cluster 9, and there are 6"),
        ({"eyes": (0,), "nose": (0,)}, "cluster 0 is of two parts"),
        ({"eyes": ()}, "'eyes' has no clusters"),
        ({"a\nb": (1,)}, "no name"),
    ],
)
def test_names_must_fit_the_clusters(
    small: Catalogue, parts: dict[str, tuple[int, ...]], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        small.named(parts)


def test_numbers_that_are_no_catalogue_are_refused(small: Catalogue) -> None:
    for changes in (
        {"channels": (8, 8)},
        {"layer": 5},
        {"contributions": small.contributions * np.float16(np.nan)},
        {"contributions": -small.contributions},
    ):
        with pytest.raises(InputError):
            replace(small, **changes)  # type: ignore[arg-type]


def another_version(record: dict[str, Any]) -> None:
    record["version"] = 2


def no_parts(record: dict[str, Any]) -> None:
    del record["parts"]


def parts_of_nothing(record: dict[str, Any]) -> None:
    record["parts"] = ["eyes"]


def another_width(record: dict[str, Any]) -> None:
    record["channels"][0] = 9


@pytest.mark.parametrize("change", [another_version, no_parts, parts_of_nothing, another_width])
def test_a_damaged_file_is_one_error(
    small: Catalogue, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    record = {"version": 1, **small.record()}
    change(record)
    path = tmp_path / "c.safetensors"
    tensors = {"contributions": small.contributions, "centres": small.centres}
    save_file(tensors, path, {HEADER: json.dumps(record)})
    with pytest.raises(CorruptFile, match="is not a catalogue"):
        load_catalogue(path)
    save_file(tensors, path)
    with pytest.raises(CorruptFile, match="is not a catalogue"):
        load_catalogue(path)
    with pytest.raises(CorruptFile):
        load_catalogue(tmp_path / "none.safetensors")


@needs_demo
def test_the_demos_catalogue_is_of_the_demo(studio: Studio) -> None:
    found = load_catalogue("demo")
    found.check(studio.engine.bundle)
    assert list(found.parts) == list(PARTS)
    total = found.contributions.astype(np.float64).sum(0)
    np.testing.assert_allclose(total[total > 0.5], 1, atol=0.02)
    labels = labels_of(studio.engine, studio.sample(3)[None], found)
    assert labels.shape == (1, 64, 64)


@needs_demo
@pytest.mark.parametrize("part", FEATURES)
def test_an_edit_changes_its_part_most(studio: Studio, part: str) -> None:
    """Faces that the catalogue was not made of, against the plain mix of the same layers."""
    catalogue = load_catalogue("demo")
    ratios = {"edit": [0.0, 0.0], "mix": [0.0, 0.0]}
    for seed in range(7000, 7012, 2):
        face, other = studio.sample(seed), studio.sample(seed + 1)
        before = studio.render(face)
        labels = labels_of(studio.engine, face[None], catalogue)[0]
        inside = np.isin(labels, catalogue.parts[part]).repeat(2, 0).repeat(2, 1)
        for name, after in (
            ("edit", studio.edit(face, other, part=part).picture),
            ("mix", studio.mix(face, other, layers=range(11))),
        ):
            error = squared_error(before, after)
            ratios[name][0] += error[inside].mean()
            ratios[name][1] += error[~inside].mean()
    edit, mix = (a / b for a, b in ratios.values())
    assert edit > 1.5
    assert edit > 3 * mix


@needs_demo
def test_all_parts_at_once_are_one_after_another(studio: Studio) -> None:
    face, *others = (studio.sample(seed) for seed in range(5))
    references = dict(zip(("nose", "eyes", "mouth", "skin"), others, strict=True))
    edited: LocalEdit | np.ndarray = face
    for part, other in references.items():
        edited = studio.edit(edited, other, part=part)
    whole = studio.edit_parts(face, references)
    assert isinstance(edited, LocalEdit)
    np.testing.assert_array_equal(whole.styles, edited.styles)
    np.testing.assert_array_equal(whole.picture.array, edited.picture.array)
    assert whole.picture.edits == tuple(f"edit {part}" for part in references)
    assert whole.picture.edits == edited.picture.edits
    wanted = [provenance.digest(code[None]) for code in (face, *others)]
    assert whole.picture.sources == edited.picture.sources == tuple(wanted)
    # With one reference for all, it is one edit by the union of the masks.
    masks = [part_mask(load_catalogue("demo"), part) for part in references]
    same = studio.edit_parts(face, dict.fromkeys(references, others[0]))
    own, other = studio.engine.run("styles", ws=np.stack([face, others[0]]))["styles"]
    union = interpolated(own, other, np.logical_or.reduce(masks))
    np.testing.assert_array_equal(same.styles, union)


@needs_demo
def test_a_face_that_gives_itself_stays(studio: Studio) -> None:
    face = studio.sample(4)
    same = studio.edit(face, face, part="eyes").picture.array.astype(int)
    assert np.abs(same - studio.render(face).array).max() <= 1


@needs_demo
def test_what_cannot_be_edited_is_said(studio: Studio, small: Catalogue) -> None:
    face = studio.sample(1)
    with pytest.raises(ArchMismatch, match="catalogue is of generator tiny"):
        studio.edit(face, face, part="eyes", catalogue=small)
    with pytest.raises(ArchMismatch, match="catalogue is of generator tiny"):
        studio.show_catalogue(small)
    with pytest.raises(InputError, match="no reference was given"):
        studio.edit_parts(face, {})
    with pytest.raises(InputError, match="no part 'chin'"):
        studio.edit(face, face, part="chin")
    with pytest.raises(InputError, match="this generator's have"):
        studio.edit(face, face[:5], part="eyes")
    with pytest.raises(InputError, match="do not shift"):
        studio.edit(face, face, part="eyes", shift=True)
    edited = replace(studio.edit(face, face, part="eyes"), network="0" * 64)
    with pytest.raises(ArchMismatch, match="edited face is of another generator"):
        studio.edit(edited, face, part="eyes")


@needs_demo
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"samples": 0}, "0 samples, expected 1"),
        ({"clusters": 0}, "0 clusters, expected 1"),
        ({"clusters": 300}, "300 clusters"),
        ({"layer": "256px"}, "256 px do not exist"),
        ({"layer": 40}, "layer 40 does not exist"),
        ({"parts": {"eyes": [9]}}, "cluster 9, and there are 5"),
    ],
)
def test_a_catalogue_that_cannot_be_made_is_said(
    studio: Studio, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        studio.make_catalogue(**({"samples": 1, "clusters": 5} | changes))


@needs_demo
def test_the_command_line_makes_names_and_uses_a_catalogue(
    studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    look, common = tmp_path / "look.png", ["--backend", "ort", "--json"]
    few = ["--samples", "3", "--clusters", "6", "--layer", "16px", "--seed", "5"]
    assert main(["catalogue", "-o", str(first), *few, *common, "--look", str(look)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["samples"] == 3
    assert set(FEATURES) <= set(said["parts"])
    assert load(look).shape == (3 * 384, 3 * 384, 3)
    made = studio.make_catalogue(samples=3, clusters=6, layer="16px", seed=5)
    np.testing.assert_array_equal(load_catalogue(first).contributions, made.contributions)

    renamed = ["--of", str(first), "--part", "left=0,2", "--part", "right=1", "--licence", "mine"]
    assert main(["catalogue", "-o", str(second), *renamed, *common]) == 0
    capsys.readouterr()
    found = load_catalogue(second)
    assert (dict(found.parts), found.licence) == ({"left": (0, 2), "right": (1,)}, "mine")

    codes = [studio.sample(seed) for seed in (1, 2, 3)]
    files = [str(save_code(code, tmp_path / f"{i}.npy")) for i, code in enumerate(codes)]
    output, where = tmp_path / "o.png", tmp_path / "w.png"
    parts = ["--part", "left", "--from", files[1], "--part", "right", "--from", files[2]]
    how = ["--catalogue", str(second), "--rho", "0.05", "--epsilon", "20", "--map", str(where)]
    assert main(["edit", files[0], *parts, "-o", str(output), *how, *common]) == 0
    wanted = studio.edit_parts(
        codes[0], {"left": codes[1], "right": codes[2]}, rho=0.05, epsilon=20, catalogue=found
    ).picture
    np.testing.assert_array_equal(load(output), wanted.array)
    stated = provenance.read(output)
    assert stated is not None
    assert (stated.edits, stated.sources) == (wanted.edits, wanted.sources)
    seen = locality_map(studio.render(codes[0]), wanted).array
    np.testing.assert_array_equal(load(where), seen)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["edit", "a.npy", "--part", "eyes", "--from", "b.npy", "-o", "o.txt"], "not named as a"),
        (
            ["edit", "a.npy", "--part", "eyes", "--part", "nose", "--from", "b.npy", "-o", "o.png"],
            "2 parts and 1 faces",
        ),
        (
            ["edit", "a.npy", *["--part", "eyes", "--from", "b.npy"] * 2, "-o", "o.png"],
            "named twice",
        ),
        (["catalogue", "-o", "c.npz"], "not named as a catalogue"),
        (["catalogue", "-o", "c.safetensors", "--part", "eyes"], "--part 'eyes' is not understood"),
        (["catalogue", "-o", "c.safetensors", "--of", "d.safetensors"], "needs names"),
        (["catalogue", "-o", "c.safetensors", "--look", "x.txt"], "not named as a picture"),
    ],
)
def test_the_command_line_refuses_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
