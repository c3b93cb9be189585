"""Pictures that follow one another, written as GIF or WebP."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow

from mien import provenance
from mien.errors import InputError
from mien.images import U8
from mien.whole_files import write_whole

SUFFIXES = {".gif": "GIF", ".webp": "WEBP"}
MAX_FRAMES_PER_SECOND = 50  # GIF counts in hundredths of a second, and browsers slow down below 2
XMP_BLOCK = b"\x21\xff\x0bXMP DataXMP"
# A reader that does not know the block takes the packet's bytes for lengths of sub-blocks, and
# lands somewhere in this: every byte leads on to the zero at its end (XMP specification, part 3).
MAGIC_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"


@dataclass(frozen=True, eq=False)
class Animation:
    """Pictures that follow one another, again and again.

    frames: uint8 RGB [N, H, W, 3]. frames_per_second: 1 to 50.
    edits, sources: as in `mien.Picture`.
    """

    frames: U8
    frames_per_second: float = 12.5
    edits: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or not self.frames.size:
            raise InputError(f"the frames have shape {self.frames.shape}, expected [N, H, W, 3]")
        if not 1 <= self.frames_per_second <= MAX_FRAMES_PER_SECOND:
            raise InputError(
                f"{self.frames_per_second} frames a second, expected 1 to {MAX_FRAMES_PER_SECOND}"
            )

    def save(self, path: str | Path, *, mark: bool = True) -> Path:
        """Write GIF (256 colours a frame) or WebP, by suffix; nothing half-written is left.

        Without mark the file does not say who made it.
        Raises InputError for another suffix, or where it cannot be written.
        """
        path = Path(path)
        check_suffix(path)
        data = self._encoded(SUFFIXES[path.suffix.lower()], mark)
        return write_whole(path, data)

    def _encoded(self, kind: str, mark: bool) -> bytes:
        packet = provenance.packet(provenance.of_mien(self.edits, self.sources)) if mark else b""
        first, *rest = (Pillow.fromarray(frame) for frame in self.frames)
        milliseconds = 10 * math.floor(100 / self.frames_per_second + 0.5)
        options = {"xmp": packet} if packet and kind == "WEBP" else {}
        buffer = io.BytesIO()
        first.save(
            buffer, kind, save_all=True, append_images=rest, duration=milliseconds, loop=0,
            quality=90, **options,
        )  # fmt: skip
        data = buffer.getvalue()
        return with_xmp(data, packet) if packet and kind == "GIF" else data


def check_suffix(path: Path) -> None:
    """Raise InputError where path is not named as an animation."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path.name}: animations are not written as {path.suffix or 'a file without suffix'}",
            hint=f"Name it {', '.join(SUFFIXES)}",
        )


def with_xmp(gif: bytes, packet: bytes) -> bytes:
    """Put an XMP packet into a GIF, before its first picture. Pillow writes none there."""
    screen = gif[10]  # flags of the logical screen: bit 7, a palette follows; bits 0-2, its size
    palette = 3 << (screen & 7) + 1 if screen & 0x80 else 0
    place = 13 + palette
    return gif[:place] + XMP_BLOCK + packet + MAGIC_TRAILER + gif[place:]
