"""A bundle opens whole, or says what is wrong with it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mien_engines import Bundle, GraphSpec
from mien_engines.bundle import MANIFEST, save_spec
from mien_engines.errors import ArchMismatch, CorruptFile, HashMismatch, ModelError, UnsafeFile

NewBundle = Callable[..., Bundle]


def edit_manifest(bundle: Bundle, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle.folder / MANIFEST
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def zipped(bundle: Bundle, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in bundle.folder.iterdir():
            archive.write(file, inside + file.name)
    return path


def test_what_is_saved_is_what_is_read(new_bundle: NewBundle, tmp_path: Path) -> None:
    spec = new_bundle().spec
    save_spec(tmp_path, spec)
    assert type(spec).model_validate_json((tmp_path / MANIFEST).read_bytes()) == spec


def test_constants_are_read_only(tiny: Bundle) -> None:
    assert tiny.constants["sample.x"].shape == (2, 3)
    with pytest.raises(ValueError, match="read-only"):
        tiny.constants["mean"][0] = 1


def test_an_unknown_graph_is_answered_with_those_that_there_are(tiny: Bundle) -> None:
    with pytest.raises(ArchMismatch, match=r"no graph 'swap'.*descent, linear, picture"):
        tiny.graph("swap")


def test_the_fingerprint_tells_weights_apart(new_bundle: NewBundle) -> None:
    one, same, other = new_bundle("a"), new_bundle("b"), new_bundle("c", seed=1)
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no bundle\.json.*mien export"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}', "\xff", "[" * 10_000])
def test_a_manifest_that_is_none_is_corrupt(new_bundle: NewBundle, text: str) -> None:
    folder = new_bundle().folder
    (folder / MANIFEST).write_text(text, "latin-1")
    with pytest.raises(CorruptFile):
        Bundle.open(folder)


def test_a_newer_schema_asks_for_an_update(new_bundle: NewBundle) -> None:
    bundle = new_bundle()
    edit_manifest(bundle, lambda record: record.update(schema_version=2))
    with pytest.raises(ArchMismatch, match=r"schema version 2, this mien reads 1\. Update"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "a\\b", ""])
def test_no_file_lies_outside_the_folder(new_bundle: NewBundle, name: str) -> None:
    bundle = new_bundle()
    entry = {"sha256": "0" * 64, "bytes": 0}
    edit_manifest(bundle, lambda record: record["files"].update({name: entry}))
    with pytest.raises(CorruptFile, match="files"):
        Bundle.open(bundle.folder)


def test_a_link_is_refused(new_bundle: NewBundle, tmp_path: Path) -> None:
    weights = new_bundle().folder / "weights.safetensors"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeFile, match="is a link"):
        Bundle.open(weights.parent)


def test_a_flipped_bit_is_found(new_bundle: NewBundle) -> None:
    weights = new_bundle().folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(HashMismatch, match=r"weights\.safetensors has SHA-256"):
        Bundle.open(weights.parent)
    assert Bundle.open(weights.parent, verify=False).name == "tiny"


def test_a_truncated_file_is_found_without_hashing(new_bundle: NewBundle) -> None:
    weights = new_bundle().folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(HashMismatch, match="bytes, the manifest says"):
        Bundle.open(weights.parent, verify=False)


def test_a_missing_file_is_found(new_bundle: NewBundle) -> None:
    weights = new_bundle().folder / "weights.safetensors"
    weights.unlink()
    with pytest.raises(CorruptFile, match="is missing"):
        Bundle.open(weights.parent)


@pytest.mark.parametrize("inside", ["", "tiny/"])
def test_a_zip_opens_like_its_folder(tiny: Bundle, tmp_path: Path, inside: str) -> None:
    path = zipped(tiny, tmp_path / "tiny.zip", inside)
    first, second = Bundle.open(path), Bundle.open(path)
    assert first.fingerprint == tiny.fingerprint
    assert first.folder == second.folder
    np.testing.assert_array_equal(first.constants["mean"], tiny.constants["mean"])


def test_a_name_in_a_zip_leads_nowhere(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../../outside.txt", "x")
    with pytest.raises(ModelError):
        Bundle.open(path)
    assert {file.parent.parent for file in tmp_path.rglob("outside.txt")} <= {cache / "bundles"}


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, bytes(10_000_000))
    with pytest.raises(ModelError, match="would unpack to 10000000 bytes"):
        Bundle.open(path)


def test_a_damaged_zip_is_corrupt(tiny: Bundle, tmp_path: Path, cache: Path) -> None:
    path = zipped(tiny, tmp_path / "tiny.zip")
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match="damaged zip"):
        Bundle.open(path)
    assert not list((cache / "bundles").iterdir())


def test_a_file_that_is_no_zip_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"PK?")
    with pytest.raises(CorruptFile, match="neither a folder nor a zip"):
        Bundle.open(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": {"loss": "w"}}, "changes dtype or shape"),
        ({"state": {"nothing": "w"}}, "is not an output -> an input"),
        ({"state": {}}, "a loop gate needs state"),
        ({"file": "../descent.onnx"}, "pattern"),
        ({"extra": 1}, "Extra inputs"),
        ({"outputs": "inputs"}, "is an input and an output"),
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(
    tiny: Bundle, change: dict[str, Any], message: str
) -> None:
    record = tiny.graph("descent").model_dump()
    if change == {"outputs": "inputs"}:
        change = {"outputs": record["inputs"]}
    with pytest.raises(ValidationError, match=message):
        GraphSpec.model_validate(record | change)
