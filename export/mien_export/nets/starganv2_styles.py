"""Where the styles of StarGAN v2 come from: mapping network and style encoder.

Choi et al. 2020 (arXiv 1912.01865). Parameters carry the names and the values of clovaai's
checkpoints. Sizes come from the tensors.
"""

from __future__ import annotations

from itertools import count, pairwise, takewhile

import torch
from torch import Tensor, nn

from mien_export.nets.build import Arrays, build, length_of, shape_of
from mien_export.nets.starganv2 import SLOPE, ResidualBlock


class MappingNetwork(nn.Module):
    """z [N, latent_dim], standard normal -> a style for every domain [N, domains, style_dim]."""

    def __init__(self, shared: list[int], unshared: list[int], domains: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(*_linear_layers(shared), nn.ReLU())
        self.unshared = nn.ModuleList(
            nn.Sequential(*_linear_layers(unshared)) for _ in range(domains)
        )
        self.latent_dim, self.style_dim = shared[0], unshared[-1]

    def forward(self, z: Tensor) -> Tensor:
        hidden = self.shared(z)
        return torch.stack([head(hidden) for head in self.unshared], 1)


class StyleEncoder(nn.Module):
    """image [N, 3, R, R] -> its style for every domain [N, domains, style_dim].

    widths: channels of the features at full size and behind each block; the last are of 4 px.
    """

    def __init__(self, widths: list[int], style_dim: int, domains: int) -> None:
        super().__init__()
        blocks = [ResidualBlock(a, b, normalise=False, down=True) for a, b in pairwise(widths)]
        self.shared = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1),
            *blocks,
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(widths[-1], widths[-1], 4),
            nn.LeakyReLU(SLOPE),
        )
        self.unshared = nn.ModuleList(nn.Linear(widths[-1], style_dim) for _ in range(domains))
        self.style_dim = style_dim

    def forward(self, image: Tensor) -> Tensor:
        features = self.shared(image).flatten(1)
        return torch.stack([head(features) for head in self.unshared], 1)


def of_domain(styles: Tensor, domain: Tensor) -> Tensor:
    """Choose a style for each sample: [N, domains, style_dim], int64 [N] -> [N, style_dim]."""
    index = domain.unsqueeze(1).unsqueeze(2).expand(-1, 1, styles.shape[2])
    return styles.gather(1, index).squeeze(1)


def mapping_from_tensors(tensors: Arrays) -> MappingNetwork:
    """Build the mapping network of a checkpoint. Raises ArchMismatch."""
    what = "the mapping network of a StarGAN v2"
    shared = _linear_sizes(tensors, "shared", what)
    unshared = _linear_sizes(tensors, "unshared.0", what)
    domains = length_of(tensors, "unshared")
    return build(lambda: MappingNetwork(shared, unshared, domains), tensors, what)


def style_encoder_from_tensors(tensors: Arrays) -> StyleEncoder:
    """Build the style encoder of a checkpoint. Raises ArchMismatch."""
    what = "the style encoder of a StarGAN v2"
    blocks = length_of(tensors, "shared") - 1  # an activation, without tensors, follows them
    layers = ["shared.0", *(f"shared.{i}.conv2" for i in range(1, blocks + 1))]
    widths = [shape_of(tensors, f"{layer}.weight", 4, what)[0] for layer in layers]
    style_dim = shape_of(tensors, "unshared.0.weight", 2, what)[0]
    domains = length_of(tensors, "unshared")
    return build(lambda: StyleEncoder(widths, style_dim, domains), tensors, what)


def _linear_sizes(tensors: Arrays, part: str, what: str) -> list[int]:
    """The widths between which linear layers lie; activations have the odd numbers."""
    depth = part.count(".") + 1
    numbers = {name.split(".")[depth] for name in tensors if name.startswith(f"{part}.")}
    layers = [0, *takewhile(lambda i: str(i) in numbers, count(2, 2))]
    shapes = [shape_of(tensors, f"{part}.{i}.weight", 2, what) for i in layers]
    return [shapes[0][1], *(shape[0] for shape in shapes)]


def _linear_layers(sizes: list[int]) -> list[nn.Module]:
    """Linear layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for c_in, c_out in pairwise(sizes):
        layers += [nn.Linear(c_in, c_out), nn.ReLU()]
    return layers[:-1]
