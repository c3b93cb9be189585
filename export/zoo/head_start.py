"""Bring the 64 px head start to 128 px, with one w for all layers.

The head start's encoder gives every layer of the generator a code of its own, and there is no
mapping network. Principal components u of all layers' codes together make it a generator with a w:
W+_l = mean_l + P_l u, and P_l and mean_l go into the affine of layer l. A broadcast u then gives
the same picture as its codes, and u has zero mean and unit variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien_export.nets.encoder import PATCH, Encoder, EncoderConfig, Stage
from mien_export.nets.stylegan2 import Config, Generator

W_DIM, START_WS = 192, 10
CONFIG = Config((192, 192, 192, 96, 48, 24), W_DIM, W_DIM, mapping_layers=3)
ENCODER = EncoderConfig()


def start_codes(start: Mapping[str, Any], images: Tensor) -> Tensor:
    """The head start's own W+ codes [N, 10, 192] of images [N, 3, 128, 128]."""
    with torch.no_grad():
        parts = [_start_encoder(start)(F.avg_pool2d(x, 2)) for x in images.split(128)]
    return torch.cat(parts).view(-1, START_WS, W_DIM)


def _start_encoder(start: Mapping[str, Any]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for c_in, c_out in ((3, 48), (48, 96), (96, 160), (160, 224)):
        layers += [nn.Conv2d(c_in, c_out, 4, 2, 1), nn.BatchNorm2d(c_out), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(c_out, c_out, 3, 1, 1), nn.BatchNorm2d(c_out), nn.LeakyReLU(0.2)]
    head = (nn.Linear(224 * 16, 512), nn.LeakyReLU(0.2), nn.Linear(512, START_WS * W_DIM))
    net = nn.Sequential(*layers, nn.Flatten(), *head)
    net.load_state_dict(start["E_ema"])
    return net.float().eval()


def components(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Principal components of codes [N, 10, 192]: mean [1920], P [1920, 192] in units of sigma."""
    flat = codes.flatten(1)
    mean = flat.mean(0)
    _, sigma, basis = torch.linalg.svd(flat - mean, full_matrices=False)
    return mean, basis[:W_DIM].t() * (sigma[:W_DIM] / math.sqrt(len(flat)))


def generator_from(start: Mapping[str, Any], mean: Tensor, p: Tensor) -> Generator:
    """The head start's generator on w = u, with a block for 128 px that adds nothing yet."""
    generator = Generator(CONFIG)
    state = {name: x.float() for name, x in start["G_ema"].items()}
    for name in [n for n in state if n.endswith("affine.weight")]:
        layer = layer_of(name)
        rows = slice(layer * W_DIM, (layer + 1) * W_DIM)
        weight = state[name]
        bias = name.replace("weight", "bias")
        state[bias] = state[bias] + weight @ mean[rows] / math.sqrt(W_DIM)
        state[name] = weight @ p[rows]
    generator.load_state_dict(state, strict=False)
    with torch.no_grad():
        new = generator.synthesis.b128
        new.torgb.weight.zero_()
        for affine in (new.conv0.affine, new.conv1.affine, new.torgb.affine):
            affine.weight.mul_(0.1)
        for layer in generator.modules():
            if hasattr(layer, "noise_strength"):
                layer.noise_strength.zero_()
    return generator


def layer_of(name: str) -> int:
    """Which code of W+ an affine of the generator reads."""
    _, block, part, *_ = name.split(".")
    i = int(math.log2(int(block[1:]))) - 2
    return {"conv0": 2 * i - 1, "conv1": 2 * i, "torgb": 2 * i + 1}[part]


def encoder_from(start: Mapping[str, Any], mean: Tensor, p: Tensor) -> Encoder:
    """The head start's encoder on 128 px patches, normalisation folded, wide layers factored."""
    encoder, old = Encoder(ENCODER), {k: v.float() for k, v in start["E_ema"].items()}
    with torch.no_grad():
        for i, stage in enumerate(encoder.stages):
            assert isinstance(stage, Stage)
            down, down_bias = _folded(old, 6 * i)
            same, same_bias = _folded(old, 6 * i + 3)
            if i == 0:  # the mean of each patch, as the 64 px picture was
                down = down.repeat_interleave(PATCH**2, 1) / PATCH**2
            _set(stage.down, down, down_bias)
            _set(stage.same, same, same_bias)
        u, s, v = torch.linalg.svd(old["25.weight"], full_matrices=False)
        rank = ENCODER.head_rank
        encoder.squeeze.weight.copy_(v[:rank])
        encoder.expand.weight.copy_(u[:, :rank] * s[:rank])
        encoder.expand.bias.copy_(old["25.bias"])
        inverse = p.t() / p.square().sum(0)[:, None]  # columns of P are orthogonal
        encoder.shared.weight.copy_(inverse @ old["27.weight"])
        encoder.shared.bias.copy_(inverse @ (old["27.bias"] - mean))
        encoder.offset_out.weight.zero_()
        encoder.offset_out.bias.zero_()
    return encoder


def _folded(old: Mapping[str, Tensor], i: int) -> tuple[Tensor, Tensor]:
    """Convolution i of the head start with the batch normalisation behind it."""
    scale = old[f"{i + 1}.weight"] / (old[f"{i + 1}.running_var"] + 1e-5).sqrt()
    bias = (old[f"{i}.bias"] - old[f"{i + 1}.running_mean"]) * scale + old[f"{i + 1}.bias"]
    return old[f"{i}.weight"] * scale[:, None, None, None], bias


def _set(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Give weight to a convolution, or its best factors to a factored one."""
    if isinstance(layer, nn.Conv2d):
        layer.weight.copy_(weight)
        assert layer.bias is not None
        layer.bias.copy_(bias)
        return
    assert isinstance(layer, nn.Sequential)
    narrow, wide = layer
    assert isinstance(narrow, nn.Conv2d)
    assert isinstance(wide, nn.Conv2d)
    assert wide.bias is not None
    u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    rank = narrow.out_channels
    narrow.weight.copy_(v[:rank].view_as(narrow.weight))
    wide.weight.copy_((u[:, :rank] * s[:rank])[:, :, None, None])
    wide.bias.copy_(bias)
