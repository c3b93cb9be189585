"""Opening a bundle: a folder, or a zip of one, that describes itself in `bundle.json`."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError

from mien_engines.cache import cache_dir, make_private_dir
from mien_engines.errors import (
    ArchMismatch,
    CorruptFile,
    HashMismatch,
    LimitExceeded,
    ModelError,
    UnsafeFile,
)
from mien_engines.spec import SCHEMA_VERSION, BundleSpec, FileEntry, GraphSpec

MANIFEST = "bundle.json"
CONSTANTS = "constants.safetensors"
MAX_MANIFEST_BYTES = 4 << 20
MAX_ZIP_BYTES = 16 << 30  # unpacked; the largest generators are below 1 GB in fp32
MAX_ZIP_RATIO = 100  # weights hardly compress: more is a bomb
EXPORT_AGAIN = "Export it again: mien export FAMILY CHECKPOINT -o BUNDLE"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle.

    folder: where its files lie.
    spec: what its manifest says.
    fingerprint: sha256 of the manifest, hence of all that it lists.
    """

    folder: Path
    spec: BundleSpec
    fingerprint: str

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Self:
        """Open a folder, or a zip of one.

        Args:
            verify: compare the SHA-256 of every file with the manifest; sizes and kinds always are.

        Raises:
            ModelError: there is no bundle at the path, or it is not whole.
        """
        path = Path(path)
        folder = _unpacked(path) if path.is_file() else path
        data = _read_manifest(folder)
        spec = _spec_from_manifest(data, folder)
        for name, entry in spec.files.items():
            _check_file(folder / name, entry, verify)
        return cls(folder, spec, hashlib.sha256(data).hexdigest())

    @property
    def name(self) -> str:
        return self.spec.name

    @cached_property
    def constants(self) -> Mapping[str, NDArray[Any]]:
        """The tensors of `constants.safetensors`, read-only; none where there is no such file."""
        if CONSTANTS not in self.spec.files:
            return MappingProxyType({})
        try:
            tensors = safetensors.numpy.load_file(self.folder / CONSTANTS)
        except safetensors.SafetensorError as error:
            raise CorruptFile(f"{self.folder / CONSTANTS}: {error}", hint=EXPORT_AGAIN) from error
        for tensor in tensors.values():
            tensor.flags.writeable = False
        return MappingProxyType(tensors)

    def graph(self, name: str) -> GraphSpec:
        """The graph of that name. Raises ArchMismatch, which lists those that there are."""
        try:
            return self.spec.graphs[name]
        except KeyError:
            known = ", ".join(sorted(self.spec.graphs))
            raise ArchMismatch(
                f"bundle {self.name} ({self.spec.family}) has no graph {name!r}",
                hint=f"It has: {known}",
            ) from None

    def graph_path(self, name: str) -> Path:
        """Where the ONNX file of a graph lies."""
        return self.folder / self.graph(name).file


def save_spec(folder: Path, spec: BundleSpec) -> Path:
    """Write the manifest of a bundle; the inverse of what `Bundle.open` reads."""
    path = folder / MANIFEST
    path.write_text(spec.model_dump_json(indent=1) + "\n", "utf-8")
    return path


def file_entry(path: Path) -> FileEntry:
    """Size and hash of a file, as the manifest lists them."""
    return FileEntry(sha256=_sha256(path), bytes=path.stat().st_size)


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelError(
            f"{folder} is not a bundle: it has no {MANIFEST}",
            hint="Make one: mien export FAMILY CHECKPOINT -o BUNDLE",
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise LimitExceeded(f"{path} has {path.stat().st_size} bytes, at most {MAX_MANIFEST_BYTES}")
    return path.read_bytes()


def _spec_from_manifest(data: bytes, folder: Path) -> BundleSpec:
    path = folder / MANIFEST
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} is not JSON: {error}", hint=EXPORT_AGAIN) from error
    version = record.get("schema_version") if isinstance(record, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise ArchMismatch(
            f"{path} has schema version {version}, this mien reads {SCHEMA_VERSION}",
            hint="Update mien" if version > SCHEMA_VERSION else EXPORT_AGAIN,
        )
    try:
        return BundleSpec.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "bundle"
        raise CorruptFile(f"{path}: {where}: {first['msg']}", hint=EXPORT_AGAIN) from error


def _check_file(path: Path, entry: FileEntry, verify: bool) -> None:
    # A link could lead out of the folder. Hard links are let pass, because installers make them;
    # whoever plants one would have to know the hash of what it leads to.
    if path.is_symlink():
        raise UnsafeFile(f"{path} is a link", hint="Copy the file itself into the bundle")
    if not path.is_file():
        raise CorruptFile(f"{path} is missing", hint="Copy the bundle again, whole")
    size = path.stat().st_size
    if size != entry.bytes:
        raise HashMismatch(
            f"{path} has {size} bytes, the manifest says {entry.bytes}",
            hint="Copy the bundle again, whole",
        )
    if verify and (found := _sha256(path)) != entry.sha256:
        raise HashMismatch(
            f"{path} has SHA-256 {found[:12]}..., the manifest says {entry.sha256[:12]}...",
            hint="It was damaged or changed; copy the bundle again",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpacked(path: Path) -> Path:
    """The folder of a zipped bundle, unpacked once into the cache under the zip's own hash."""
    if not zipfile.is_zipfile(path):
        raise CorruptFile(f"{path} is neither a folder nor a zip", hint="Name a bundle")
    try:
        root = cache_dir() / "bundles"
        make_private_dir(root)
        target = root / _sha256(path)
        if target.is_dir():
            return target
        fresh = Path(tempfile.mkdtemp(prefix=".unpack-", dir=root))
    except OSError as error:
        raise ModelError(
            f"{path} cannot be unpacked into {cache_dir()}: {error}",
            hint="Unzip it yourself, or set MIEN_CACHE_DIR",
        ) from error
    try:
        _extract(path, fresh)
        fresh.replace(target)
    except OSError as error:
        if not target.is_dir():  # else another process was faster
            raise ModelError(f"{path} cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _extract(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            total = sum(info.file_size for info in members)
            if total > MAX_ZIP_BYTES or total > MAX_ZIP_RATIO * path.stat().st_size:
                raise LimitExceeded(f"{path} would unpack to {total} bytes")
            if len({info.filename.rpartition("/")[0] for info in members}) > 1:
                raise UnsafeFile(f"{path} holds several folders", hint="A bundle is one folder")
            for info in members:
                # Only the last part of a name is used, so that no name leads out of the folder.
                name = info.filename.rpartition("/")[2]
                with archive.open(info) as source, (folder / name).open("xb") as copy:
                    shutil.copyfileobj(source, copy)
    # RuntimeError: it is encrypted, or compressed in a way that zipfile does not read.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise CorruptFile(f"{path} is a damaged zip: {error}", hint="Copy it again") from error
