"""AdaIN on the GPU: which kernel, and how it is launched, for any shape on any card.

`mien.ops.adain` is the definition. In one launch where a plane fits into the shared memory of a
block, or of a cluster of blocks: each number is read once and written once. Else in two passes, a
few planes at once, so that the second finds them in L2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from mien_engines.errors import InputError
from mien_engines.kernels.arrays import FLOATS, SIZES, SUFFIXES, Array, apart, check
from mien_engines.kernels.launch import (
    KIB,
    Card,
    Dim,
    Launch,
    Runner,
    ceil_div,
    floats,
    integers,
    pointer,
)

Layout = Literal["NCHW", "NHWC"]

SCRATCH = 512  # bytes, adain.cuh: scratch_bytes
TILE = 32  # channels of a block of NHWC, adain_pixels.cuh
TILE_BYTES = 5376  # adain_pixels.cuh: tile_bytes
TILE_THREADS = 256
PLANE_THREADS = 512  # of a block of NCHW: two of them share a multiprocessor's registers
LOADS = 4  # of a thread in flight, adain.cuh: from_memory
GRAIN = 8  # pixels: slices begin where packs of 16 bytes do, of any dtype
LEAST_SLICE = 16 * KIB  # a block with less to read than this is launched faster than it pays
PASS_SLICE = (4 * KIB, 32 * KIB)  # bytes of a slice of the two passes, least and most
PASS_BLOCKS = 4  # for each multiprocessor, so that the last ones end together
LEAST_GROUP = 8 << 20  # bytes of the planes taken at once, however small L2 is
PARTIAL, AFFINE = 16, 12  # bytes: adain_two_pass.cu, adain.cuh


@dataclass(frozen=True)
class Work:
    """What is asked for. Addresses are None where there is no noise."""

    layout: Layout
    n: int
    c: int
    h: int
    w: int
    dtype: str
    up: int
    x: int
    y: int
    gamma: int
    beta: int
    noise: int | None
    strength: int | None
    noise_step: int
    slope_before: float
    slope: float

    @property
    def pixels(self) -> int:
        return self.h * self.w

    @property
    def size(self) -> int:
        return SIZES[self.dtype]

    @property
    def suffix(self) -> str:
        return SUFFIXES[self.dtype]

    @property
    def pack(self) -> int:
        """Numbers that a thread reads at once, as the kernels find them too."""
        v = 16 // self.size
        aligned = all(address % 16 == 0 for address in (self.x, self.y))
        if self.layout == "NHWC":
            return v if aligned and self.c % v == 0 else 1
        fits = self.pixels % v == 0 and (self.up == 1 or self.w % v == 0)
        return v if fits and aligned and (self.noise or 0) % 16 == 0 else 1

    @property
    def tiles(self) -> int:
        """Blocks that a slice of a sample needs beside each other: planes, or tiles of channels."""
        return self.c if self.layout == "NCHW" else ceil_div(self.c, TILE)

    def shared(self, pixels: int) -> int:
        """Bytes of shared memory that hold so many pixels of a block's channels."""
        if self.layout == "NCHW":
            return SCRATCH + ceil_div(pixels * self.size, 16) * 16
        return TILE_BYTES + pixels * TILE * self.size

    def block(self, pixels: int) -> Dim:
        """Threads that read so many pixels with LOADS loads each, as far as a block goes."""
        if self.layout == "NCHW":
            return (_power(ceil_div(pixels, self.pack * LOADS), 32, PLANE_THREADS), 1, 1)
        columns = TILE // self.pack
        return (columns, _power(ceil_div(pixels, LOADS), 32 // columns, TILE_THREADS // columns), 1)


def adain(
    runner: Runner,
    x: Any,  # [N, C, H, W] or [N, H, W, C]; float32, float16 or bfloat16
    gamma: Any,  # float32 [N, C]
    beta: Any,  # float32 [N, C]
    *,
    out: Any,  # dtype and layout of x, H and W times up
    noise: Any = None,  # float32 [N, H, W] or [1, H, W]
    strength: Any = None,  # float32 [C]
    slope_before: float = 1.0,
    slope: float = 1.0,
    up: int = 1,
    layout: Layout = "NCHW",
    workspace: Any = None,
    stream: int = 0,
) -> None:
    """Queue what `mien.ops.adain.adain` computes. out may be x where up is 1.

    Args:
        workspace: `mien_engines.kernels.Memory` of at least `workspace_bytes`, which planes beyond
            the chip need; None takes the runner's own. A captured graph must be given its own.
        stream: CUDA's handle of it; 0 is the default stream.

    Raises:
        InputError: another dtype or shape, arrays with gaps or on the CPU, slopes outside 0 .. 1.
    """
    work = _work(x, gamma, beta, out, noise, strength, slope_before, slope, up, layout)
    nbytes = workspace_bytes(work, runner.card)
    if nbytes and workspace is None:
        workspace = runner.workspace(nbytes, stream)
    if nbytes and workspace.nbytes < nbytes:
        raise InputError(f"workspace has {workspace.nbytes} bytes, expected {nbytes} or more")
    runner.run(plan(work, runner.card, workspace.address if nbytes else 0), stream)


def plan(work: Work, card: Card, workspace: int = 0) -> list[Launch]:
    """The launches of a piece of work, in order."""
    blocks = blocks_together(work, card)
    return _one_pass(work, blocks) if blocks else _two_passes(work, card, workspace)


def workspace_bytes(work: Work, card: Card) -> int:
    """How much memory the launches need beside the arrays."""
    if blocks_together(work, card):
        return 0
    slices = ceil_div(work.pixels, _pass_slice(work, card))
    return work.n * work.c * (slices * PARTIAL + AFFINE)


def blocks_together(work: Work, card: Card) -> int:
    """How many blocks take a plane, or 32 channels, together; 0 where that needs two passes.

    As few as leave room for two blocks on a multiprocessor, so that one loads while the other
    reduces and writes. More where there would not be a block for every multiprocessor.
    """
    fitting = [
        k
        for k in (1, *card.clusters)
        if work.shared(_slice(work, k)) <= card.block_shared and _has_no_empty_slice(work, k)
    ]
    if not fitting:
        return 0
    planes = work.n * work.tiles
    plane_bytes = work.shared(work.pixels)
    if not card.clusters and planes < card.multiprocessors // 2 and plane_bytes > 2 * LEAST_SLICE:
        return 0  # two passes have a slice for every multiprocessor
    chosen = next(
        (k for k in fitting if work.shared(_slice(work, k)) <= card.paired_shared), fitting[0]
    )
    for k in fitting:
        if k > chosen and planes * chosen < card.multiprocessors and plane_bytes // k > LEAST_SLICE:
            chosen = k
    return chosen


def _one_pass(work: Work, blocks: int) -> list[Launch]:
    size = _slice(work, blocks)
    arguments = (
        *(pointer(a) for a in (work.x, work.gamma, work.beta, work.noise, work.strength, work.y)),
        *integers(work.c, work.h, work.w, work.noise_step),
        *floats(work.slope_before, work.slope),
        *integers(work.up, size),
    )
    if work.layout == "NCHW":
        arguments += integers(size)  # all of it is kept
    return [
        Launch(
            kernel=f"adain_{work.layout.lower()}_{work.suffix}",
            grid=(work.n * work.tiles * blocks, 1, 1),
            block=work.block(size),
            arguments=arguments,
            shared=work.shared(size),
            cluster=blocks,
        )
    ]


def _two_passes(work: Work, card: Card, workspace: int) -> list[Launch]:
    size = _pass_slice(work, card)
    slices = ceil_div(work.pixels, size)
    affines = workspace + work.n * work.c * slices * PARTIAL
    # A launch takes whole planes, or whole samples: `unit` planes each.
    unit = 1 if work.layout == "NCHW" else work.c
    units, unit_bytes = work.n * work.c // unit, unit * work.pixels * work.size
    group = max(1, max(card.l2 // 2, LEAST_GROUP) // unit_bytes)
    name = f"adain_{work.layout.lower()}"
    shape = (*integers(work.c, work.h, work.w, work.noise_step), *floats(work.slope_before))
    noise = (pointer(work.noise), pointer(work.strength))
    launches = []
    for first in range(0, units, group):
        count = min(group, units - first)
        tiles = 1 if work.layout == "NCHW" else work.tiles
        grid = (count * tiles * slices, 1, 1)
        plane = first * unit  # the number of the first
        launches += [
            Launch(
                f"{name}_moments_{work.suffix}", grid, work.block(size),
                (pointer(work.x), *noise, pointer(workspace), *shape,
                 *integers(size, slices, first)),
                shared=work.shared(size),
            ),
            Launch(
                "adain_affine", (ceil_div(count * unit, 4), 1, 1), (128, 1, 1),
                (pointer(workspace + plane * slices * PARTIAL), pointer(work.gamma + 4 * plane),
                 pointer(work.beta + 4 * plane), pointer(affines + plane * AFFINE),
                 *integers(count * unit, work.pixels, size, slices)),
            ),
            Launch(
                f"{name}_result_{work.suffix}", grid, work.block(size),
                (pointer(work.x), pointer(affines), *noise, pointer(work.y), *shape,
                 *floats(work.slope), *integers(work.up, size, slices, first)),
            ),
        ]  # fmt: skip
    return launches


def _slice(work: Work, blocks: int) -> int:
    """Pixels of each of so many blocks; the last may have fewer."""
    return work.pixels if blocks == 1 else _rounded_up(ceil_div(work.pixels, blocks), GRAIN)


def _has_no_empty_slice(work: Work, blocks: int) -> bool:
    return (blocks - 1) * _slice(work, blocks) < work.pixels


def _pass_slice(work: Work, card: Card) -> int:
    """Pixels of a slice of the two passes."""
    least, most = PASS_SLICE
    most = min(most, card.paired_shared - work.shared(0))
    total = work.n * work.tiles * (work.shared(work.pixels) - work.shared(0))
    nbytes = min(max(total // (PASS_BLOCKS * card.multiprocessors), least), most)
    per_pixel = work.size * (1 if work.layout == "NCHW" else TILE)
    return max(nbytes // per_pixel // GRAIN, 1) * GRAIN


def _work(
    x: Any, gamma: Any, beta: Any, out: Any, noise: Any, strength: Any,
    slope_before: float, slope: float, up: int, layout: Layout,
) -> Work:  # fmt: skip
    if layout not in ("NCHW", "NHWC"):
        raise InputError(f"layout is {layout!r}, expected NCHW or NHWC")
    if up not in (1, 2):
        raise InputError(f"up is {up}, expected 1 or 2")
    for name, value in (("slope_before", slope_before), ("slope", slope)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}, expected 0 to 1")
    if (noise is None) != (strength is None):
        raise InputError("noise and strength go together", hint="Pass both, or neither")
    source = check("x", x, FLOATS, tuple(layout))
    n, c, h, w = (source.shape[layout.index(axis)] for axis in "NCHW")
    shape = {"N": n, "C": c, "H": up * h, "W": up * w}
    target = check("out", out, (source.dtype,), tuple(shape[a] for a in layout), writable=True)
    rows = [check(*named, ("float32",), (n, c)) for named in (("gamma", gamma), ("beta", beta))]
    rain, amount, shared = None, None, False
    if noise is not None:
        rain = check("noise", noise, ("float32",), ("N", h, w))
        shared = rain.shape[0] == 1
        if rain.shape[0] not in (1, n):
            raise InputError(f"noise has shape {rain.shape}, expected ({n}, {h}, {w}) or (1, ...)")
        amount = check("strength", strength, ("float32",), (c,))
    in_place = up == 1 and source.address == target.address
    apart("out", target, *rows, rain, amount, None if in_place else source)
    return Work(
        layout, n, c, h, w, source.dtype, up, source.address, target.address, rows[0].address,
        rows[1].address, _address(rain), _address(amount), 0 if shared else h * w,
        slope_before, slope,
    )  # fmt: skip


def _address(array: Array | None) -> int | None:
    return None if array is None else array.address


def _rounded_up(value: int, step: int) -> int:
    return ceil_div(value, step) * step


def _power(wanted: int, least: int, most: int) -> int:
    """The power of two that is wanted or more, between two."""
    powers: Iterable[int] = (1 << i for i in range(32))
    return min(max(next(p for p in powers if p >= wanted), least), most)
