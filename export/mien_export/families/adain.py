"""AdaIN style transfer: an encoder with its decoder becomes a bundle."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mien_engines.errors import ArchMismatch
from mien_engines.spec import Gate
from mien_export.checkpoints import read_weights
from mien_export.checkpoints.faults import listed, naming
from mien_export.checkpoints.tensors import F32
from mien_export.checkpoints.vgg import vgg_from_tensors
from mien_export.content import Content, Extras
from mien_export.graph import BATCH, ENERGY, EXACT, Graph, floats, picture_spec
from mien_export.nets.build import build
from mien_export.nets.pictures import from_uint8, to_uint8
from mien_export.nets.style_decoder import WHAT, StyleDecoder, StyleTransfer, decoder_widths
from mien_export.nets.vgg import vgg_from_checkpoint

PARTS = ("encoder", "decoder")
EXAMPLE, OTHER = (64, 96), (80, 48)  # px, all different, or sizes are taken for one
SAMPLE = 256  # px
# A decoder sharpens: in bf16 single pixels of the texture move far while the picture stays (faces
# at 256 px in four styles: 1.4 levels of 255 on average, 99 of 100 pixels below 11).
STYLISED = Gate(kind="outputs", tolerance={"f32": 0.01, "bf16": 0.2, "fp16": 0.04})


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graphs style, transfer and stylize. Raises ModelError, InputError."""
    extras.only(family="adain")
    read = read_weights(checkpoint)
    parts = {part: _part(read.tensors, part) for part in PARTS}
    if not all(parts.values()):
        raise ArchMismatch(
            f"{checkpoint.name} holds {listed(read.tensors)}, expected tensors of encoder. and "
            "decoder.",
            hint="Name the file that zoo.adain wrote",
        )
    with naming(checkpoint):
        encoder = vgg_from_checkpoint(vgg_from_tensors(parts["encoder"], checkpoint.name))
        widths = decoder_widths(parts["decoder"])
        decoder = build(lambda: StyleDecoder(widths), parts["decoder"], WHAT)
        if len(widths) != len(encoder.stages) or widths[0][0] != encoder.widths[-1][0]:
            raise ArchMismatch(
                f"the decoder has {len(widths)} stages from {widths[0][0]} channels, the encoder "
                f"{len(encoder.stages)} to {encoder.widths[-1][0]}",
                hint="Do both come from one training?",
            )
    return Content(
        graphs=graphs(StyleTransfer(encoder, decoder)),
        format=read.format,
        sha256=read.sha256,
        properties={
            "channels": encoder.widths[-1][0],
            "multiple": 2 ** (len(widths) - 1),  # of it are the sides that come back as they were
            "least_side": 2 << (len(widths) - 1),
        },
    )


def _part(tensors: dict[str, F32], part: str) -> dict[str, F32]:
    start = f"{part}."
    return {name[len(start) :]: x for name, x in tensors.items() if name.startswith(start)}


class Style(nn.Module):
    """picture -> the mean and deviation that are its style."""

    def __init__(self, net: StyleTransfer) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        return self.net.style(from_uint8(picture))


class Transfer(nn.Module):
    """picture, style -> picture: what runs for each frame."""

    def __init__(self, net: StyleTransfer) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, picture: Tensor, mean: Tensor, deviation: Tensor, alpha: Tensor
    ) -> tuple[Tensor, Tensor]:
        return to_uint8(self.net(from_uint8(picture), mean, deviation, alpha))


class Stylize(nn.Module):
    """Two pictures -> one, in one pass."""

    def __init__(self, net: StyleTransfer) -> None:
        super().__init__()
        self.net = net

    def forward(self, content: Tensor, style: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = self.net.style(from_uint8(style))
        return to_uint8(self.net(from_uint8(content), mean, deviation, alpha))


def graphs(net: StyleTransfer) -> list[Graph]:
    """Return the graphs of the bundle; heights and widths are free."""
    channels = net.encoder.widths[-1][0]
    row = ("N", channels)
    style = (floats("mean", row, "of each plane"), floats("deviation", row, "of each plane"))
    alpha = floats("alpha", (1,), "strength: 0 redraws the content, 1 takes the style")
    full, examples = torch.ones(1), (_pictures(*EXAMPLE, 0), _pictures(*OTHER, 1))
    samples = _pictures(SAMPLE, SAMPLE, 2), _pictures(SAMPLE, SAMPLE, 3)
    drawn = (picture_spec("drawn", "H'", "W'"), ENERGY)
    return [
        Graph(
            "style", Style(net), (examples[0],), (picture_spec("picture", "H", "W"),), style,
            EXACT, samples={"picture": samples[0][:1]},
        ),
        Graph(
            "transfer", Transfer(net),
            (examples[0], torch.zeros(BATCH, channels), torch.ones(BATCH, channels), full),
            (picture_spec("picture", "H", "W"), *style, alpha), drawn, STYLISED, frequent=True,
            samples={"picture": samples[0][:1], "alpha": full},
        ),
        Graph(
            "stylize", Stylize(net), (*examples, full),
            (picture_spec("content", "H", "W"), picture_spec("style", "H2", "W2"), alpha), drawn,
            STYLISED, frequent=True,
            samples={"content": samples[0][:1], "style": samples[1][:1], "alpha": full},
        ),
    ]  # fmt: skip


def _pictures(height: int, width: int, seed: int) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (BATCH, height, width, 3), dtype=torch.uint8, generator=noise)
