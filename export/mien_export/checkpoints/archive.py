"""torch's own files, read without torch: the zip archive and the older stream."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien_engines.errors import CorruptFile, LimitExceeded, UnsafeFile
from mien_export.checkpoints.inert_pickle import Machine, Maker, Record
from mien_export.checkpoints.tensors import DTYPES, Storage, TensorView, tensor_view

MAX_BYTES = 16 << 30
MAX_ENTRIES = 100_000
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def _record(name: str) -> Maker:
    def make(*arguments: Any) -> Record:
        record = Record()
        record.made_by = name
        return record

    return make


def _rebuilt_parameter(data: Any, *_: Any) -> Any:
    return data


MAKERS: dict[str, Maker] = {
    "collections.OrderedDict": lambda *pairs: {},
    "torch._utils._rebuild_tensor_v2": tensor_view,
    "torch._utils._rebuild_parameter": _rebuilt_parameter,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "argparse.Namespace": _record("argparse.Namespace"),
    "numpy.dtype": _record("numpy.dtype"),
    "numpy.core.multiarray.scalar": _record("numpy scalar"),
    "numpy._core.multiarray.scalar": _record("numpy scalar"),
    "builtins.set": lambda items=(): list(items),
    "__builtin__.set": lambda items=(): list(items),
    "_codecs.encode": lambda text, encoding: text.encode("latin1"),
}
NAMES = frozenset(
    {f"torch.{name}" for name in DTYPES} | {"torch.storage.UntypedStorage", "torch.device"}
)


def read_torch(path: Path) -> Any:
    """Read a torch.save file of either kind; tensors come as TensorView."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        return read_zip(path)
    return read_stream(path.read_bytes())


def read_zip(path: Path) -> Any:
    """Read the zip archive of torch >= 1.6. Raises UnsafeFile, CorruptFile, LimitExceeded."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _checked(archive, path)
            pickled = [
                name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")
            ]
            if len(pickled) != 1:
                raise CorruptFile(f"{path.name} has no data.pkl", hint="Is it a torch.save file?")
            folder = pickled[0].removesuffix("data.pkl")
            storages: dict[str, bytes] = {}

            def fetch(key: str) -> Callable[[], bytes]:
                def read() -> bytes:
                    if key not in storages:
                        raise CorruptFile(f"{path.name} lacks the data of storage {key}")
                    return storages[key]

                return read

            result = Machine(MAKERS, NAMES, _storages(fetch)).load(
                io.BytesIO(archive.read(pickled[0]))
            )
            prefix = f"{folder}data/"
            for name in entries:
                if name.startswith(prefix):
                    storages[name.removeprefix(prefix)] = archive.read(name)
            return result
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise CorruptFile(
            f"{path.name} is a damaged archive: {error}", hint="Copy or download it again"
        ) from error


def _checked(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """Look at the directory before anything is unpacked."""
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if len(infos) > MAX_ENTRIES or sum(info.file_size for info in infos) > MAX_BYTES:
        raise LimitExceeded(f"{path.name} would unpack to more than {MAX_BYTES >> 30} GiB")
    if len(set(names)) != len(names):
        raise CorruptFile(f"{path.name} has two entries of one name")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > info.compress_size:
            raise LimitExceeded(
                f"{path.name} compresses {info.filename}, which torch.save never does",
                hint="Save it again with torch.save",
            )
    return names


def _storages(fetch: Callable[[str], Callable[[], bytes | memoryview]]) -> Callable[[Any], Storage]:
    """Return what turns a persistent id ("storage", type, key, device, count, ...) to a Storage."""

    def storage(identity: Any) -> Storage:
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise UnsafeFile("the file refers to something that is no storage")
        _, kind, key, _, count = identity[:5]
        name = getattr(kind, "name", str(kind))
        if name not in DTYPES:
            raise UnsafeFile(f"the file has a storage of kind {name}, which is not read")
        if type(count) is not int or not 0 <= count <= MAX_BYTES:
            raise LimitExceeded(f"the file has a storage of {count} elements")
        return Storage(name, count, fetch(str(key)))

    return storage


def read_stream(data: bytes) -> Any:
    """Read the stream of torch < 1.6: header, pickle, keys, raw storages."""
    stream = io.BytesIO(data)
    plain = Machine({}, frozenset())
    if plain.load(stream) != LEGACY_MAGIC or plain.load(stream) != LEGACY_PROTOCOL:
        raise CorruptFile("this is no torch.save stream", hint="Is it a torch checkpoint?")
    if not plain.load(stream).get("little_endian", True):
        raise CorruptFile("the file was written on a big-endian machine, which is not read")
    places: dict[str, tuple[int, int]] = {}
    view = memoryview(data)
    kinds: dict[str, Storage] = {}

    def fetch(key: str) -> Callable[[], memoryview]:
        return lambda: view[places[key][0] : places[key][1]] if key in places else view[:0]

    make = _storages(fetch)

    def storage(identity: Any) -> Storage:
        found = make(identity)
        kinds[str(identity[2])] = found
        return found

    result = Machine(MAKERS, NAMES, storage).load(stream)
    keys = plain.load(stream)
    position = stream.tell()
    for key in keys:
        if str(key) not in kinds:
            raise CorruptFile(f"the file has data of a storage {key} that it never names")
        count = int.from_bytes(data[position : position + 8], "little")
        begin = position + 8
        position = begin + count * kinds[str(key)].itemsize
        places[str(key)] = (begin, min(position, len(data)))
    return result


def nested_storage(data: Any) -> Storage:
    """Stand in for torch.storage._load_from_bytes: a stream that holds one storage."""
    if not isinstance(data, bytes):
        raise CorruptFile("a nested storage is not bytes")
    found = read_stream(data)
    if not isinstance(found, Storage):
        raise UnsafeFile("a nested stream holds something that is no storage")
    return found


def is_tensor(value: Any) -> bool:
    return isinstance(value, TensorView)
