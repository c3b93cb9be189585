"""System 0: a VAE's encoder, a generator and a merge become a bundle."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mien_export.checkpoints.faults import naming
from mien_export.checkpoints.keras import read_own_weights
from mien_export.content import Content, Extras
from mien_export.families.pictures import Render, noise_pictures
from mien_export.graph import BATCH, ENERGY, EXACT, PICTURE, Graph, floats, picture_spec
from mien_export.nets.build import build
from mien_export.nets.pictures import from_uint8, to_uint8
from mien_export.nets.vaegan import WHAT, VaeGan, config_from_tensors, merge_plain


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graphs of encoder, generator and merge. Raises ModelError, InputError."""
    extras.only(family="vaegan")
    read = read_own_weights(checkpoint, ("encoder.mu", "encoder.logvar"), ("generator.first",))
    with naming(checkpoint):
        sizes = config_from_tensors(read.tensors)
        net = build(lambda: VaeGan(sizes), read.tensors, WHAT)
    config = net.config
    return Content(
        graphs=graphs(net),
        format=read.format,
        sha256=read.sha256,
        properties={
            "resolution": config.resolution,
            "latent": config.latent,
            "blocks": net.generator.blocks,
        },
    )


class Encode(nn.Module):
    """picture -> mu, logvar."""

    def __init__(self, net: VaeGan) -> None:
        super().__init__()
        self.encoder = net.encoder

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(from_uint8(picture))
        return mu, logvar


class MergeCodes(nn.Module):
    """Codes of two faces -> one picture; weight says how much of the merge each block takes."""

    def __init__(self, net: VaeGan, merge: nn.Module) -> None:
        super().__init__()
        self.generator, self.merge = net.generator, merge

    def forward(self, own: Tensor, other: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        merged = self.merge(own, other)
        codes = own.unsqueeze(1) + weight[None, :, None] * (merged - own).unsqueeze(1)
        return *to_uint8(self.generator(codes)), codes


class MergePictures(nn.Module):
    """Two pictures -> one, in one pass."""

    def __init__(self, net: VaeGan, merge: nn.Module) -> None:
        super().__init__()
        self.encoder, self.codes = net.encoder, MergeCodes(net, merge)

    def forward(
        self, content: Tensor, pattern: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        own, other = (self.encoder(from_uint8(picture))[0] for picture in (content, pattern))
        result: tuple[Tensor, Tensor, Tensor] = self.codes(own, other, weight)
        return result


class Plain(nn.Module):
    """The merge without parameters."""

    def forward(self, content: Tensor, pattern: Tensor) -> Tensor:
        return merge_plain(content, pattern)


def graphs(net: VaeGan) -> list[Graph]:
    """Return the graphs of the bundle."""
    size, latent, blocks = net.config.resolution, net.config.latent, net.generator.blocks
    picture = picture_spec("picture", size, size)
    random = torch.Generator().manual_seed(0)
    pictures = noise_pictures(size, random)
    z = torch.randn(BATCH, latent, generator=random)
    repeated = z.unsqueeze(1).repeat(1, blocks, 1)
    codes = floats("codes", ("N", blocks, latent), "a code for each block")
    return [
        Graph(
            "encode",
            Encode(net),
            (pictures,),
            (picture,),
            (
                floats("mu", ("N", latent), "the face's code"),
                floats("logvar", ("N", latent), "log of the posterior's variance"),
            ),
            EXACT,
            samples={"picture": pictures[:1]},
        ),
        Graph(
            "generate",
            Render(net.generator),
            (repeated,),
            (codes,),
            (picture, ENERGY),
            PICTURE,
            samples={"codes": repeated[:1]},
        ),
        *_merges("merge", net, net.merge, pictures, z),
        *_merges("merge_plain", net, Plain(), pictures, z),
    ]


def _merges(
    name: str, net: VaeGan, merge: nn.Module, pictures: Tensor, z: Tensor
) -> tuple[Graph, Graph]:
    """The merge of two pictures, and that of codes, for one face with many others."""
    size, (_, latent), blocks = pictures.shape[1], z.shape, net.generator.blocks
    weight = torch.ones(blocks)
    weights = floats("weight", (blocks,), "of each block: 0 the content's code, 1 the merge")
    outputs = (
        picture_spec("picture", size, size),
        ENERGY,
        floats("codes", ("N", blocks, latent), "a code for each block"),
    )
    return (
        Graph(
            name,
            MergePictures(net, merge),
            (pictures, pictures.flip(0), weight),
            (picture_spec("content", size, size), picture_spec("pattern", size, size), weights),
            outputs,
            PICTURE,
            frequent=True,
            samples={"content": pictures[:1], "pattern": pictures[1:], "weight": weight},
        ),
        Graph(
            f"{name}_codes",
            MergeCodes(net, merge),
            (z, z.flip(0), weight),
            (
                floats("content_mu", ("N", latent), "code of the face that is kept"),
                floats("pattern_mu", ("N", latent), "code of the face that positions it"),
                weights,
            ),
            outputs,
            PICTURE,
            samples={"content_mu": z[:1], "pattern_mu": z[1:], "weight": weight},
        ),
    )
