"""Give a training run a mapping network whose w are distributed as the encoder's codes of faces.

    python -m zoo.refit RUN --data DATA --out REFITTED

The adversary can drive the mapping away from the codes that the generator is trained to draw, and
then random samples collapse while reconstructions stay good. Here the mapping is trained anew, by
regression on the Gaussian that has the codes' mean and covariance: a z goes to one w, so it needs
seconds, and the covariance comes out right, which sliced distances of 192 axes do not reach. RUN
itself is only read. Then comes zoo.publish demo REFITTED.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from mien_export.nets.encoder import Encoder
from mien_export.nets.layers import EqualLinear, normalise_second_moment
from mien_export.nets.stylegan2 import Generator, MappingNetwork
from zoo.faces import as_images, learnt_and_held, load_faces
from zoo.faces128 import FOLDED, averaged, fold_offsets
from zoo.head_start import CONFIG
from zoo.training import load, save

STEPS, BATCH, RATE = 3000, 512, 0.3
AVERAGED_OVER = 20_000  # samples behind w_avg


@torch.no_grad()
def codes_of(encoder: Encoder, images: Tensor) -> Tensor:
    """Return the mean code over the layers of images [N, 3, 128, 128]: [N, 192]."""
    with torch.autocast("cpu", torch.bfloat16):
        codes = [
            encoder(x.contiguous(memory_format=torch.channels_last))
            for x in torch.split(images, 128)
        ]
    return torch.cat(codes).float().mean(1)


@torch.no_grad()
def axis_effects(generator: Generator) -> Tensor:
    """Return how strongly each axis of w changes the styles of all layers: [192]."""
    affines = [layer for layer in generator.synthesis.modules() if isinstance(layer, EqualLinear)]
    return torch.cat([affine.weight for affine in affines]).square().sum(0).sqrt()


def gaussian_mapping(codes: Tensor, effects: Tensor) -> MappingNetwork:
    """Train a mapping to z -> mean + L z, L L^T the covariance of codes [N, 192].

    effects: the weight of each axis, [192].
    """
    random = torch.Generator().manual_seed(0)
    mean, (values, axes) = codes.mean(0), torch.linalg.eigh(torch.cov(codes.t()))
    spread = (axes * values.clamp_min(0).sqrt()).t()
    weight = effects / effects.square().mean().sqrt()
    mapping = MappingNetwork(CONFIG)
    optimiser = torch.optim.Adam(mapping.parameters(), RATE, (0.9, 0.99))
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        z = torch.randn(BATCH, CONFIG.z_dim, generator=random)
        wanted = mean + normalise_second_moment(z) @ spread
        loss = ((mapping(z) - wanted) * weight).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        z = torch.randn(AVERAGED_OVER, CONFIG.z_dim, generator=random)
        mapping.w_avg.copy_(mapping(z).mean(0))
    return mapping


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the training run, only read")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the refitted run")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small products: more threads only wait for each other
    net = averaged(options.run)
    faces = load_faces(options.data, CONFIG.resolution)
    train, _ = learnt_and_held(options.data)
    fold_offsets(net.generator, net.encoder, as_images(faces[train[:FOLDED]]))
    codes = codes_of(net.encoder, as_images(faces[train]))
    mapping = gaussian_mapping(codes, axis_effects(net.generator))
    net.generator.mapping.load_state_dict(mapping.state_dict())
    options.out.mkdir(parents=True, exist_ok=True)
    record, state = load(options.run)
    save(options.out, record, state | {"averages": net.state_dict()})


if __name__ == "__main__":
    main()
