"""Picture files made byte by byte, where Pillow writes none such."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

# Columns: red, green and blue of Display P3 and of sRGB as XYZ under D65, from their chromaticities
# (SMPTE EG 432-1, IEC 61966-2-1).


def _primaries(*places: tuple[float, float]) -> F64:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in places]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return np.asarray(columns * np.linalg.solve(columns, white))


_P3 = _primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_SRGB = _primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
P3_TO_SRGB = np.linalg.solve(_SRGB, _P3)

# Bradford's adaptation from D65 to the D50 of profiles (ICC.1:2010, annex E).
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])  # noqa: E501  # fmt: skip
D50 = np.array([0.9642, 1.0, 0.8249])


def decoded(levels: ArrayLike) -> F64:
    """sRGB's curve, which P3 shares: 0..255 to linear light."""
    level = np.asarray(levels, np.float64) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def encoded(light: F64) -> F64:
    """Linear light to 0..255."""
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _p3_profile() -> bytes:
    """A matrix profile, version 2."""
    cones = _BRADFORD @ _P3.sum(1)
    adapted = np.linalg.solve(_BRADFORD, np.diag(_BRADFORD @ D50 / cones) @ _BRADFORD) @ _P3
    curve = np.rint(65535 * decoded(np.linspace(0, 255, 1024))).astype(">u2").tobytes()
    curve = b"curv" + bytes(4) + struct.pack(">I", 1024) + curve
    text = b"P3\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(D50),
        b"rXYZ": _xyz(adapted[:, 0]),
        b"gXYZ": _xyz(adapted[:, 1]),
        b"bXYZ": _xyz(adapted[:, 2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(body), b"none", 0x02400000,
                       b"mntr", b"RGB ", b"XYZ ")  # fmt: skip
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


def _xyz(values: F64) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *np.rint(values * 65536).astype(int))


P3_PROFILE = _p3_profile()


def png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    rows: bytes,
    extra: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG of raw rows, each with its filter byte. colour: 0 grey, 2 RGB, 4 grey and alpha, 6."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def headers(width: int, height: int) -> dict[str, bytes]:
    """Files of six kinds that promise a picture of this size, and hold next to nothing."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8),
            (277, 3, 1), (278, 4, height), (279, 4, 1)]  # fmt: skip
    ifd = struct.pack("<H", len(tags))
    ifd += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    frame = struct.pack(">BHHB", 8, height & 0xFFFF, width & 0xFFFF, 3)
    frame += bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    canvas = struct.pack("<I", (width - 1) & 0xFFFFFF)[:3] + struct.pack("<I", height - 1)[:3]
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return {
        "a.png": png(width, height, 1, 0, b""),
        "a.tiff": b"II*\0" + struct.pack("<I", 8) + ifd + bytes(4),
        "a.bmp": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0),
        "a.jpg": b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9",
        "a.webp": b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk,
        "b.png": png(width, height, 16, 6, b"", [(b"tEXt", b"Comment\0none")]),
    }  # fmt: skip
