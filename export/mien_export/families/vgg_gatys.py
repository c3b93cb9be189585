"""The graphs of Gatys' style transfer over a VGG: targets, and the steps for sets of layers.

A layer whose weight is zero is computed all the same, and so is what lies before it. So there are
two steps: one of every layer, for any choice of them, and one that ends where the published recipe
does and holds nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mien_engines.spec import Gate, TensorSpec
from mien_export.graph import BATCH, EXACT, Graph, floats, image_spec, picture_spec
from mien_export.nets.vgg import Vgg
from mien_export.steps.pixels import TERMS, GatysGradient, GatysStep, GatysTargets, Layers

# Height and width in px. The sides of the content are odd in every stage, so that the gradient of
# a pooling is traced with a row that no tile covers.
CONTENT, STYLE = (95, 63), (80, 48)
SAMPLE = 128  # px: enough to rank backends by time, and a gate of 20 steps takes seconds
COARSE = 8  # px of a sample before it is enlarged: it has structure at every scale
STYLE_WEIGHT, RATE = 1e6, 0.05  # of the samples

# As of other steps, but for bf16: on the samples it arrives 5 % higher than f32 in mien's own VGG;
# on pictures, in VGG-19, no higher (benchmarks/gatys.py).
DESCENT = Gate(
    kind="loop", steps=20, watch="loss", tolerance={"f32": 0.02, "bf16": 0.1, "fp16": 0.1}
)
# f32 alone: a quasi-Newton method takes differences of gradients, which bf16 rounds away.
GRADIENT = Gate(kind="outputs", tolerance={"f32": 1e-3})


def gatys_graphs(net: Vgg) -> list[Graph]:
    """Return the targets, and a step and a gradient for each set of layers."""
    every = Layers(net.layers, net.layers)
    steps = [graph for name, layers in sets(net).items() for graph in _of_set(net, name, layers)]
    return [_targets(net, every), *steps]


def sets(net: Vgg) -> dict[str, Layers]:
    """Return the sets of layers by name: "" of all, and "published", system 2's.

    That one is every convolution up to conv3_1, and the content of stage 2's last. A network that
    ends before conv3_1 goes without it.
    """
    found = {"": Layers(net.layers, net.layers)}
    if len(net.stages) >= 3:
        style = net.layers[: net.layers.index("conv3_1") + 1]
        found["published"] = Layers(style, (style[-2],))
    return found


def graph_name(of_set: str, kind: str) -> str:
    """Name a graph: gatys_step, gatys_published_step."""
    return "_".join(part for part in ("gatys", of_set, kind) if part)


def _targets(net: Vgg, layers: Layers) -> Graph:
    specs = [
        image_spec("image", "H", "W"),
        *(floats(name, _IMAGE, "zero, as before the first step") for name in "mv"),
        *_target_specs(net, layers),
    ]
    return Graph(
        graph_name("", "targets"),
        GatysTargets(net, layers),
        (_picture(BATCH, *CONTENT, 0), _picture(BATCH, *STYLE, 1)),
        (picture_spec("content", "H", "W"), picture_spec("style", "S", "T")),
        tuple(specs),
        EXACT,
        samples={
            "content": _picture(1, SAMPLE, SAMPLE, 0),
            "style": _picture(1, SAMPLE, SAMPLE, 1),
        },
    )


def _of_set(net: Vgg, name: str, layers: Layers) -> Iterator[Graph]:
    """Yield the step and the gradient of a set."""
    content, style = (_picture(BATCH, *size, i) for i, size in enumerate((CONTENT, STYLE)))
    with torch.no_grad():
        image, m, v, *targets = GatysTargets(net, layers)(content, style)
    weights = {
        "style_weights": torch.ones(len(layers.style)),
        "content_weights": torch.ones(len(layers.content)),
        "smoothness": torch.zeros(1),
    }
    fixed = [
        floats("style_weights", (len(layers.style),), f"of {', '.join(layers.style)}"),
        floats("content_weights", (len(layers.content),), f"of {', '.join(layers.content)}"),
        floats("smoothness", (1,), "weight of the squared differences of neighbours"),
        *_target_specs(net, layers),
    ]
    found = [
        floats("loss", ("N",), "the sum of the terms"),
        floats("terms", ("N", len(TERMS)), ", ".join(TERMS)),
    ]
    adam = {"t": torch.zeros(1), "rate": torch.full((1,), RATE), "decay": torch.ones(1)}
    yield Graph(
        graph_name(name, "step"),
        GatysStep(net, layers),
        (image, m, v, *adam.values(), *weights.values(), *targets),
        (
            *_state("", floats("t", (1,), "steps already taken")),
            floats("rate", (1,), "learning rate of the first step"),
            floats("decay", (1,), "factor of the learning rate at each later step"),
            *fixed,
        ),
        (*_state("_next", floats("t_next", (1,), "steps taken")), *found),
        DESCENT,
        state={f"{part}_next": part for part in ("image", "m", "v", "t")},
        samples=adam | weights | {"style_weights": weights["style_weights"] * STYLE_WEIGHT},
    )
    yield Graph(
        graph_name(name, "gradient"),
        GatysGradient(net, layers),
        (image, *weights.values(), *targets),
        (image_spec("image", "H", "W"), *fixed),
        (*found, floats("gradient", _IMAGE, "of the loss by the image")),
        GRADIENT,
        frequent=True,
        samples=weights,
    )


_IMAGE = ("N", 3, "H", "W")


def _state(suffix: str, taken: TensorSpec) -> tuple[TensorSpec, ...]:
    return (
        image_spec(f"image{suffix}", "H", "W"),
        floats(f"m{suffix}", _IMAGE, "mean of the gradient"),
        floats(f"v{suffix}", _IMAGE, "mean of its square"),
        taken,
    )


def _target_specs(net: Vgg, layers: Layers) -> list[TensorSpec]:
    return [
        *(
            floats(
                f"content_{name}",
                ("N", _width(net, name), *(f"{side}{_scale(name)}" for side in "HW")),
                "before the ReLU",
            )
            for name in layers.content
        ),
        *(
            floats(f"gram_{name}", ("N", _width(net, name), _width(net, name)), "over C H W")
            for name in layers.style
        ),
    ]


def _width(net: Vgg, name: str) -> int:
    stage, index = (int(part) for part in name.removeprefix("conv").split("_"))
    return net.widths[stage - 1][index - 1]


def _scale(name: str) -> str:
    """What a side is divided by in a layer, as a name of the size: "" or "/4"."""
    stage = int(name.removeprefix("conv").partition("_")[0])
    return "" if stage == 1 else f"/{2 ** (stage - 1)}"


def _picture(count: int, height: int, width: int, seed: int) -> Tensor:
    """Blurred noise, uint8 [count, height, width, 3]: smooth enough that Gram matrices differ."""
    noise = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, COARSE << seed, COARSE, generator=noise) * 255
    fine = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return fine.permute(0, 2, 3, 1).round().to(torch.uint8).contiguous()
