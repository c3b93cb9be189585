"""GIFs in and out: every frame whole, its delay and the loop count as they were.

GIF counts time in hundredths of a second. A delay below two of them is shown as ten by every
browser; that is what a frame's time says, while its duration stays what the file has.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL.GifImagePlugin import GifImageFile

from mien.decode import PAPER, shown
from mien.errors import DecodeError, TooLarge
from mien.video.frame import U8, Facts, Frame, Losses, scaled

TIME_BASE = Fraction(1, 100)
SHORTEST, INSTEAD = 2, 10  # hundredths of a second
MAX_PIXELS = 100_000_000
LOOP = b"\x21\xff\x0bNETSCAPE2.0\x03\x01"
TRAILER = b"\x3b"
DELAY = 4  # where in a block its delay is


def is_gif(path: Path) -> bool:
    """Tell a GIF by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == b"GIF8"


class GifSource:
    """A GIF, read by Pillow, which lays each frame on those before as the file says."""

    def __init__(self, path: Path, side: int | None) -> None:
        self.path, self._side = path, side
        with self._opened() as image:
            if image.width * image.height > MAX_PIXELS:
                raise TooLarge(
                    f"{shown(path)} has {image.width} x {image.height} px, more than "
                    f"{MAX_PIXELS / 1e6:.0f} million",
                    hint="Scale it down first",
                )
            loop = image.info.get("loop")
            frames = _count(image)
        self.facts = Facts(kind="gif", time_base=TIME_BASE, frames=frames, loop=loop)
        self.losses = Losses()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number start on. Raises DecodeError where there is none."""
        self.losses = Losses()
        pts = index = 0
        with self._opened() as image:
            while True:
                try:
                    image.seek(index)
                    picture = self._picture(image) if index >= start else None
                except EOFError:
                    break
                except Exception as error:  # damaged bytes fail a decoder in many ways
                    if not index:
                        raise self._fault(error) from error
                    self.losses.lost += 1  # at least this one; what follows cannot be found
                    break
                delay = round(image.info.get("duration", 0) / 10)
                if picture is not None:
                    yield Frame(picture, index, pts, delay, TIME_BASE)
                pts += delay if delay >= SHORTEST else INSTEAD
                index += 1

    def _opened(self) -> GifImageFile:
        try:
            return GifImageFile(self.path)
        except Exception as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> DecodeError:
        return DecodeError(
            f"{shown(self.path)} is no GIF that can be read: {' '.join(str(error).split())}",
            hint="Copy or download it again",
        )

    def _picture(self, image: GifImageFile) -> U8:
        whole = image.convert("RGBA")
        paper = Pillow.new("RGBA", whole.size, (*PAPER, 255))
        flat = Pillow.alpha_composite(paper, whole).convert("RGB")
        if self._side is not None:
            flat = flat.resize(scaled(*flat.size, self._side), Pillow.Resampling.HAMMING)
        return np.array(flat)


def _count(image: GifImageFile) -> int | None:
    """The number of frames; None where damage keeps them from being counted."""
    try:
        return image.n_frames
    except Exception:  # damaged bytes fail a decoder in many ways; reading says what there is
        return None


def block(picture: U8) -> bytes:  # [H, W, 3]
    """Return a frame as it lies in a GIF: its control with no delay yet, its palette, its pixels.

    Each has its own palette, and stands for itself: frames can be joined in any number.
    """
    buffer = io.BytesIO()
    Pillow.fromarray(picture).quantize(256, dither=Pillow.Dither.NONE).save(
        buffer, "GIF", optimize=False, interlace=0
    )
    data = buffer.getvalue()
    size = data[10] & 7  # of the palette, which Pillow writes as the one of all frames
    palette = data[13 : 13 + (3 << size + 1)]
    at = data.index(b"\x2c\0\0\0\0", 13 + len(palette))  # the picture's descriptor
    descriptor = data[at : at + 9] + bytes([0x80 | size])
    control = b"\x21\xf9\x04\x04\0\0\0\0"  # stays when the next one comes
    return control + descriptor + palette + data[at + 10 : -1]


class GifSegment:
    """A run of frames; `finish` returns their blocks, each behind its length."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def add(self, picture: U8, pts: int) -> None:  # [H, W, 3]
        """Add a frame. Its time is not part of its block."""
        self._blocks.append(block(picture))

    def finish(self) -> bytes:
        return b"".join(struct.pack("<I", len(b)) + b for b in self._blocks)


def blocks(segment: bytes) -> Iterator[bytes]:
    """The blocks of a finished segment."""
    at = 0
    while at < len(segment):
        (length,) = struct.unpack_from("<I", segment, at)
        yield segment[at + 4 : at + 4 + length]
        at += 4 + length


def header(size: tuple[int, int], loop: int | None) -> bytes:
    """What a GIF begins with: its size in px, and how often it is shown (0 for ever)."""
    screen = b"GIF89a" + struct.pack("<HHBBB", *size, 0x70, 0, 0)
    return screen if loop is None else screen + LOOP + struct.pack("<HB", loop, 0)


def delayed(block: bytes, delay: int) -> bytes:
    """A block with its delay in hundredths of a second."""
    return block[:DELAY] + struct.pack("<H", min(delay, 0xFFFF)) + block[DELAY + 2 :]


def schedule(pts: Sequence[int], last: int, time_base: Fraction) -> list[tuple[int, int]]:
    """Return which frames of these times a GIF shows: (number, delay in hundredths of a second).

    last: duration of the last frame. Each time is rounded for itself, so that no error adds up.
    A frame that would come less than two hundredths after the one before is left out: browsers
    would show that one for ten.
    """
    at = [round(p * time_base / TIME_BASE) for p in pts]
    kept = [0]
    for i in range(1, len(at)):
        if at[i] - at[kept[-1]] >= SHORTEST:
            kept.append(i)
    end = round((pts[-1] + last) * time_base / TIME_BASE)
    ends = [*(at[i] for i in kept[1:]), max(end, at[kept[-1]] + SHORTEST)]
    return [(i, b - at[i]) for i, b in zip(kept, ends, strict=True)]
