"""mien's CUDA kernels on a GPU: first whether they are right, then how fast.

    python benchmarks/gpu/kernels.py [--rounds 30]

Every case is compared with NumPy's definition before it is timed; a wrong one is a row that says
so, and is not timed. Beside it, in turns, run a copy
that moves as many bytes, the same in PyTorch, and that compiled by torch.compile. Calls are
captured as a CUDA graph and replayed, so that no time of Python's is in them: of small arrays
nothing else would be seen. Each call of a graph works on arrays of its own until they are twice the
L2 cache together, so that arrays beyond it come from memory each time; smaller ones may stay in it,
for the copy as for the kernel. The device's events are around a replay, with the queue full.

Needs torch with CUDA and an NVIDIA GPU. `run` gives the rows; `benchmarks/gpu/run.py` calls it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.ops.adain import adain as adain_definition
from mien.ops.adam import adam as adam_definition
from mien.ops.mix import mix as mix_definition
from mien.ops.paste import paste as paste_definition
from mien.ops.pixels import floats_from_pixels as floats_definition
from mien.ops.warp import warp as warp_definition
from mien_engines import kernels

MEGABYTES = (1, 4, 16, 64, 256)  # read and written together
DTYPES = ("float32", "float16", "bfloat16")
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}
TOLERANCE = {"float32": 2e-5, "float16": 2e-3, "bfloat16": 1e-2}  # of the range of the result
LEVEL = 1.01 / 255  # a tie between two levels may fall on either side
CHECKED = 6  # planes that NumPy computes too
SLOPE = 0.2
TURN = np.array([[0.96, 0.28, -70.0], [-0.28, 0.96, 120.0]])

Array = NDArray[Any]
Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """What is timed. shape: of the array that is read, in the order of its layout."""

    kernel: str
    shape: tuple[int, ...]
    dtype: str
    layout: str = "NCHW"

    @property
    def name(self) -> str:
        return f"{self.kernel} {self.shape} {self.dtype} {self.layout}"

    @property
    def moved(self) -> int:
        """Bytes that must be read and written, whoever does it."""
        numbers = math.prod(self.shape)
        size = SIZES[self.dtype]
        if self.kernel in ("adain", "adain noise"):
            return 2 * numbers * size
        if self.kernel == "adain up":
            return 5 * numbers * size
        if self.kernel == "mix":
            return 3 * numbers * size
        if self.kernel == "adam":
            return 7 * numbers * size  # ws, m and v both ways, and the gradient
        if self.kernel == "paste":
            return numbers * (2 + size)  # each pixel both ways, at one pixel of the image each
        return numbers * (1 + size)  # pixels and floats


@dataclass(frozen=True)
class Row:
    """Times are medians and 95th percentiles of replays, divided by the calls in one."""

    kernel: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    moved_mb: float
    error: float  # of the range of the result
    us: float
    p95_us: float
    gb_per_s: float
    of_copy: float  # 1 is the speed of the copy
    times_eager: float | None
    times_compiled: float | None


def cases(megabytes: Sequence[int] = MEGABYTES, dtypes: Sequence[str] = DTYPES) -> Iterator[Case]:
    """AdaIN by size, dtype and layout; planes of all paths; then the other kernels."""
    for dtype in dtypes:
        size = SIZES[dtype]
        for mb in megabytes:
            channels = max(1, mb * 1_000_000 // (2 * size * 64 * 64))
            yield Case("adain", (1, channels, 64, 64), dtype)
            yield Case("adain", (1, 64, 64, channels), dtype, "NHWC")
        for side, channels in ((4, 512), (16, 512), (128, 256), (256, 128), (512, 64), (1024, 32)):
            yield Case("adain", (1, channels, side, side), dtype)
        yield Case("adain up", (8, 256, 64, 64), dtype)
        yield Case("adain noise", (8, 256, 64, 64), dtype)
        yield Case("adain noise", (8, 64, 64, 256), dtype, "NHWC")
        for kernel in ("floats_from_pixels", "pixels_from_floats", "crop", "paste"):
            yield Case(kernel, (1024, 1024, 3), dtype)
    yield Case("mix", (64, 18, 512), "float32")
    yield Case("adam", (8, 18, 512), "float32")


def calls_of(moved: int, cache: int) -> int:
    """How many calls, each on arrays of its own, a graph needs to leave the cache behind."""
    return max(1, min(64, math.ceil(2 * cache / moved)))


def row_from(case: Case, error: float, times: Mapping[str, Sequence[float]]) -> Row:
    """A row of what was timed, seconds a call of "mien", "copy", and "eager", "compiled" if run."""
    ordered = sorted(times["mien"])
    seconds = statistics.median(ordered)

    def ratio(name: str) -> float | None:
        if name not in times:
            return None
        return statistics.median(a / b for a, b in zip(times[name], times["mien"], strict=True))

    of_copy = ratio("copy")
    assert of_copy is not None
    return Row(
        case.kernel, case.shape, case.dtype, case.layout, case.moved / 1e6, error, 1e6 * seconds,
        1e6 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], case.moved / seconds / 1e9,
        of_copy, ratio("eager"), ratio("compiled"),
    )  # fmt: skip


def range_error(found: Array, wanted: Array) -> float:
    """The largest difference, of the range of what is wanted, which counts as 1 at the least."""
    reach = max(1.0, float(np.abs(wanted).max()))
    return float(np.abs(found.astype(np.float64) - wanted).max()) / reach


def run(
    megabytes: Sequence[int] = MEGABYTES,
    dtypes: Sequence[str] = DTYPES,
    *,
    rounds: int = 100,
    against: Sequence[str] = ("eager", "compiled"),
    about: Callable[[str], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    dropped: Callable[[str], str] = lambda name: "",
    make: Callable[[int], Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Check each kernel, then time it; a row, as a dictionary, for each case, as it comes.

    A kernel that is wrong, or cannot run, is a row with `failed`, and the others go on.

    Args:
        about: entered while a case is at work, with its name. dropped: why a case is left out.
        make: what a Bench is made with, by the number of rounds; None means the GPU's.

    Raises DeviceLost where the GPU answers no one in this process any more.
    """
    from contest import raise_if_lost

    bench = (make or Bench)(rounds)
    for case in cases(megabytes, dtypes):
        key = {f: getattr(case, f) for f in ("kernel", "shape", "dtype", "layout")}
        key["moved_mb"] = case.moved / 1e6
        if reason := dropped(case.name):
            yield {**key, "failed": reason}
            continue
        with about(case.name):
            try:
                row = asdict(row_from(case, bench.check(case), bench.times(case, against)))
            except Exception as error:  # torch's and the driver's have no common base
                raise_if_lost(str(error))
                row = {**key, "failed": " ".join(str(error).split())[:300] or repr(error)}
        yield row


HEADER = (
    "| kernel | shape | dtype | MB | error | us | p95 us | GB/s | of copy | x eager | x compiled |"
    "\n| --- | --- | --- |" + " ---: |" * 8
)


def line_of(row: Mapping[str, Any]) -> str:
    shape = " x ".join(map(str, row["shape"])) + (" NHWC" if row["layout"] == "NHWC" else "")
    begin = f"| {row['kernel']} | {shape} | {row['dtype']} | {row['moved_mb']:.1f} |"
    if "failed" in row:
        return f"{begin} failed: {row['failed']} |"
    others = (row["times_eager"], row["times_compiled"])
    return (
        f"{begin} {row['error']:.1e} | {row['us']:.1f} | {row['p95_us']:.1f} | "
        f"{row['gb_per_s']:.0f} | {row['of_copy']:.0%} | "
        f"{' | '.join('-' if x is None else f'{x:.1f}' for x in others)} |"
    )


class Bench:
    """The GPU, through torch: arrays, streams, graphs, and the same work in its own words."""

    def __init__(self, rounds: int) -> None:
        import torch

        self.torch, self.rounds = torch, rounds
        torch.cuda.init()
        torch.zeros(1, device="cuda")  # makes the context that kernels run in
        self.stream = torch.cuda.Stream()
        self.generator = torch.Generator("cuda").manual_seed(0)
        self.driver = kernels.driver()
        self.cache = self.driver.card.l2
        torch._dynamo.config.cache_size_limit = 256  # every shape is compiled by itself

    def check(self, case: Case) -> float:
        """The error of a kernel against NumPy; an AssertionError where it is too large."""
        work = Work(self, case)
        work.mien()
        self.torch.cuda.synchronize()
        error = work.error()
        limit = LEVEL if case.kernel in ("pixels_from_floats", "paste") else TOLERANCE[case.dtype]
        assert error <= limit, (
            f"{case}: off by {error:.2e} of its range, at most {limit:.0e} is right"
        )
        return error

    def times(self, case: Case, against: Sequence[str]) -> dict[str, list[float]]:
        """Seconds a call of each, in turns."""
        from timing import device_seconds  # which needs torch

        works = [Work(self, case) for _ in range(calls_of(case.moved, self.cache))]
        replays = {
            "mien": self.captured([work.mien for work in works]),
            "copy": self.captured([work.copy for work in works]),
        }
        if "eager" in against:
            replays["eager"] = self.captured([work.eager for work in works])
        if "compiled" in against:
            replays["compiled"] = self.captured([work.compiled() for work in works])
        found: dict[str, list[float]] = {name: [] for name in replays}
        names = list(replays)
        for turn in range(self.rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                found[name].append(device_seconds(replays[name]) / len(works))
        return found

    def captured(self, calls: Sequence[Call]) -> Call:
        """The calls as a graph, after a run that allocates and compiles what they need."""
        torch = self.torch
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                for call in calls:
                    call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            for call in calls:
                call()
        graph.replay()
        torch.cuda.synchronize()
        replay: Call = graph.replay
        return replay


class Work:
    """One case on arrays of its own: in mien's kernel, in torch, and as a copy."""

    def __init__(self, bench: Bench, case: Case) -> None:
        self.bench, self.case = bench, case
        torch = bench.torch
        self.dtype = getattr(torch, case.dtype)
        self.source, self.target = (
            torch.empty(case.moved // 2, dtype=torch.uint8, device="cuda") for _ in range(2)
        )
        {
            "adain": self._adain,
            "adain up": self._adain,
            "adain noise": self._adain,
            "mix": self._mix,
            "adam": self._adam,
        }.get(case.kernel, self._picture)()

    def mien(self) -> None:
        stream = self.bench.torch.cuda.current_stream().cuda_stream
        self._mien(stream)

    def eager(self) -> Any:
        return self._torch(*self._inputs)

    def compiled(self) -> Call:
        function = self.bench.torch.compile(self._torch, dynamic=False)
        return lambda: function(*self._inputs)

    def copy(self) -> None:
        self.target.copy_(self.source)

    def error(self) -> float:
        found, wanted = self._compared()
        return range_error(found, wanted)

    def _random(self, *shape: int, dtype: Any = None) -> Any:
        torch = self.bench.torch
        values = torch.randn(shape, device="cuda", generator=self.bench.generator)
        return values.to(dtype or torch.float32)

    def _levels(self, *shape: int) -> Any:
        torch = self.bench.torch
        return torch.randint(
            0, 256, shape, device="cuda", dtype=torch.uint8, generator=self.bench.generator
        )

    def _adain(self) -> None:
        torch, case = self.bench.torch, self.case
        up, axis = (2 if case.kernel == "adain up" else 1), case.layout.index("C")
        n, c = case.shape[0], case.shape[axis]
        x = self._random(*case.shape, dtype=self.dtype)
        gamma, beta = self._random(n, c), self._random(n, c)
        shape = [s * (up if i not in (0, axis) else 1) for i, s in enumerate(case.shape)]
        y = torch.empty(shape, dtype=self.dtype, device="cuda")
        noisy = case.kernel == "adain noise"
        sides = [s for i, s in enumerate(case.shape) if i not in (0, axis)]
        noise, strength = self._random(1, *sides), self._random(c)
        # StyleGAN1's: noise and an activation in front of the statistics.
        before: dict[str, Any] = {"slope_before": SLOPE} if noisy else {}
        added = {"noise": noise, "strength": strength} if noisy else {}
        self._inputs = (x, gamma, beta)
        self._mien = lambda stream: kernels.adain(
            self.bench.driver, x, gamma, beta, out=y, slope=SLOPE, up=up, layout=case.layout,  # type: ignore[arg-type]
            stream=stream, **before, **added,
        )  # fmt: skip

        def in_torch(x: Any, gamma: Any, beta: Any) -> Any:
            planes = x if case.layout == "NCHW" else x.permute(0, 3, 1, 2)
            if noisy:
                planes = planes + (strength[:, None, None] * noise).to(planes.dtype)
                planes = torch.nn.functional.leaky_relu(planes, SLOPE)
            h = torch.nn.functional.instance_norm(planes)
            h = h * gamma[:, :, None, None].to(h.dtype) + beta[:, :, None, None].to(h.dtype)
            h = torch.nn.functional.leaky_relu(h, SLOPE)
            if up == 2:
                h = torch.nn.functional.interpolate(h, scale_factor=2, mode="nearest")
            return h if case.layout == "NCHW" else h.permute(0, 2, 3, 1).contiguous()

        self._torch = in_torch

        def compared() -> tuple[Array, Array]:
            chosen = np.unique(np.linspace(0, c - 1, CHECKED).astype(int))
            index = torch.as_tensor(chosen, device="cuda")
            part, found = (a.index_select(axis, index).float().cpu().numpy() for a in (x, y))
            rows = (a[:, index].cpu().numpy() for a in (gamma, beta))
            if noisy:
                added_too = {
                    "noise": noise.cpu().numpy(),
                    "strength": strength[index].cpu().numpy(),
                }
            else:
                added_too = {}
            return found, adain_definition(
                part, *rows, slope=SLOPE, up=up, layout=case.layout, impl="ref",  # type: ignore[arg-type]
                **before, **added_too,
            )  # fmt: skip

        self._compared = compared

    def _mix(self) -> None:
        shape = self.case.shape
        content, style = self._random(*shape), self._random(*shape)
        weight, out = self._random(shape[1]), self._random(*shape)
        self._inputs = (content, style, weight)
        self._mien = lambda stream: kernels.mix(
            self.bench.driver, content, style, weight, out=out, stream=stream
        )
        self._torch = lambda content, style, weight: style + weight[:, None] * (content - style)
        self._compared = lambda: (
            out.cpu().numpy(),
            mix_definition(*(a.cpu().numpy() for a in self._inputs), impl="ref"),
        )

    def _adam(self) -> None:
        torch, shape = self.bench.torch, self.case.shape
        ws, gradient = self._random(*shape), self._random(*shape)
        m, v = torch.zeros_like(ws), torch.zeros_like(ws)
        rates = torch.linspace(0.1, 0.01, 1000, device="cuda")
        t, done = torch.zeros(1, device="cuda"), torch.zeros(4, dtype=torch.uint8, device="cuda")
        first = ws.cpu().numpy()
        self._inputs = (ws.clone(), gradient, m.clone(), v.clone(), t.clone())
        self._mien = lambda stream: kernels.adam(
            self.bench.driver, ws, m, v, gradient, rates=rates, t=t, done=done, stream=stream
        )

        def in_torch(ws: Any, gradient: Any, m: Any, v: Any, t: Any) -> None:
            t += 1
            m.lerp_(gradient, 0.1)
            v.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            rate = rates[t.long().clamp(max=999)]
            ws -= rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)

        self._torch = in_torch

        def compared() -> tuple[Array, Array]:
            zeros, g = np.zeros_like(first), gradient.cpu().numpy()
            table = rates.cpu().numpy()
            return ws.cpu().numpy(), adam_definition(first, zeros, zeros, g, rates=table, t=0)[0]

        self._compared = compared

    def _picture(self) -> None:
        torch, (h, w, _), driver = self.bench.torch, self.case.shape, self.bench.driver
        picture, image = self._levels(1, h, w, 3), self._random(1, 3, h, w, dtype=self.dtype)
        odd = torch.zeros(4, dtype=torch.uint8, device="cuda")
        kernel = self.case.kernel
        pixels = torch.arange(h, device="cuda"), torch.arange(w, device="cuda")
        before = picture.cpu().numpy()

        def host(array: Any) -> Array:
            return np.asarray(array.float().cpu().numpy())

        def grid(matrix: Array) -> Any:
            """Where torch looks up each pixel: from -1 to 1 between the corners."""
            m = torch.as_tensor(matrix, device="cuda", dtype=torch.float32)
            y, x = (p + 0.5 for p in torch.meshgrid(*pixels, indexing="ij"))
            places = torch.stack([row[0] * x + row[1] * y + row[2] for row in m], -1)
            return (places / torch.tensor([w, h], device="cuda") * 2 - 1)[None]

        look = torch.nn.functional.grid_sample
        if kernel == "floats_from_pixels":
            self._mien = lambda stream: kernels.floats_from_pixels(
                driver, picture, out=image, stream=stream
            )
            self._torch = lambda p: (p.permute(0, 3, 1, 2).to(self.dtype) / 127.5 - 1).contiguous()
            self._inputs = (picture,)
            self._compared = lambda: (host(image), floats_definition(before, impl="ref"))
        elif kernel == "pixels_from_floats":
            self._mien = lambda stream: kernels.pixels_from_floats(
                driver, image, out=picture, odd=odd, stream=stream
            )
            self._torch = lambda i: (
                (i.float() * 127.5 + 127.5)
                .clamp(0, 255)
                .round()
                .byte()
                .permute(0, 2, 3, 1)
                .contiguous()
            )
            self._inputs = (image,)
            self._compared = lambda: (
                host(picture),
                np.rint((host(image) * 127.5 + 127.5).clip(0, 255)).transpose(0, 2, 3, 1),
            )
        elif kernel == "crop":
            self._mien = lambda stream: kernels.crop(
                driver, picture[0], TURN, out=image[0], border="edge", stream=stream
            )
            places = grid(TURN)
            self._torch = lambda p: look(
                (p.permute(0, 3, 1, 2).float() / 127.5 - 1), places, padding_mode="border",
                align_corners=False,
            ).to(self.dtype)  # fmt: skip
            self._inputs = (picture,)
            # The definition rounds to levels: half of one is no error of the kernel's.
            self._compared = lambda: (
                host(image)[0],
                _closest(host(image)[0], warp_definition(before[0], TURN, (h, w), border="edge")),
            )
        else:
            self._mien = lambda stream: kernels.paste(
                driver, picture[0], image[0], TURN, stream=stream
            )
            places = grid(TURN)

            def in_torch(photo: Any, image: Any) -> Any:
                new = look(image.float(), places, padding_mode="border", align_corners=False)
                at = (places[0] + 1) / 2
                ramp = (torch.minimum(at, 1 - at) / 0.1).clamp(0, 1)
                weight = (ramp * ramp * (3 - 2 * ramp)).prod(-1)
                old = photo.permute(0, 3, 1, 2).float()
                new = (new * 127.5 + 127.5).clamp(0, 255)
                return (old + weight * (new - old)).round().byte().permute(0, 2, 3, 1).contiguous()

            self._torch = in_torch
            self._inputs = (picture.clone(), image)
            self._compared = lambda: (
                host(picture)[0],
                paste_definition(before[0], host(image)[0], TURN).astype(np.float64),
            )


def _closest(found: Array, levels: Array) -> Array:
    """What lies nearest to what was found, of all that rounds to the levels [H, W, 3]."""
    middle = levels.transpose(2, 0, 1) / 127.5 - 1
    half = 0.5001 / 127.5
    return found.clip(middle - half, middle + half)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100, help="timed replays of each")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    if not options.json:
        print(HEADER)
    for row in run(rounds=options.rounds):
        print(json.dumps(row) if options.json else line_of(row), flush=True)


if __name__ == "__main__":
    main()
