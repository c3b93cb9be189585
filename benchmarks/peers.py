"""Peers' own code beside mien's export of the same random weights, in one process.

    python benchmarks/peers.py --stylegan2 CHECKOUT --adain CHECKOUT --iresnet CHECKOUT

Checkouts of rosinality/stylegan2-pytorch, naoto0804/pytorch-AdaIN, and the folder
recognition/arcface_torch of deepinsight/insightface, whose code is under the MIT licence; none of
it comes with mien. Each draws its weights at random; mien reads them as it reads a checkpoint, and
results are held against each other before anything is timed. Peers run as they are written, eager.
rosinality compiles CUDA kernels as it is imported, under another licence; they are left out, since
its CPU path does not call them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import torch.utils.cpp_extension
from networks import Work, options_of, report
from torch import Tensor, nn

from mien_export.checkpoints import read_stylegan2
from mien_export.checkpoints.arcface import read_arcface
from mien_export.checkpoints.vgg import read_vgg
from mien_export.families import arcface
from mien_export.families.stylegan2 import generator_from_checkpoint
from mien_export.graph import floats, image_spec
from mien_export.nets.style_decoder import StyleDecoder, StyleTransfer
from mien_export.nets.vgg import vgg_from_checkpoint

SIDE = 256  # px, of AdaIN
RELU4_1 = 31  # modules of the encoder up to there
DECODER = ((512, 256), (256, 256, 256, 256, 128), (128, 128, 64), (64, 64, 3))


class Codes(nn.Module):
    """rosinality's generator, given W+ codes."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, ws: Tensor) -> Tensor:
        drawn: Tensor = self.net([ws], input_is_latent=True, randomize_noise=False)[0]
        return drawn


class OwnStylize(nn.Module):
    """content, style -> image: the style is encoded at every call."""

    def __init__(self, net: StyleTransfer) -> None:
        super().__init__()
        self.net = net

    def forward(self, content: Tensor, style: Tensor, alpha: Tensor) -> Tensor:
        mean, deviation = self.net.style(style * 2 - 1)
        drawn: Tensor = self.net(content * 2 - 1, mean, deviation, alpha)
        return (drawn + 1) / 2


class PeerStylize(nn.Module):
    """The same of pytorch-AdaIN, by what its test.py calls."""

    def __init__(self, net: ModuleType, function: ModuleType) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*list(net.vgg.children())[:RELU4_1])
        self.decoder, self.function = net.decoder, function

    def forward(self, content: Tensor, style: Tensor, alpha: Tensor) -> Tensor:
        code, wanted = self.encoder(content), self.encoder(style)
        moved = self.function.adaptive_instance_normalization(code, wanted)
        drawn: Tensor = self.decoder(moved * alpha + code * (1 - alpha))
        return drawn


@contextmanager
def importing(folder: Path) -> Iterator[None]:
    """Let modules be imported from a checkout; CUDA sources are not compiled meanwhile."""
    sys.path.insert(0, str(folder))
    try:
        with patch.object(torch.utils.cpp_extension, "load", lambda *_, **__: None):
            yield
    finally:
        sys.path.remove(str(folder))


def stylegan2(checkout: Path, folder: Path) -> Work:
    with importing(checkout):
        theirs = import_module("model").Generator(128, 512, 8).eval().requires_grad_(False)
    file = folder / "stylegan2.pt"
    torch.save({"g_ema": theirs.state_dict(), "latent_avg": torch.zeros(512)}, file)
    ours = generator_from_checkpoint(read_stylegan2(file))
    return Work(
        "stylegan2", "StyleGAN2, 128 px, published widths", ours.synthesis,
        (floats("ws", ("N", 12, 512), "codes"),), image_spec("image", 128, 128),
        lambda n: (torch.randn(n, 12, 512),), (1, 4),
        peers={"rosinality, eager": Codes(theirs)},
    )  # fmt: skip


def adain(checkout: Path, folder: Path) -> Work:
    with importing(checkout):
        theirs = PeerStylize(import_module("net"), import_module("function"))
    theirs = theirs.eval().requires_grad_(False)
    for layer in theirs.modules():
        if isinstance(layer, nn.Conv2d):  # maps keep their size, as those of trained networks
            nn.init.kaiming_normal_(layer.weight)
    file = folder / "vgg.pth"
    torch.save(theirs.encoder.state_dict(), file)
    decoder = StyleDecoder(DECODER)
    convolutions = [layer for layer in theirs.decoder if isinstance(layer, nn.Conv2d)]
    theirs_by_place = [x for layer in convolutions for x in (layer.weight, layer.bias)]
    decoder.load_state_dict(dict(zip(decoder.state_dict(), theirs_by_place, strict=True)))
    # They draw in [0, 1], mien in [-1, 1].
    last = list(decoder.parameters())[-2:]
    for parameter in last:
        parameter.data.mul_(2)
    last[1].data.sub_(1)
    ours = OwnStylize(StyleTransfer(vgg_from_checkpoint(read_vgg(file)[0]), decoder))
    return Work(
        "adain", f"AdaIN, {SIDE} px, a style a call", ours.requires_grad_(False),
        (image_spec("content", SIDE, SIDE), image_spec("style", SIDE, SIDE),
         floats("alpha", (1,), "strength")), image_spec("drawn", SIDE, SIDE),
        lambda n: (torch.rand(n, 3, SIDE, SIDE), torch.rand(n, 3, SIDE, SIDE), torch.ones(1)),
        peers={"pytorch-AdaIN, eager": theirs},
    )  # fmt: skip


def iresnet(checkout: Path, folder: Path) -> Work:
    with importing(checkout):
        theirs = import_module("backbones").iresnet50(False).eval().requires_grad_(False)
    file = folder / "iresnet50.pth"
    torch.save(theirs.state_dict(), file)
    ours = arcface.network(read_arcface(file))
    return Work(
        "iresnet", "ArcFace iresnet50, 112 px", ours, (image_spec("image", 112, 112),),
        floats("embedding", ("N", 512), "of a face"),
        lambda n: (torch.rand(n, 3, 112, 112) * 2 - 1,), (1, 8),
        peers={"insightface, eager": theirs},
    )  # fmt: skip


PEERS = {"stylegan2": stylegan2, "adain": adain, "iresnet": iresnet}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in PEERS:
        parser.add_argument(f"--{name}", type=Path, metavar="CHECKOUT")
    options = options_of(parser)
    with tempfile.TemporaryDirectory() as folder:
        named = {name: checkout for name in PEERS if (checkout := getattr(options, name))}
        torch.manual_seed(0)
        report((PEERS[name](path, Path(folder)) for name, path in named.items()), options)


if __name__ == "__main__":
    main()
