"""The terms of an objective: each maps pictures to one number a sample, [N].

Targets enter as what can be computed once (`features` of the target); weights of the terms are
inputs of the step, so one engine serves many settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURE_EPS = 1e-10  # LPIPS', added to the channel norm there, under its root here
WINDOW, SIGMA = 11, 1.5  # of the Gaussian of SSIM, px
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
C1, C2 = 0.01**2, 0.03**2


class Perceptual(nn.Module):
    """LPIPS (Zhang et al. 2018, Eq. 1): squared differences of channel-normalised features.

    features: image [N, 3, H, W] in [-1, 1] -> maps [N, C_i, H_i, W_i].
    heads: per map the weight of each channel [C_i]; None weighs all channels by 1, the paper's
    "uniform" baseline, for networks that no heads were fitted to.
    """

    def __init__(
        self,
        features: Callable[[Tensor], Sequence[Tensor]],
        heads: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.extract = features
        self.heads = heads

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the normalised maps, scaled so that a plain squared distance is the term."""
        maps = list(self.extract(image))
        roots = [None] * len(maps) if self.heads is None else [h.sqrt() for h in self.heads]
        return [_weighted(_unit(x), root) for x, root in zip(maps, roots, strict=True)]

    def forward(self, features: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:  # [N]
        pairs = zip(features, wanted, strict=True)
        return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in pairs]).sum(0)


def _unit(x: Tensor) -> Tensor:
    """Normalise x [N, C, H, W] over its channels. LPIPS adds epsilon to the norm, outside the root;
    inside, the gradient at zero stays finite, and values agree to 1e-5."""
    return x * torch.rsqrt(x.square().sum(1, keepdim=True) + FEATURE_EPS)


def _weighted(x: Tensor, root: Tensor | None) -> Tensor:
    return x if root is None else x * root[:, None, None]


class MsSsim(nn.Module):
    """MS-SSIM (Wang et al. 2003, Eq. 7) of pictures in [-1, 1], mean over channels, [N].

    Five scales need 161 px. Smaller pictures use as many scales as hold a whole window, with the
    published weights of those renormalised to sum 1: our deviation, since the paper has no rule.
    """

    def __init__(self, resolution: int) -> None:
        super().__init__()
        scales = next(s for s in range(5, 0, -1) if s == 1 or resolution >> (s - 1) >= WINDOW)
        total = 1.0 if scales == 5 else sum(SCALE_WEIGHTS[:scales])
        self.weights = [w / total for w in SCALE_WEIGHTS[:scales]]
        offsets = torch.arange(WINDOW, dtype=torch.float32) - WINDOW // 2
        window = torch.exp(-offsets.square() / (2 * SIGMA**2))
        self.register_buffer("window", window / window.sum())
        self.window: Tensor

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # [N, 3, H, W] each -> [N]
        # Zero stays the middle grey: variances, differences of squares, then keep digits in bf16.
        a, b = a * 0.5, b * 0.5
        similarity: Tensor | None = None
        for i, weight in enumerate(self.weights):
            last = i == len(self.weights) - 1
            luminance, contrast = self._statistics(a, b)
            value = (luminance * contrast if last else contrast).mean((2, 3))  # [N, 3]
            # Negative structure counts as none; a small floor keeps the power's gradient finite.
            factor = value.clamp(min=1e-6) ** weight
            similarity = factor if similarity is None else similarity * factor
            if not last:
                a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        assert similarity is not None
        return similarity.mean(1)

    def _statistics(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the luminance and the contrast-structure map of one scale (Eq. 1 to 3)."""
        c = a.shape[1]
        d = a - b
        moments = self._blur(torch.cat([a, b, d, a * a + b * b, d * d], 1))
        mean_a, mean_b, mean_d, squares, dd = torch.split(moments, c, 1)
        # 2 cov(a, b) = var(a) + var(b) - var(a - b): what differs enters by itself.
        variances = squares - mean_a * mean_a - mean_b * mean_b
        contrast = 1 - (dd - mean_d * mean_d) / (variances + C2)
        mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
        luminance = (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
        return luminance, contrast

    def _blur(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, C, H - 10, W - 10]
        channels = x.shape[1]
        rows = self.window[:, None].expand(channels, 1, WINDOW, 1)
        columns = self.window[None, :].expand(channels, 1, 1, WINDOW)
        return F.conv2d(F.conv2d(x, rows, groups=channels), columns, groups=channels)
