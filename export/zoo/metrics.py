"""How far pictures are from each other, by networks that are not the zoo's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien_export.checkpoints import read_state_dict
from mien_export.steps.terms import Perceptual

U8 = NDArray[np.uint8]

CAFFE_MEAN = (104.0, 117.0, 123.0)  # BGR, 0..255: of the converted SqueezeNet


def squeezenet_maps(tensors: Mapping[str, Tensor], image: Tensor) -> list[Tensor]:
    """The seven maps of SqueezeNet 1.1 (Iandola et al. 2016) that LPIPS compares."""
    levels = ((image + 1) * 127.5).flip(1)
    x = levels - torch.tensor(CAFFE_MEAN)[:, None, None]
    x = F.relu(F.conv2d(x, tensors["features.0.weight"], tensors["features.0.bias"], stride=2))
    maps = [x]
    for i in (3, 4, 6, 7, 9, 10, 11, 12):
        if i in (3, 6, 9):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        part = {
            name: [tensors[f"features.{i}.{name}.{p}"] for p in ("weight", "bias")]
            for name in ("squeeze", "expand1x1", "expand3x3")
        }
        x = F.relu(F.conv2d(x, *part["squeeze"]))
        wide = (F.conv2d(x, *part["expand1x1"]), F.conv2d(x, *part["expand3x3"], padding=1))
        x = F.relu(torch.cat(wide, 1))
        maps += [x] if i in (4, 7, 9, 10, 11, 12) else []
    return maps


def squeeze_lpips(data: Path) -> Perceptual:
    """LPIPS 0.1 on SqueezeNet. The heads were fitted to torchvision's weights and these are
    Caffe's, so that values are near the published ones, not equal."""
    folder = data / "weights/lpips"
    read = read_state_dict(folder / "squeezenet1_1_converted.pt")
    tensors = {name: torch.from_numpy(value) for name, value in read.items()}
    lins = read_state_dict(folder / "squeeze.pth")
    heads = [torch.from_numpy(lins[f"lin{i}.model.1.weight"]).reshape(-1) for i in range(7)]
    return Perceptual(lambda image: squeezenet_maps(tensors, image), heads)


@torch.no_grad()
def distances(term: Perceptual, found: Tensor, wanted: Tensor) -> Tensor:
    """The term's value for each pair of images [N, 3, H, W] in [-1, 1]: [N]."""
    values: Tensor = term(term.features(found), term.features(wanted))
    return values


def psnr(found: U8, wanted: U8) -> float:
    """PSNR in dB, from the mean squared error of all pictures, uint8 [N, H, W, 3]."""
    error = np.square(found.astype(np.float64) - wanted).mean()
    return float(10 * np.log10(255**2 / error))
