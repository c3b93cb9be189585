"""VGG-16 or VGG-19, whole, cut or distilled: feature maps, LPIPS, AdaIN's code, Gatys' steps."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mien_engines.spec import TensorSpec
from mien_export.checkpoints import read_state_dict
from mien_export.checkpoints.faults import naming
from mien_export.checkpoints.vgg import read_vgg
from mien_export.content import Content, Extras
from mien_export.families.vgg_gatys import gatys_graphs
from mien_export.graph import BATCH, EXACT, Graph, floats, picture_spec
from mien_export.nets.lpips import LpipsFeatures, heads_from_tensors
from mien_export.nets.pictures import from_uint8
from mien_export.nets.vgg import Vgg, vgg_from_checkpoint
from mien_export.steps.terms import Perceptual

ADAIN_STAGE = 4  # relu4_1: Huang and Belongie 2017 (arXiv 1703.06868), section 5
EXAMPLE = (64, 96)  # height and width in px; not equal, or they are taken for one size
SAMPLE = 256  # px


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graphs of an encoder; `lpips` where the heads come with a VGG-16.

    Raises ModelError, InputError.
    """
    extras.only("lpips", family="vgg")
    read, sha256 = read_vgg(checkpoint)
    net = vgg_from_checkpoint(read)
    graphs = [_features(net)]
    if net.kind != "torchvision":
        graphs.append(_adain_encode(net))
    if extras.lpips is not None:
        graphs.append(_lpips(LpipsFeatures(net), extras.lpips))
    graphs += gatys_graphs(net)
    return Content(
        graphs=graphs,
        format=f"vgg-{read.kind}",
        sha256=sha256,
        properties={
            "convolutions": list(net.stages),
            "padding": "zeros" if net.kind == "torchvision" else "mirrored",
            "least_side": _least_side(net),
        },
    )


class Features(nn.Module):
    """picture -> reluS_1 of every stage S, at VGG-19's widths where the file brings them there."""

    def __init__(self, net: Vgg) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net.lifted(self.net(from_uint8(picture))))


class AdainEncode(nn.Module):
    """picture -> the map that the file's decoder starts from, as the network itself has it."""

    def __init__(self, net: Vgg, stage: int) -> None:
        super().__init__()
        self.net, self.stage = net, stage

    def forward(self, picture: Tensor) -> Tensor:
        code: Tensor = self.net(from_uint8(picture))[self.stage - 1][0]
        return code


class Lpips(nn.Module):
    """Two pictures -> their distance."""

    def __init__(self, term: Perceptual) -> None:
        super().__init__()
        self.term = term

    def forward(self, picture_a: Tensor, picture_b: Tensor) -> Tensor:
        a, b = (self.term.features(from_uint8(p)) for p in (picture_a, picture_b))
        distance: Tensor = self.term(a, b)
        return distance


def _features(net: Vgg) -> Graph:
    module = Features(net)
    maps = module(_example(0))
    return Graph(
        "features",
        module,
        (_example(0),),
        (picture_spec("picture", "H", "W"),),
        tuple(_map_spec(stage, x.shape[1]) for stage, x in enumerate(maps, 1)),
        EXACT,
        samples={"picture": _sample(0)},
    )


def _adain_encode(net: Vgg) -> Graph:
    # A file that ends in convS_1 was cut where its decoder begins; a whole one has AdaIN's layer.
    stage = len(net.stages) if net.stages[-1] == 1 else min(ADAIN_STAGE, len(net.stages))
    module = AdainEncode(net, stage)
    return Graph(
        "adain_encode",
        module,
        (_example(0),),
        (picture_spec("picture", "H", "W"),),
        (_map_spec(stage, net.widths[stage - 1][0]),),
        EXACT,
        samples={"picture": _sample(0)},
    )


def _lpips(features: LpipsFeatures, heads: Path) -> Graph:
    with naming(heads):
        weights = heads_from_tensors(read_state_dict(heads), features.widths())
    term = Perceptual(features, weights)
    return Graph(
        "lpips",
        Lpips(term),
        (_example(0), _example(1)),
        (picture_spec("picture_a", "H", "W"), picture_spec("picture_b", "H", "W")),
        (floats("distance", ("N",), "LPIPS 0.1, VGG-16: 0 for equal pictures"),),
        EXACT,
        samples={"picture_a": _sample(0), "picture_b": _sample(1)},
    )


def _map_spec(stage: int, channels: int) -> TensorSpec:
    part = "" if stage == 1 else f"/{2 ** (stage - 1)}"
    return floats(f"relu{stage}_1", ("N", channels, f"H{part}", f"W{part}"), "behind the ReLU")


def _least_side(net: Vgg) -> int:
    """The smallest side in px: one pixel in the last stage, two where its edge is mirrored."""
    return (1 if net.kind == "torchvision" else 2) << (len(net.stages) - 1)


def _example(seed: int) -> Tensor:
    return _picture(BATCH, *EXAMPLE, seed)


def _sample(seed: int) -> Tensor:
    return _picture(1, SAMPLE, SAMPLE, seed)


def _picture(count: int, height: int, width: int, seed: int) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=noise)
