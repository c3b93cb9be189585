"""Small files that want much memory or time, and files that are not what they are called."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

from tests.attacks.calls import classic, text, zipped


def pickles() -> Iterator[tuple[str, bytes]]:
    start = b"\x80\x04"
    yield "memo far away", start + b"K\x01r\xff\xff\xff\xff."
    yield "bytes of 2^40", start + b"\x8e" + struct.pack("<Q", 1 << 40) + b"x."
    yield "text of 2^40", start + b"\x8d" + struct.pack("<Q", 1 << 40) + b"x."
    yield "bytearray of 2^40", b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x."
    yield "negative length", start + b"T" + struct.pack("<i", -1) + b"."
    yield "long of 2^31 bytes", start + b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"."
    yield "long of text", b"\x80\x02L" + b"9" * 200_000 + b"L\n."
    yield "lists 200000 deep", start + b"](" * 200_000 + b"e" * 200_000 + b"."
    yield "tuples 200000 deep", start + b")" + b"\x85" * 200_000 + b"."
    yield "pairs of pairs", start + b"K\x01" + b"2\x86" * 60 + b"."
    yield "no end", start + b"K\x01" * 1000
    yield "empty stack", start + b"R."
    yield "frame of 2^60", start + b"\x95" + struct.pack("<Q", 1 << 60) + b"."
    yield "memo never put", start + b"h\x07."
    yield "persistent id", start + b"U\x01xQ."
    yield "extension code", start + b"\x82\x01."
    yield "buffer out of band", b"\x80\x05\x97."
    yield "protocol 99", b"\x80\x63K\x01."


def archives() -> Iterator[tuple[str, bytes]]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (64 << 20))
    yield "deflated 64 MiB", stream.getvalue()
    kind = classic("torch.FloatStorage")
    for count, label in ((1 << 40, "2^40"), (10**9, "10^9")):
        number = b"\x8a\x08" + struct.pack("<q", count)
        ids = b"(" + text("storage") + kind + text("0") + text("cpu") + number + b"tQ"
        shape = b"(" + number + b"t"
        view = classic("torch._utils._rebuild_tensor_v2") + b"(" + ids + b"K\x00" + shape
        tensor = view + b"(K\x01t\x89" + classic("collections.OrderedDict") + b")RtR"
        yield (
            f"storage of {label}",
            zipped(b"\x80\x02}" + text("x") + tensor + b"s.", {"data/0": b""}),
        )
    yield "two entries of one name", _twice()
    for name in ("../../escape.pkl", "/etc/passwd", "archive/../../x"):
        yield f"entry {name}", _entry(name)


def _twice() -> bytes:
    import warnings

    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data.pkl", b"\x80\x02].")
    return stream.getvalue()


def _entry(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"\x80\x02}.")
    return stream.getvalue()


def headers() -> Iterator[tuple[str, bytes]]:
    def file(header: object, body: bytes = b"\0" * 16) -> bytes:
        raw = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(raw)) + raw + body

    def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    yield "header of 2^60", struct.pack("<Q", 1 << 60) + b"{}"
    yield "header deep", file(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    yield "overlapping", file({"a": entry([2], 0, 8), "b": entry([2], 4, 12)})
    yield "beyond the file", file({"a": entry([1 << 40], 0, 1 << 42)})
    yield "overflow", file({"a": entry([1 << 32, 1 << 32], 0, 0)})
    yield "negative", file({"a": entry([-1], 0, 4)})
    yield "backwards", file({"a": entry([1], 8, 4)})
    yield "unknown dtype", file({"a": entry([1], 0, 4, "F99")})
    yield (
        "same name twice",
        file(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        ),
    )
    nan = np.array([np.nan, 1, 2, 3], np.float32).tobytes()
    yield "NaN", file({"a": entry([4], 0, 16)}, nan)


def texts() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "web page", b"\n<!DOCTYPE html><html><body>404</body></html>"
    yield "web page with a mark", b"\xef\xbb\xbf<html></html>"
    yield "lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "HDF5", b"\x89HDF\r\n\x1a\n" + b"\0" * 64
    yield "gzip", b"\x1f\x8b\x08" + b"\0" * 32
    yield "random", np.random.default_rng(0).bytes(4096)
    yield "zeros", b"\0" * 4096


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each."""
    kinds = {"pickle": pickles, "archive": archives, "safetensors": headers, "file": texts}
    for kind, files in kinds.items():
        for name, content in files():
            yield f"{kind}: {name}", content
    for name, content in pickles():
        yield f"zipped pickle: {name}", zipped(content)
