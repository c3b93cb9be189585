"""One step of a search in W together with the noise maps (Karras et al. 2020, appendix D).

One w for all layers and a noise map for each, moved by Adam; a regulariser keeps the maps from
becoming a picture. Learning rate and the noise on w come in: who loops owns their schedules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.pictures import from_uint8, to_uint8
from mien_export.nets.stylegan2 import SynthesisLayer
from mien_export.steps.latent import adam
from mien_export.steps.terms import Perceptual

TERMS = ("perceptual", "noise")
COARSEST = 8  # px: finer maps are averaged down to this size, no further


class NoiseTarget(nn.Module):
    """What the search computes once from its target picture, uint8 RGB [N, H, W, 3]."""

    def __init__(self, perceptual: Perceptual) -> None:
        super().__init__()
        self.perceptual = perceptual

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.perceptual.features(from_uint8(picture)))


class NoiseStep(nn.Module):
    """(w, noise, moments, t) -> the same after one Adam step, loss, terms, picture.

    deviation: sqrt(E |w - mean w|^2), the unit of `strength`.

    The maps of all layers lie one after another in one row, as `sizes` has them; the optimiser
    need not know where one ends. A layer whose noise counts for nothing has its map all the same.
    """

    def __init__(self, synthesis: nn.Module, perceptual: Perceptual, deviation: float) -> None:
        super().__init__()
        self.synthesis = synthesis
        self.perceptual = perceptual
        self.deviation = deviation
        layers = {n: m for n, m in synthesis.named_modules() if isinstance(m, SynthesisLayer)}
        self.buffers_of_noise = [f"{name}.noise_const" for name in layers]
        self.sizes = [layer.noise_const.shape[0] for layer in layers.values()]

    @property
    def pixels(self) -> int:
        """Length of a row of maps."""
        return sum(size**2 for size in self.sizes)

    def maps(self, row: Tensor) -> list[Tensor]:  # [N, P] -> [N, 1, r, r] each
        parts = torch.split(row, [size**2 for size in self.sizes], 1)
        return [p.reshape(-1, 1, r, r) for p, r in zip(parts, self.sizes, strict=True)]

    def image(self, w: Tensor, maps: Sequence[Tensor]) -> Tensor:  # [N, D] -> [N, 3, H, W]
        """Draw w in all layers, with these maps in the place of the stored ones."""
        ws = w.unsqueeze(1).expand(-1, len(self.sizes) + 1, -1)
        places = dict(zip(self.buffers_of_noise, maps, strict=True))
        image: Tensor = torch.func.functional_call(self.synthesis, places, (ws,))
        return image

    def forward(
        self,
        w: Tensor,  # [N, D]
        w_m: Tensor,  # [N, D]
        w_v: Tensor,  # [N, D]
        noise: Tensor,  # [N, P]
        noise_m: Tensor,  # [N, P]
        noise_v: Tensor,  # [N, P]
        t: Tensor,  # [1]
        rate: Tensor,  # [1], of this step
        strength: Tensor,  # [1], of the noise on w
        draw: Tensor,  # [N, D], standard normal
        regularisation: Tensor,  # [1], weight of the noise term
        *wanted: Tensor,  # features of the target
    ) -> tuple[Tensor, ...]:
        disturbance = self.deviation * strength * draw

        def objective(w: Tensor, maps: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
            image = self.image(w + disturbance, maps)
            distance = self.perceptual(self.perceptual.features(image), wanted)
            correlation = self_correlation(maps)
            loss = distance + regularisation * correlation
            return loss.sum(), (distance, correlation, image)

        gradients, (_, (distance, correlation, image)) = torch.func.grad_and_value(
            objective, argnums=(0, 1), has_aux=True
        )(w, self.maps(noise))
        w, w_m, w_v, after = adam(w, w_m, w_v, t, gradients[0], rate)
        by_noise = torch.cat([g.flatten(1) for g in gradients[1]], 1)
        noise, noise_m, noise_v, _ = adam(noise, noise_m, noise_v, t, by_noise, rate)
        noise = torch.cat([normalised(m).flatten(1) for m in self.maps(noise)], 1)
        terms = torch.stack([distance, correlation], 1)
        picture, _ = to_uint8(image)
        return w, w_m, w_v, noise, noise_m, noise_v, after, distance, terms, picture


def normalised(x: Tensor) -> Tensor:
    """Shift and scale a map [N, 1, r, r] to mean 0 and mean square 1."""
    x = x - x.mean((2, 3), keepdim=True)
    return x * torch.rsqrt(x.square().mean((2, 3), keepdim=True))


def self_correlation(maps: Sequence[Tensor]) -> Tensor:  # [N, 1, r, r] each -> [N]
    """How much the noise is like itself one pixel on, at all scales (appendix D).

    The paper doubles a map when it averages it down, which keeps its deviation 1; the published
    code does not, and neither does this.

    From the finest size down, maps of one size and those that were averaged to it go together.
    """
    sizes = sorted({m.shape[2] for m in maps}, reverse=True)
    total: Tensor | None = None
    finer: list[Tensor] = []
    for size in sizes:
        here = torch.cat([*finer, *(m for m in maps if m.shape[2] == size)], 1)
        squares = _neighbours(here, 2).square() + _neighbours(here, 3).square()
        total = squares.sum(1) if total is None else total + squares.sum(1)
        finer = [F.avg_pool2d(here, 2)] if size > COARSEST else []
    assert total is not None
    return total


def _neighbours(x: Tensor, axis: int) -> Tensor:  # [N, C, r, r] -> [N, C]
    """Mean product of each pixel with the next one along an axis; the last one's is the first."""
    return (x * torch.roll(x, 1, axis)).mean((2, 3))


def deviation_of_w(variance: float, width: int) -> float:
    """sqrt(E |w - mean w|^2) of the mean variance of w's axes."""
    return math.sqrt(width * variance)
