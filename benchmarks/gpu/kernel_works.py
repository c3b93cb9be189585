"""A case on arrays of a GPU: in mien's kernel, in torch, as a copy, and by NumPy's definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from kernel_cases import Array, Case, range_error

from mien.ops.adain import adain as adain_definition
from mien.ops.adam import adam as adam_definition
from mien.ops.mix import mix as mix_definition
from mien.ops.paste import paste as paste_definition
from mien.ops.pixels import floats_from_pixels as floats_definition
from mien.ops.warp import warp as warp_definition
from mien_engines import kernels

CHECKED = 6  # planes that NumPy computes too
SLOPE = 0.2
TURN = np.array([[0.96, 0.28, -70.0], [-0.28, 0.96, 120.0]])

Call = Callable[[], object]


class Gpu(NamedTuple):
    """What a case works with: torch, the driver of mien's kernels, torch's random numbers."""

    torch: Any
    driver: Any
    generator: Any


class Work:
    """One case on arrays of its own: in mien's kernel, in torch, and as a copy."""

    def __init__(self, gpu: Gpu, case: Case) -> None:
        self.gpu, self.case = gpu, case
        torch = gpu.torch
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
        stream = self.gpu.torch.cuda.current_stream().cuda_stream
        self._mien(stream)

    def eager(self) -> Any:
        return self._torch(*self._inputs)

    def compiled(self) -> Call:
        function = self.gpu.torch.compile(self._torch, dynamic=False)
        return lambda: function(*self._inputs)

    def copy(self) -> None:
        self.target.copy_(self.source)

    def error(self) -> float:
        found, wanted = self._compared()
        return range_error(found, wanted)

    def _random(self, *shape: int, dtype: Any = None) -> Any:
        torch = self.gpu.torch
        values = torch.randn(shape, device="cuda", generator=self.gpu.generator)
        return values.to(dtype or torch.float32)

    def _levels(self, *shape: int) -> Any:
        torch = self.gpu.torch
        return torch.randint(
            0, 256, shape, device="cuda", dtype=torch.uint8, generator=self.gpu.generator
        )

    def _adain(self) -> None:
        torch, case = self.gpu.torch, self.case
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
            self.gpu.driver, x, gamma, beta, out=y, slope=SLOPE, up=up, layout=case.layout,  # type: ignore[arg-type]
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
            self.gpu.driver, content, style, weight, out=out, stream=stream
        )
        self._torch = lambda content, style, weight: style + weight[:, None] * (content - style)
        self._compared = lambda: (
            out.cpu().numpy(),
            mix_definition(*(a.cpu().numpy() for a in self._inputs), impl="ref"),
        )

    def _adam(self) -> None:
        torch, shape = self.gpu.torch, self.case.shape
        ws, gradient = self._random(*shape), self._random(*shape)
        m, v = torch.zeros_like(ws), torch.zeros_like(ws)
        rates = torch.linspace(0.1, 0.01, 1000, device="cuda")
        t, done = torch.zeros(1, device="cuda"), torch.zeros(4, dtype=torch.uint8, device="cuda")
        first = ws.cpu().numpy()
        self._inputs = (ws.clone(), gradient, m.clone(), v.clone(), t.clone())
        self._mien = lambda stream: kernels.adam(
            self.gpu.driver, ws, m, v, gradient, rates=rates, t=t, done=done, stream=stream
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
        torch, (h, w, _), driver = self.gpu.torch, self.case.shape, self.gpu.driver
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
