"""One step of a face swap in W+, as one graph: the identity of one face, all else of another.

System 1's objective, LPIPS + 0.5 (1 - MS-SSIM) to the face whose attributes are kept and 1 - cosine
to the donor's embedding (ArcFace, Deng et al. 2019, arXiv 1801.07698), under the Adam of a
projection. The published loss takes the cosine of a batch's first sample; here each has its own.

Three terms are ours. A recogniser is soon content with changes that nobody sees, and the perceptual
terms hold the face's features as fast as its surroundings: `colour` and `surroundings` say what is
to be kept instead, and `move` keeps the code near that of a face.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.pictures import from_uint8
from mien_export.nets.recogniser import Recogniser
from mien_export.steps.latent import adam
from mien_export.steps.terms import MsSsim, Perceptual

TERMS = ("perceptual", "ms_ssim", "colour", "surroundings", "move", "identity")

CELLS = 16  # a side: `colour` compares the means of so many cells
# The face in the FFHQ square, as parts of its side: an ellipse from the brows to below the chin.
CENTRE_X, CENTRE_Y, RADIUS_X, RADIUS_Y = 0.5, 0.54, 0.30, 0.36
FADE = 0.25  # of the radii: how far beyond the ellipse the surroundings count in full


class IdentityTarget(nn.Module):
    """What a swap computes once from the donor's picture, uint8 RGB [N, H, W, 3]: [N, E]."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, picture: Tensor) -> Tensor:
        identity: Tensor = self.recogniser(from_uint8(picture))
        return identity


def surroundings(resolution: int) -> Tensor:  # [R, R]
    """Return the weight of each pixel: 0 in the face, 1 away from it."""
    middles = (torch.arange(resolution, dtype=torch.float32) + 0.5) / resolution
    x, y = (middles[None] - CENTRE_X) / RADIUS_X, (middles[:, None] - CENTRE_Y) / RADIUS_Y
    return ((torch.hypot(x, y) - 1) / FADE).clamp(0, 1)


class SwapStep(nn.Module):
    """(ws, m, v, t, start) -> the same, loss, terms: one Adam step.

    The loss of a sample is the sum of TERMS, each times its entry of term_weights:

    perceptual, ms_ssim: LPIPS and 1 - MS-SSIM to the attributes' face.
    colour: mean squared difference from it of the means of CELLS x CELLS cells, in [-1, 1].
    surroundings: mean squared difference from it outside the face.
    move: mean squared distance from the code that the run started with, over w's variance.
    identity: 1 - cosine of the embedding and the donor's.

    start is state that never changes, so that a saved run holds it.
    """

    def __init__(
        self,
        synthesis: nn.Module,
        perceptual: Perceptual,
        recogniser: Recogniser,
        resolution: int,
        variance: float,
    ) -> None:
        super().__init__()
        self.synthesis = synthesis
        self.perceptual = perceptual
        self.recogniser = recogniser
        self.ms_ssim = MsSsim(resolution)
        self.cell = max(1, resolution // CELLS)
        self.variance = variance
        self.register_buffer("outside", surroundings(resolution), persistent=False)
        self.outside: Tensor

    def terms(
        self,
        ws: Tensor,
        start: Tensor,
        identity: Tensor,
        target: Tensor,
        wanted: Sequence[Tensor],
    ) -> Tensor:  # [N, T]
        image = self.synthesis(ws)
        error = image - target
        return torch.stack(
            [
                self.perceptual(self.perceptual.features(image), wanted),
                1 - self.ms_ssim(image, target),
                F.avg_pool2d(error, self.cell).square().mean((1, 2, 3)),
                (error * self.outside).square().mean((1, 2, 3)),
                (ws - start).square().mean((1, 2)) / self.variance,
                1 - (self.recogniser(image) * identity).sum(1),
            ],
            1,
        )

    def forward(
        self,
        ws: Tensor,  # [N, L, D]
        m: Tensor,  # [N, L, D]
        v: Tensor,  # [N, L, D]
        t: Tensor,  # [1]
        start: Tensor,  # [N, L, D]
        rate: Tensor,  # [1], learning rate of the first step
        decay: Tensor,  # [1], factor of the learning rate at each later step
        term_weights: Tensor,  # [T]
        identity: Tensor,  # [N, E], the donor's embedding
        target: Tensor,  # [N, 3, H, W]
        *wanted: Tensor,  # features of the target
    ) -> tuple[Tensor, ...]:
        def objective(ws: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            terms = self.terms(ws, start, identity, target, wanted)
            loss = (terms * term_weights).sum(1)
            return loss.sum(), (loss, terms)

        gradient, (_, (loss, terms)) = torch.func.grad_and_value(objective, has_aux=True)(ws)
        ws, m, v, after = adam(ws, m, v, t, gradient, rate * torch.pow(decay, t))
        return ws, m, v, after, start.clone(), loss, terms
