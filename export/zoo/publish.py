"""Keep what a training run reached, in public formats and float16.

    python -m zoo.publish NAME RUN

The scripts write such files themselves, and they are copied; faces128 becomes a rosinality
checkpoint, {"g_ema", "latent_avg"}, and an encoder in safetensors. Then ship.py makes the bundle,
and zoo.cards.NAME measures it.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mien_export.nets.encoder import Encoder
from mien_export.nets.stylegan2 import Generator
from zoo.faces128 import ENCODER_FILE, PUBLISHED, Networks, averaged
from zoo.ship import BUNDLES, ZOO


def rosinality_from_nvlabs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a generator's tensors to rosinality's names and shapes; noise is left out."""
    renamed = {}
    for name, tensor in tensors.items():
        network, *rest = name.split(".")
        if network == "mapping":
            if rest[0].startswith("fc"):
                renamed[f"style.{int(rest[0][2:]) + 1}.{rest[1]}"] = tensor
        elif rest[1] == "const":
            renamed["input.input"] = tensor[None]
        elif key := _layer_name(rest):
            shaped = tensor
            if key.endswith("conv.weight"):
                shaped = tensor[None]
            elif key.endswith("noise.weight"):
                shaped = tensor.reshape(1)
            elif key.startswith("to_rgb") and key.endswith(".bias") and "modulation" not in key:
                shaped = tensor.reshape(1, 3, 1, 1)
            renamed[key] = shaped
    return renamed


def _layer_name(rest: list[str]) -> str | None:
    """rosinality's name of synthesis.b{r}.{layer}.{...}; None for what it does not store."""
    i = int(rest[0][1:]).bit_length() - 4  # 0 at 8 px
    if rest[1] == "torgb":
        layer = "to_rgb1" if i < 0 else f"to_rgbs.{i}"
    elif rest[1] in ("conv0", "conv1"):
        layer = "conv1" if i < 0 else f"convs.{2 * i + (rest[1] == 'conv1')}"
    else:
        return None
    bias = "bias" if rest[1] == "torgb" else "activate.bias"
    parts = {
        "weight": "conv.weight",
        "bias": bias,
        "noise_strength": "noise.weight",
        "affine.weight": "conv.modulation.weight",
        "affine.bias": "conv.modulation.bias",
    }
    part = parts.get(".".join(rest[2:]))
    return None if part is None else f"{layer}.{part}"


@torch.no_grad()
def equalise(generator: Generator, encoder: Encoder) -> None:
    """Scale the axes of w so that a step along each changes the styles alike; pictures stay.

    Training keeps w at unit variance, where most axes hardly change the picture, and a search that
    moves all axes alike (Adam) is slow along them. A leaky ReLU passes positive factors through,
    so the last layer of the mapping network takes them.
    """
    affines = [layer.affine for layer in generator.modules() if hasattr(layer, "affine")]
    effect = sum(affine.weight.square().sum(0) for affine in affines).sqrt()
    factor = effect / effect.square().mean().sqrt()
    for affine in affines:
        affine.weight /= factor
    last = getattr(generator.mapping, f"fc{generator.mapping.num_layers - 1}")
    last.weight *= factor[:, None]
    last.bias *= factor
    generator.mapping.w_avg *= factor
    layers = encoder.config.num_ws
    for head, scale in ((encoder.shared, factor), (encoder.offset_out, factor.repeat(layers))):
        head.weight *= scale[:, None]
        head.bias *= scale


def publish(net: Networks, folder: Path, encoder: Path) -> None:
    """Write the averaged networks."""
    equalise(net.generator, net.encoder)
    state = net.generator.state_dict()
    checkpoint = {
        "g_ema": {k: v.half() for k, v in rosinality_from_nvlabs(state).items()},
        "latent_avg": state["mapping.w_avg"].clone(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    encoder.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, folder / "generator.pt")
    save_file(_half(net.encoder.state_dict()), encoder)


def _half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.half().contiguous() for name, tensor in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BUNDLES, help="of the bundle")
    parser.add_argument("run", type=Path, help="folder of the training run")
    options = parser.parse_args()
    if options.name == "demo":
        publish(averaged(options.run), PUBLISHED, ENCODER_FILE)
        return
    kept = ZOO / BUNDLES[options.name].checkpoint
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(options.run / kept.name, kept)


if __name__ == "__main__":
    main()
