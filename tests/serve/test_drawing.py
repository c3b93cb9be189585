"""The quick verbs, against the SDK's own calls; what pictures say of themselves; capabilities."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.serve.running import API, Running

import mien
from mien import provenance
from mien.bundles import BUILT_IN, built_in
from mien.decode import load_bytes
from mien.edits.merge import FAMILY
from mien.studio import Studio

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


def needs(bundle: str) -> None:
    if bundle not in built_in():
        pytest.skip(f"mien comes without a bundle {bundle}")


def drawn(service: Running, verb: str, **asked: Any) -> U8:
    answer = service.client.post(f"{API}/{verb}", json=asked)
    assert answer.status_code == 200, answer.text
    return load_bytes(answer.content)


def code_of(service: Running, face: str) -> F32:
    code = service.service.store.faces[face].code
    assert code is not None
    return code


def test_faces_of_a_photograph_are_those_that_the_sdk_aligns(
    service: Running, studio: Studio, portrait: Path
) -> None:
    kind = {"Content-Type": "image/jpeg"}
    sent = service.client.post(f"{API}/photos", content=portrait.read_bytes(), headers=kind).json()
    (expected,) = studio.align_all(portrait)
    assert (sent["width"], sent["height"]) == expected.photo_size
    (face,) = sent["faces"]
    np.testing.assert_allclose(face["quad"], expected.quad)
    assert (face["ready"], face["pastes"]) == (False, True)
    crop = service.service.store.faces[face["id"]].crop
    np.testing.assert_array_equal(crop, expected.image)
    shown = load_bytes(service.client.get(face["picture"]).content)
    assert shown.shape == (256, 256, 3)


def test_draw_is_mixing_expressing_and_rendering(service: Running, studio: Studio) -> None:
    a, b = service.nobody(1), service.nobody(2)
    picture = drawn(
        service, "draw", face=a,
        mix={"other": b, "coarse": 0.25, "fine": 1.0}, expressions={"happy": 0.5},
    )  # fmt: skip
    code, other = code_of(service, a), code_of(service, b)
    code = mien.mix(code, other, layers="coarse", psi=0.75)
    code = mien.mix(code, other, layers="fine")
    expected = studio.render(mien.express(code, "happy", 0.5)).array
    assert np.abs(picture.astype(int) - expected).max() <= 1


def test_mix_and_express_are_draw_by_other_names(service: Running) -> None:
    a, b = service.nobody(1), service.nobody(2)
    np.testing.assert_array_equal(
        drawn(service, "mix", face=a, other=b, middle=0.5),
        drawn(service, "draw", face=a, mix={"other": b, "middle": 0.5}),
    )
    np.testing.assert_array_equal(
        drawn(service, "express", face=a, expression="sad", strength=0.5),
        drawn(service, "draw", face=a, expressions={"sad": 0.5}),
    )


def test_an_untouched_face_is_its_own_picture(service: Running, studio: Studio) -> None:
    face = service.nobody(3)
    expected = studio.render(studio.sample(3)).array
    np.testing.assert_array_equal(drawn(service, "draw", face=face), expected)


def test_parts_are_those_of_the_sdk(service: Running, studio: Studio) -> None:
    a, b = service.nobody(1), service.nobody(2)
    picture = drawn(service, "edit", face=a, parts={"eyes": b})
    expected = studio.edit(code_of(service, a), code_of(service, b), part="eyes").picture.array
    np.testing.assert_array_equal(picture, expected)


def test_a_style_is_that_of_the_sdk_named_or_sent(service: Running, studio: Studio) -> None:
    needs("adain")
    face = service.nobody(1)
    large = service.service.store.faces[face].large
    expected = studio.stylize(large, "print", strength=0.5).array
    picture = drawn(service, "stylize", face=face, style="print", strength=0.5)
    np.testing.assert_array_equal(picture, expected)
    file = (BUILT_IN / "styles" / "print.jpg").read_bytes()
    kind = {"Content-Type": "image/jpeg"}
    style = service.client.post(f"{API}/styles", content=file, headers=kind).json()["id"]
    assert drawn(service, "stylize", face=face, style=style).shape == large.shape


def test_lookalikes_are_those_of_the_sdk(service: Running, studio: Studio) -> None:
    needs("lookalike")
    face = service.nobody(1)
    large = service.service.store.faces[face].large
    controls = np.linspace(-1, 1, studio.lookalike_controls).tolist()
    expected = studio.lookalikes(large, control=controls).faces[0]
    np.testing.assert_array_equal(
        drawn(service, "lookalike", face=face, controls=controls), expected
    )
    refused = service.client.post(f"{API}/lookalike", json={"face": face, "controls": [0.0]})
    assert (refused.status_code, refused.json()["code"]) == (422, "InputError")


def test_merges_are_those_of_the_sdk(service: Running, studio: Studio) -> None:
    needs(FAMILY)
    a, b = service.nobody(1), service.nobody(2)
    larges = [service.service.store.faces[face].large for face in (a, b)]
    expected = studio.merge(larges[0], larges[1], strength=0.5, blocks="middle").array
    picture = drawn(service, "merge", content=a, pattern=b, strength=0.5, blocks="middle")
    np.testing.assert_array_equal(picture, expected)


def test_translations_are_those_of_the_sdk(service: Running, studio: Studio) -> None:
    needs("starganv2")
    a, b = service.nobody(8), service.nobody(11)
    larges = [service.service.store.faces[face].large for face in (a, b)]
    expected = studio.translate(larges[0], reference=larges[1], domain="male").array
    picture = drawn(service, "translate", face=a, reference=b, domain="male")
    np.testing.assert_array_equal(picture, expected)


def test_what_has_no_network_here_says_what_to_make(
    service: Running,
) -> None:
    able = service.client.get(f"{API}/capabilities").json()["verbs"]["translate"]
    if able["able"]:
        pytest.skip("this copy translates")
    refused = service.client.post(f"{API}/translate", json={"face": service.nobody(), "seed": 1})
    assert refused.status_code == 409
    assert refused.json()["code"] == "ArchMismatch"
    assert "mien export starganv2" in refused.json()["hint"]
    assert able["hint"] == refused.json()["hint"]


def test_a_drawing_is_laid_back_into_its_photograph(service: Running, portrait: Path) -> None:
    needs("adain")
    face = service.photo(portrait)
    picture = drawn(service, "stylize", face=face, style="waves", paste=True)
    with Image.open(portrait) as photo:
        assert picture.shape == (photo.height, photo.width, 3)
        before = np.asarray(photo.convert("RGB")).astype(int)
    changed = np.abs(picture - before).max(2) > 8
    assert changed.mean() > 0.1
    assert not changed[:40].any()  # beyond the square
    refused = service.client.post(f"{API}/draw", json={"face": service.nobody(), "paste": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "Conflict")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_picture_says_how_it_was_made(service: Running, tmp_path: Path, kind: str) -> None:
    a, b = service.nobody(1), service.nobody(2)
    asked = {"face": a, "mix": {"other": b, "fine": 1.0}, "kind": kind}
    path = tmp_path / f"a.{kind}"
    path.write_bytes(service.client.post(f"{API}/draw", json=asked).content)
    said = provenance.read(path)
    assert said is not None
    assert said.edits == ("sample", "mix coarse 0.00 middle 0.00 fine 1.00")
    crops = (service.service.store.faces[face].crop for face in (a, b))
    assert said.sources == tuple(provenance.digest(crop) for crop in crops)


def test_a_face_without_a_code_is_to_be_projected_first(service: Running, portrait: Path) -> None:
    face = service.photo(portrait)
    refused = service.client.post(f"{API}/draw", json={"face": face})
    assert (refused.status_code, refused.json()["code"]) == (409, "Conflict")
    assert '"verb": "project"' in refused.json()["hint"]


@pytest.mark.parametrize(
    ("verb", "asked", "status"),
    [
        ("draw", {"face": "0" * 32}, 404),
        ("draw", {"face": "../../etc/passwd"}, 422),
        ("draw", {}, 422),
        ("express", {"expression": "../../x.safetensors"}, 404),
        ("express", {"expression": "happy", "strength": 9}, 422),
        ("edit", {"parts": {"elbow": None}}, 422),
        ("edit", {"parts": {}}, 422),
        ("stylize", {"style": "/etc/passwd"}, 404),
        ("stylize", {"style": "waves", "strength": 1.5}, 422),
        ("merge", {"blocks": "9"}, 422),
        ("mix", {"other": "0" * 32}, 404),
    ],
)
def test_what_does_not_fit_is_refused(
    service: Running, verb: str, asked: dict[str, Any], status: int
) -> None:
    whole = {"face": service.nobody()} | asked if asked and "blocks" not in asked else asked
    refused = service.client.post(f"{API}/{verb}", json=whole)
    assert refused.status_code == status, refused.text
    assert refused.json()["message"]


def test_a_forgotten_face_is_gone(service: Running) -> None:
    face = service.nobody()
    assert service.client.delete(f"{API}/faces/{face}").status_code == 204
    assert service.client.get(f"{API}/faces/{face}").status_code == 404


def test_times_are_told_and_counted(service: Running) -> None:
    answer = service.client.post(f"{API}/draw", json={"face": service.nobody()})
    assert "draw;dur=" in answer.headers["Server-Timing"]
    text = service.client.get("/metrics").text
    assert 'mien_draw_seconds_bucket{le="0.1",verb="draw"}' in text
    assert 'route="/api/v1/draw",status="200"' in text
    service.client.get("/no/such/address")
    assert 'route="other"' in service.client.get("/metrics").text
    assert "no/such" not in service.client.get("/metrics").text


def test_encoded_pictures_are_those_of_save(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = mien.Picture(rng.integers(0, 256, (9, 7, 3), np.uint8), ("mix",))
    for kind in ("png", "jpeg", "webp"):
        saved = picture.save(tmp_path / f"a.{kind}").read_bytes()
        assert picture.encode(kind) == saved
    with pytest.raises(mien.errors.InputError, match="not written as 'tiff'"):
        picture.encode("tiff")
    with Image.open(io.BytesIO(picture.encode(mark=False))) as opened:
        assert not opened.info
