"""torch's own files, read without torch: the zip archive and the older stream."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

from mien_engines.errors import CorruptFile, LimitExceeded, UnsafeFile
from mien_export.checkpoints.faults import listed, shown
from mien_export.checkpoints.inert_pickle import Global, Machine, Maker, Record
from mien_export.checkpoints.tensors import DTYPES, Reader, Storage, tensor_view

MAX_ENTRIES = 100_000
MAX_COUNT = 1 << 34  # elements of a storage
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
ENCRYPTED = 0x1  # flag of a zip entry


def _record(*_: Any) -> Record:
    return Record()


def _ordered_dict(pairs: Any = None) -> dict[str, Any]:
    """Python 3 makes an empty one and sets its items; Python 2 hands over a list of pairs.

    The list is emptied, so that no file makes many dicts of one list.
    """
    if pairs is None:
        return {}
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise CorruptFile("the file makes a dict of something else than names and values")
    made = dict(pairs)
    pairs.clear()
    return made


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str)


def _same(data: Any, *_: Any) -> Any:
    return data


def _encoded(text: str, encoding: str) -> bytes:
    """Protocol 2 writes bytes so."""
    if encoding != "latin1":
        raise CorruptFile(f"the file encodes a text as {shown(encoding)}, expected latin1")
    return text.encode("latin1")


MAKERS: dict[str, Maker] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": tensor_view,
    "torch._utils._rebuild_parameter": _same,
    "torch.Size": _same,
    "torch.device": _record,
    "argparse.Namespace": _record,
    "numpy.dtype": _record,
    "numpy.core.multiarray.scalar": _record,
    "numpy._core.multiarray.scalar": _record,
    "builtins.set": _same,  # a set of data serves as the list it is made of
    "__builtin__.set": _same,
    "_codecs.encode": _encoded,
}
NAMES = frozenset(f"torch.{name}" for name in DTYPES)


class Storages:
    """Turns persistent ids, ("storage", type, key, device, count, ...), into storages.

    named: the storages so far, one a key.
    """

    def __init__(self, fetch: Callable[[str], Reader]) -> None:
        self.fetch = fetch
        self.named: dict[str, Storage] = {}

    def __call__(self, identity: Any) -> Storage:
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise UnsafeFile("the file refers to something that is no storage")
        _, kind, key, _, count, *view = identity
        name = kind.name if isinstance(kind, Global) else ""
        if name not in DTYPES:
            raise UnsafeFile(f"the file has a storage of kind {shown(name)}, which is not read")
        if not isinstance(key, str) or type(count) is not int or any(view):
            raise CorruptFile(f"the file has a damaged storage, {listed(identity)}")
        if not 0 <= count <= MAX_COUNT:
            raise LimitExceeded(f"the file has a storage of {shown(count)} elements")
        found = self.named.setdefault(key, Storage(name, count, self.fetch(key)))
        if (found.kind, found.count) != (name, count):
            raise CorruptFile(f"the file describes storage {shown(key)} in two ways")
        return found


def read_torch(data: bytes) -> Any:
    """Read a torch.save file of either kind; tensors come as TensorView."""
    return read_zip(data) if data.startswith(b"PK") else read_stream(data)


def read_zip(data: bytes) -> Any:
    """Read the zip archive of torch >= 1.6. Raises UnsafeFile, CorruptFile, LimitExceeded."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = _checked(archive.infolist(), len(data))
    pickled = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickled) != 1:
        raise CorruptFile("the archive has no data.pkl", hint="Is it a torch.save file?")
    folder = pickled[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
        raise CorruptFile("the file was written on a big-endian machine, which is not read")

    def fetch(key: str) -> Reader:
        entry = f"{folder}data/{key}"
        if entry not in entries:
            raise CorruptFile(f"the archive lacks the data of storage {shown(key)}")
        return lambda: archive.read(entry)  # checks its CRC-32

    machine = Machine(MAKERS, NAMES, Storages(fetch))
    return machine.load(io.BytesIO(archive.read(pickled[0])))


def _checked(infos: list[zipfile.ZipInfo], size: int) -> set[str]:
    """Look at the directory before anything is read."""
    if len(infos) > MAX_ENTRIES:
        raise LimitExceeded(f"the archive has {len(infos):,} entries")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise LimitExceeded(
                f"the archive compresses {shown(info.filename)}, which torch.save never does",
                hint="Save it again with torch.save",
            )
        if info.flag_bits & ENCRYPTED:
            raise CorruptFile(
                f"the archive encrypts {shown(info.filename)}", hint="Unpack it first"
            )
    if sum(info.file_size for info in infos) > size:
        raise LimitExceeded(f"the archive would unpack to more than its {size:,} bytes")
    names = {info.filename for info in infos}
    if len(names) != len(infos):
        raise CorruptFile("the archive has two entries of one name")
    return names


def read_stream(data: bytes) -> Any:
    """Read the stream of torch < 1.6: header, pickle, keys, raw storages."""
    stream = io.BytesIO(data)
    plain = Machine({}, frozenset())
    if plain.load(stream) != LEGACY_MAGIC or plain.load(stream) != LEGACY_PROTOCOL:
        raise CorruptFile("this is no torch.save stream", hint="Is it a torch checkpoint?")
    system = plain.load(stream)
    if not isinstance(system, dict):
        raise CorruptFile("the header of the torch.save stream is damaged")
    if not system.get("little_endian", True):
        raise CorruptFile("the file was written on a big-endian machine, which is not read")
    placed: dict[str, memoryview] = {}
    storages = Storages(lambda key: lambda: placed.get(key, b""))
    result = Machine(MAKERS, NAMES, storages).load(stream)
    keys = plain.load(stream)
    view, position = memoryview(data), stream.tell()
    for key in keys:
        if not isinstance(key, str) or key not in storages.named:
            raise CorruptFile(f"the file has data of a storage {shown(key)} that it never names")
        count = int.from_bytes(view[position : position + 8], "little")
        size = count * storages.named[key].itemsize
        placed[key] = view[position + 8 : position + 8 + size]
        position += 8 + size
    return result


def nested_storage(data: Any) -> Storage:
    """Stand in for torch.storage._load_from_bytes: a stream that holds one storage."""
    if not isinstance(data, bytes):
        raise CorruptFile("a nested storage is not bytes")
    found = read_stream(data)
    if not isinstance(found, Storage):
        raise UnsafeFile("a nested stream holds something that is no storage")
    return found
