"""One step of a search in W+: synthesis, loss, gradient and Adam as one graph.

Projection (system 1): LPIPS + 0.5 (1 - MS-SSIM), Adam with exponentially decaying rate. The state
(ws, m, v, t) goes in and comes out; who loops owns the settings and the stopping rule only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mien_export.nets.pictures import from_uint8
from mien_export.steps.terms import MsSsim, Perceptual

BETA1, BETA2, ADAM_EPS = 0.9, 0.999, 1e-8  # Kingma and Ba 2015, Algorithm 1
TERMS = ("perceptual", "ms_ssim", "pixel", "prior")


def one_minus_power(beta: float, t: Tensor) -> Tensor:
    """1 - beta^t without cancellation: at t = 1 the difference would keep four digits of float32.

    1 - exp(-x) = 2 tanh(x / 2) / (1 + tanh(x / 2)). Of sinh, ONNX Runtime has no CUDA kernel.
    """
    half = torch.tanh(t * (-0.5 * math.log(beta)))
    return 2 * half / (1 + half)


def adam(
    ws: Tensor,
    m: Tensor,
    v: Tensor,
    t: Tensor,  # [1], steps already taken
    gradient: Tensor,
    rate: Tensor,  # [1]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Adam (Kingma and Ba 2015, Algorithm 1). Returns ws, m, v and t after the step."""
    t = t + 1
    m = BETA1 * m + (1 - BETA1) * gradient
    v = BETA2 * v + (1 - BETA2) * gradient * gradient
    unbiased_m, unbiased_v = m / one_minus_power(BETA1, t), v / one_minus_power(BETA2, t)
    return ws - rate * unbiased_m / (unbiased_v.sqrt() + ADAM_EPS), m, v, t


class ProjectionTarget(nn.Module):
    """What a projection computes once from its target picture, uint8 RGB [N, H, W, 3]."""

    def __init__(self, perceptual: Perceptual) -> None:
        super().__init__()
        self.perceptual = perceptual

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        target = from_uint8(picture)
        return target, *self.perceptual.features(target)


class ProjectionStep(nn.Module):
    """(ws, m, v, t) -> (ws, m, v, t, loss, terms), one Adam step towards a target.

    The loss of a sample is the sum of TERMS, each times its entry of term_weights; the gradient of
    the sum over a batch is each sample's own, so a batch of pictures shares one step.
    """

    def __init__(
        self, synthesis: nn.Module, perceptual: Perceptual, resolution: int, variance: float
    ) -> None:
        super().__init__()
        self.synthesis = synthesis
        self.perceptual = perceptual
        self.ms_ssim = MsSsim(resolution)
        self.variance = variance

    def terms(self, ws: Tensor, target: Tensor, wanted: Sequence[Tensor]) -> Tensor:  # [N, T]
        image = self.synthesis(ws)
        return torch.stack(
            [
                self.perceptual(self.perceptual.features(image), wanted),
                1 - self.ms_ssim(image, target),
                (image - target).square().mean((1, 2, 3)),
                (ws - ws.mean(1, keepdim=True)).square().mean((1, 2)) / self.variance,
            ],
            1,
        )

    def forward(
        self,
        ws: Tensor,  # [N, L, D]
        m: Tensor,  # [N, L, D]
        v: Tensor,  # [N, L, D]
        t: Tensor,  # [1]
        rate: Tensor,  # [1], learning rate of the first step
        decay: Tensor,  # [1], factor of the learning rate at each later step
        term_weights: Tensor,  # [T]
        target: Tensor,  # [N, 3, H, W]
        *wanted: Tensor,  # features of the target
    ) -> tuple[Tensor, ...]:
        def objective(ws: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            terms = self.terms(ws, target, wanted)
            loss = (terms * term_weights).sum(1)
            return loss.sum(), (loss, terms)

        gradient, (_, (loss, terms)) = torch.func.grad_and_value(objective, has_aux=True)(ws)
        ws, m, v, after = adam(ws, m, v, t, gradient, rate * torch.pow(decay, t))
        return ws, m, v, after, loss, terms
