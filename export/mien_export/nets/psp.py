"""pSp's and e4e's encoders from an aligned face into W+.

Richardson et al. 2021 (pSp, arXiv 2008.00951, section 3); Tov et al. 2021 (e4e, arXiv 2102.02766,
section 4.1). Both are an IR-SE trunk, a feature pyramid on it, and a small network for each layer
of the generator. Tensors are named as the files name them, without `encoder.`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_engines.errors import ArchMismatch
from mien_export.nets.build import Arrays, build, length_of, shape_of
from mien_export.nets.ir_se import Trunk, TrunkConfig, trunk_config
from mien_export.nets.layers import EqualLinear
from mien_export.nets.separable import bilinear

COARSE, MIDDLE = 3, 7  # the first layers of the middle and of the fine group
LARGEST = 1024  # px
LEVELS = 3  # of the pyramid: the ends of the trunk's last stages, coarse to fine
SLOPE = 0.01  # of the leaky ReLUs


@dataclass(frozen=True)
class PspConfig:
    """trunk: sizes of the trunk. layers: of the generator. w_dim: width of w.

    width: channels inside the heads. halvings: convolutions of a coarse head, each of which halves
    its map, down to one pixel.
    """

    trunk: TrunkConfig
    layers: int
    w_dim: int
    width: int
    halvings: int

    @property
    def size(self) -> int:
        """px of the pictures that are encoded."""
        return 1 << self.levels

    @property
    def levels(self) -> int:
        """How often a picture is halved, down to one pixel."""
        return self.halvings + len(self.trunk.stages)

    @property
    def resolution(self) -> int:
        """px of the generator's pictures."""
        return 1 << (self.layers // 2 + 1)


class Head(nn.Module):
    """Map of one level [N, C, s, s] -> code of one layer [N, w_dim] ("map2style").

    level: of the pyramid, 0 for the coarse; each further one has maps of twice the side.
    """

    def __init__(self, c_in: int, config: PspConfig, level: int) -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        for i in range(config.halvings + level):
            # The odd indices of the files are the activations.
            self.convs[str(2 * i)] = nn.Conv2d(c_in, config.width, 3, 2, 1)
            c_in = config.width
        self.linear = EqualLinear(config.width, config.w_dim)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convs.values():
            x = F.leaky_relu(convolution(x), SLOPE)
        code: Tensor = self.linear(x.flatten(1))
        return code


class Psp(Trunk):
    """image [N, 3, size, size] in [-1, 1], RGB -> ws [N, L, w_dim], each layer by itself."""

    def __init__(self, config: PspConfig) -> None:
        super().__init__(config.trunk)
        self.size, self.resolution = config.size, config.resolution
        self.layers, self.w_dim = config.layers, config.w_dim
        fine, middle, coarse = (width for width, _ in config.trunk.stages[-LEVELS:])
        self.styles = nn.ModuleList(
            Head(coarse, config, (i >= COARSE) + (i >= MIDDLE)) for i in range(config.layers)
        )
        self.latlayer1 = nn.Conv2d(middle, coarse, 1)
        self.latlayer2 = nn.Conv2d(fine, coarse, 1)
        side = 1 << config.halvings
        self.double1 = bilinear(side, 2 * side, corners=True)
        self.double2 = bilinear(2 * side, 4 * side, corners=True)
        self.register_buffer("latent_avg", torch.zeros(config.layers, config.w_dim))
        self.latent_avg: Tensor

    def codes(self, image: Tensor) -> Tensor:
        """What the heads give, [N, L, w_dim]."""
        fine, middle, coarse = self.maps(image)[-LEVELS:]
        middle = self.double1(coarse) + self.latlayer1(middle)
        fine = self.double2(middle) + self.latlayer2(fine)
        levels = (coarse, middle, fine)
        heads = [head(levels[(i >= COARSE) + (i >= MIDDLE)]) for i, head in enumerate(self.styles)]
        return torch.stack(heads, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.codes(image) + self.latent_avg


class E4e(Psp):
    """The same, but the first head's code is that of all layers, and the others add to it."""

    def codes(self, image: Tensor) -> Tensor:
        first, rest = torch.split(super().codes(image), [1, self.layers - 1], 1)
        return torch.cat([first, first + rest], 1)


NETWORKS = {"psp": Psp, "e4e": E4e}


def psp_from_tensors(tensors: Arrays, network: str) -> Psp:
    """Build the encoder, "psp" or "e4e", that the tensors describe. Raises ArchMismatch."""
    what = "an encoder of pSp or e4e"
    trunk = trunk_config(tensors, what)
    width = shape_of(tensors, "styles.0.convs.0.weight", 4, what)[0]
    w_dim = shape_of(tensors, "styles.0.linear.weight", 2, what)[0]
    halvings = sum(f"styles.0.convs.{2 * i}.weight" in tensors for i in range(16))
    if len(trunk.stages) < LEVELS:
        raise ArchMismatch(
            f"the trunk has {len(trunk.stages)} stages, expected {LEVELS} or more in {what}",
            hint="Is it another network?",
        )
    config = PspConfig(trunk, length_of(tensors, "styles"), w_dim, width, halvings)
    if max(config.size, config.resolution) > LARGEST:
        raise ArchMismatch(
            f"the encoder has {config.layers} heads for pictures of 2^{config.levels} px, "
            f"expected {LARGEST} px at most",
            hint="Is it damaged?",
        )
    return build(lambda: NETWORKS[network](config), tensors, what)
