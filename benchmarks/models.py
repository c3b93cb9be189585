"""What the projection step is measured on: the zoo's networks, and those of the reference sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from small_vgg import SmallVgg
from torch import Tensor

from mien_engines import Source
from mien_export.checkpoints import read_safetensors, read_stylegan2
from mien_export.checkpoints.vgg import read_vgg
from mien_export.families.stylegan2 import OWN_FEATURES, generator_from_checkpoint
from mien_export.families.stylegan2_graphs import stylegan2_graphs, w_variance
from mien_export.nets import stylegan2
from mien_export.nets.encoder import encoder_from_tensors
from mien_export.nets.layers import DEMODULATION_EPS, blur
from mien_export.nets.resize import Resized
from mien_export.nets.stylegan2 import Config, Generator
from mien_export.nets.vgg import vgg_from_checkpoint
from mien_export.steps.latent import ProjectionStep
from mien_export.steps.terms import Perceptual
from mien_export.to_bundle import write_bundle

ROOT = Path(__file__).parents[1]
ZOO_CHECKPOINT = ROOT / "export" / "zoo" / "faces128" / "generator.pt"

# The reference sizes: 128 px, w of 512, channels min(8192 // resolution, 256), a small VGG.
WIDTHS = tuple(min(8192 // resolution, 256) for resolution in (4, 8, 16, 32, 64, 128))


def step_of(generator: Generator, perceptual: Perceptual) -> ProjectionStep:
    config = generator.config
    return ProjectionStep(
        generator.synthesis, perceptual, config.resolution, w_variance(generator)
    ).eval()


def zoo_step(checkpoint: Path) -> ProjectionStep:
    """The step of a checkpoint exported with the face encoder's features, as the zoo's is."""
    generator = generator_from_checkpoint(read_stylegan2(checkpoint))
    encoder = encoder_from_tensors(read_safetensors(OWN_FEATURES))
    features = Resized(encoder.features, generator.config.resolution, encoder.config.resolution)
    return step_of(generator, Perceptual(features))


def vgg_step(folder: Path, checkpoint: Path, vgg: Path) -> ProjectionStep:
    """The step of a checkpoint with the first map of each of a VGG's stages as features.

    Its bundle is written to folder.
    """
    generator = generator_from_checkpoint(read_stylegan2(checkpoint))
    net = vgg_from_checkpoint(read_vgg(vgg)[0]).eval().requires_grad_(False)
    perceptual = Perceptual(lambda image: [stage[0] for stage in net(image)])
    return _written(folder, generator, perceptual, "vgg-features")


def reference_step(folder: Path) -> ProjectionStep:
    """Random weights of the reference sizes; its bundle is written to folder."""
    torch.manual_seed(0)
    generator = Generator(Config(WIDTHS)).eval().requires_grad_(False)
    generator.drop_silent_noise()
    with torch.no_grad():
        z = torch.randn(1000, generator.config.z_dim)
        generator.mapping.w_avg.copy_(generator.mapping(z).mean(0))
    perceptual = Perceptual(SmallVgg().eval().requires_grad_(False))
    return _written(folder, generator, perceptual, "reference-sizes")


def _written(
    folder: Path, generator: Generator, perceptual: Perceptual, name: str
) -> ProjectionStep:
    config = generator.config
    write_bundle(
        folder,
        stylegan2_graphs(generator, perceptual),
        name=name,
        family="stylegan2",
        source=Source(file="none", format="for a measurement", sha256="0" * 64, licence="none"),
        properties={
            "resolution": config.resolution,
            "num_ws": config.num_ws,
            "w_dim": config.w_dim,
            "z_dim": config.z_dim,
        },
        constants={"w_mean": generator.mapping.w_avg.numpy()},
    )
    return step_of(generator, perceptual)


def modulated(
    x: Tensor,  # [N, c_in, H, W]
    weight: Tensor,  # [c_out, c_in, k, k]
    style: Tensor,  # [N, c_in]
    *,
    demodulate: bool = True,
    up_fir: Tensor | None = None,
) -> Tensor:
    """The modulated convolution as implementations have it: the style scales the weights, and the
    samples are convolved as groups of one convolution. A gradient then needs that of the weights.
    """
    n, c_in, h, w = x.shape
    c_out, k = weight.shape[0], weight.shape[2]
    own = weight[None] * style[:, None, :, None, None]  # [N, c_out, c_in, k, k]
    if demodulate:
        own = own * (own.square().sum((2, 3, 4), keepdim=True) + DEMODULATION_EPS).rsqrt()
    flat = x.reshape(1, n * c_in, h, w)
    if up_fir is None:
        y = F.conv2d(flat, own.reshape(n * c_out, c_in, k, k), padding=k // 2, groups=n)
        return y.reshape(n, c_out, h, w)
    turned = own.transpose(1, 2).reshape(n * c_in, c_out, k, k)
    y = F.conv_transpose2d(flat, turned, stride=2, groups=n)
    return blur(y.reshape(n, c_out, *y.shape[2:]), up_fir)


@contextlib.contextmanager
def weight_form() -> Iterator[None]:
    """Let generators compute in that form."""
    ours = stylegan2.modulated_convolution
    stylegan2.modulated_convolution = modulated
    try:
        yield
    finally:
        stylegan2.modulated_convolution = ours


def eager_loop(
    step: ProjectionStep, feeds: Mapping[str, NDArray], how: str = ""
) -> tuple[Callable[[], None], Callable[[], float]]:
    """The same search as a torch user writes it: autograd and torch.optim.Adam.

    how: "" as it is, "bf16" under autocast, "compile" by torch.compile, "weights" in the form whose
    weights depend on the code. Returns a call that takes a step, and one that tells the loss of the
    latest.
    """
    terms = torch.compile(step.terms) if how == "compile" else step.terms
    form = weight_form if how == "weights" else contextlib.nullcontext
    given = {name: torch.tensor(array) for name, array in feeds.items()}
    ws = given["ws"].requires_grad_(True)
    wanted = [given[name] for name in given if name.startswith("wanted_")]
    rate, decay = float(given["rate"]), float(given["decay"])
    optimiser = torch.optim.Adam([ws], lr=rate)
    losses: list[Tensor] = [torch.zeros(1)]
    taken = 0

    def take() -> None:
        nonlocal taken
        optimiser.param_groups[0]["lr"] = rate * decay**taken
        optimiser.zero_grad(set_to_none=True)
        with form(), torch.autocast("cpu", torch.bfloat16, enabled=how == "bf16"):
            loss = (terms(ws, given["target"], wanted) * given["term_weights"]).sum()
        loss.backward()
        optimiser.step()
        losses[0] = loss.detach()
        taken += 1

    return take, lambda: float(losses[0])
