"""The Gatys step, side by side in one process: mien's backends and torch eager, f32 and bf16.

    python benchmarks/gatys.py --weights vgg_normalised_conv3_1.pth --content A.jpg --style B.jpg
    python benchmarks/gatys.py ... --zeros            # the same weights in torchvision's layout
    python benchmarks/gatys.py --random vgg19         # random weights, mien's own pictures

The published layers and weights under Adam. Torch is what a user of it writes: autograd,
torch.optim.Adam, `autocast` and channels-last for bf16. Beside the times stands the loss that each
reaches after the same steps, which the same f32 network takes for all.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import calm  # noqa: F401
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rounds import CALLS, machine, median_and_p95, take_turns
from torch import Tensor

from mien.bundles import BUILT_IN, style_path
from mien.images import load
from mien_engines import Bundle, Source, backends
from mien_engines.errors import MienError
from mien_export.checkpoints.vgg import VggCheckpoint, read_vgg
from mien_export.families.vgg_gatys import gatys_graphs, graph_name, sets
from mien_export.nets.imagenet import SCALE, SHIFT
from mien_export.nets.vgg import Vgg, vgg_from_checkpoint
from mien_export.to_bundle import write_bundle

STYLE_WEIGHT, RATE = 1e6, 0.05
STEP = graph_name("published", "step")
MEASURED = ("ort", "ov", "ov-bf16")
RANDOM = {  # widths up to conv3_1, as the published recipe needs
    "vgg19": ((64, 64), (128, 128), (256,)),
    "small": ((8, 8), (8, 8), (16,)),
}
EAGER = "torch eager"

Feeds = Mapping[str, NDArray]


@dataclass(frozen=True)
class Row:
    """ratio: of torch's median at the same precision to this one's; best_ratio: of the best times.

    loss: after the steps, in f32, as a part of the loss at the start.
    """

    who: str
    precision: str
    median_ms: float
    p95_ms: float
    best_ms: float
    n: int
    ratio: float
    best_ratio: float
    loss: float


class Eager:
    """The published loss and Adam in torch, over the weights of a network."""

    def __init__(self, net: Vgg, feeds: Feeds, *, low: bool) -> None:
        self.layers = sets(net)["published"]
        self.net, self.low = net, low
        form = torch.channels_last if low else torch.contiguous_format
        self.net = net.to(memory_format=form)  # type: ignore[call-overload]
        given = {name: torch.tensor(array) for name, array in feeds.items()}
        self.grams = [given[f"gram_{name}"] for name in self.layers.style]
        self.contents = [given[f"content_{name}"] for name in self.layers.content]
        self.image = given["image"].to(memory_format=form).requires_grad_(True)
        self.optimiser = torch.optim.Adam([self.image], lr=RATE)

    def loss(self, image: Tensor) -> Tensor:
        x = self.net.input(image)
        total, last = image.new_zeros(()), self.layers.style[-1]
        grams, contents = iter(self.grams), iter(self.contents)
        for name, convolution in self.net.convs.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            edge = 1 if self.net.kind == "torchvision" else 0
            x = x if edge else F.pad(x, (1, 1, 1, 1), mode="reflect")
            x = F.conv2d(x, convolution.weight, convolution.bias, padding=edge)
            planes = x.flatten(2)
            gram = planes @ planes.transpose(1, 2) / (planes.shape[1] * planes.shape[2])
            total = total + STYLE_WEIGHT * F.mse_loss(gram.float(), next(grams))
            if name in self.layers.content:
                total = total + F.mse_loss(x.float(), next(contents))
            if name == last:
                return total
            x = F.relu(x)
        raise AssertionError("the network ends before the published layers")

    def step(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low):
            loss = self.loss(self.image)
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            self.image.clamp_(-1, 1)


def torchvision_layout(read: VggCheckpoint) -> VggCheckpoint:
    """Put the file's own first 1x1 convolution into conv1_1, behind ImageNet's statistics.

    All but the edges, which are zeros then, stay what they were.
    """
    tensors = dict(read.tensors)
    mix, mean = tensors.pop("input.weight")[:, :, 0, 0], tensors.pop("input.bias")
    scale, shift = np.array(SCALE, np.float32), np.array(SHIFT, np.float32)
    weight = tensors["conv1_1.weight"]
    # The 1x1 takes RGB in [0, 1], which is (scale y + shift + 1) / 2 of the normalised y.
    tensors["conv1_1.weight"] = np.einsum("omhw,mc->ochw", weight, mix * scale / 2)
    grey = mix @ ((shift + 1) / 2) + mean
    tensors["conv1_1.bias"] = tensors["conv1_1.bias"] + np.einsum("omhw,m->o", weight, grey)
    return VggCheckpoint(tensors, read.stages, "torchvision", read.lifted)


def random_vgg(widths: tuple[tuple[int, ...], ...]) -> VggCheckpoint:
    """Random weights of the published sizes, which keep the deviation of the maps."""
    generator, tensors, c_in = np.random.default_rng(0), {}, 3
    for stage, of_stage in enumerate(widths, 1):
        for index, c_out in enumerate(of_stage, 1):
            weight = generator.standard_normal((c_out, c_in, 3, 3), np.float32)
            tensors[f"conv{stage}_{index}.weight"] = weight * np.float32((2 / (9 * c_in)) ** 0.5)
            tensors[f"conv{stage}_{index}.bias"] = np.zeros(c_out, np.float32)
            c_in = c_out
    return VggCheckpoint(tensors, tuple(map(len, widths)), "torchvision", False)


def bundle_of(net: Vgg, folder: Path) -> Bundle:
    wanted = {graph_name("", "targets"), STEP}
    write_bundle(
        folder,
        [graph for graph in gatys_graphs(net) if graph.name in wanted],
        name="gatys",
        family="vgg",
        source=Source(file="none", format="none", sha256="0" * 64, licence="none"),
        properties={},
        constants={},
    )
    return Bundle.open(folder)


def feeds_of(bundle: Bundle, net: Vgg, content: Path, style: Path, size: int) -> Feeds:
    pictures = [cv2.resize(load(p), (size, size), interpolation=cv2.INTER_AREA)[None]
                for p in (content, style)]  # fmt: skip
    name, layers = graph_name("", "targets"), sets(net)["published"]
    with backends.get("ort").open(bundle.graph_path(name), bundle.graph(name)) as session:
        targets = session.run({"content": pictures[0], "style": pictures[1]})
    names = [tensor.name for tensor in bundle.graph(STEP).inputs]
    return {
        **{name: array for name, array in targets.items() if name in names},
        "t": np.zeros(1, np.float32),
        "rate": np.full(1, RATE, np.float32),
        "decay": np.ones(1, np.float32),
        "style_weights": np.full(len(layers.style), STYLE_WEIGHT, np.float32),
        "content_weights": np.ones(len(layers.content), np.float32),
        "smoothness": np.zeros(1, np.float32),
    }


def measure(net: Vgg, bundle: Bundle, feeds: Feeds, options: argparse.Namespace) -> list[Row]:
    calls: dict[str, Callable[[], None]] = {}
    images: dict[str, Callable[[], NDArray]] = {}
    precision = {EAGER: "f32", f"{EAGER}, autocast": "bf16"}
    for name, kind in precision.items():
        eager = Eager(net, feeds, low=kind == "bf16")
        calls[name] = eager.step
        images[name] = lambda eager=eager: eager.image.detach().numpy()
    for name in MEASURED:
        backend = backends.get(name)
        try:
            session = backend.open(bundle.graph_path(STEP), bundle.graph(STEP), options.threads)
            loop = session.loop(feeds)
        except MienError as error:
            print(f"# {name}: {error}")
            continue
        precision[name], calls[name] = backend.precision, loop.step
        images[name] = lambda loop=loop: loop.state()["image"]
    judge = Eager(net, feeds, low=False)
    with torch.no_grad():
        first = float(judge.loss(judge.image))
    losses = {}
    for name, call in calls.items():
        for _ in range(options.steps):
            call()
        with torch.no_grad():
            losses[name] = float(judge.loss(torch.from_numpy(images[name]().copy()))) / first
    times = take_turns(calls, options.rounds)
    torchs = {kind: times[name] for name, kind in precision.items() if name.startswith(EAGER)}
    rows = []
    for name, values in times.items():
        median, p95 = median_and_p95(values)
        theirs = torchs[precision[name]]
        rows.append(
            Row(
                name, precision[name], 1e3 * median, 1e3 * p95, 1e3 * min(values), len(values),
                median_and_p95(theirs)[0] / median, min(theirs) / min(values), losses[name],
            )
        )  # fmt: skip
    return rows


def show(rows: list[Row]) -> None:
    print(
        "| who | precision | median ms | p95 ms | best ms | n | times torch | of the best | loss |"
    )
    print("| --- | --- |" + " ---: |" * 7)
    for r in rows:
        print(
            f"| {r.who} | {r.precision} | {r.median_ms:.1f} | {r.p95_ms:.1f} | {r.best_ms:.1f} | "
            f"{r.n} | {r.ratio:.2f} | {r.best_ratio:.2f} | {r.loss:.4f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, help="a VGG up to conv3_1 or more")
    parser.add_argument("--random", choices=RANDOM, help="random weights instead")
    parser.add_argument("--zeros", action="store_true", help="torchvision's layout: zero padding")
    parser.add_argument("--content", type=Path, default=min((BUILT_IN / "portraits").glob("*.jpg")))
    parser.add_argument("--style", type=Path, default=style_path("mosaic"))
    parser.add_argument("--size", type=int, default=256, help="px, a square")
    parser.add_argument("--steps", type=int, default=60, help="before the loss is taken")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6, help=f"of {CALLS} timed steps each")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if (options.weights is None) == (options.random is None):
        parser.error("name --weights or --random")
    read = random_vgg(RANDOM[options.random]) if options.random else read_vgg(options.weights)[0]
    net = vgg_from_checkpoint(torchvision_layout(read) if options.zeros else read)
    net.requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(net, Path(folder) / "gatys")
        feeds = feeds_of(bundle, net, options.content, options.style, options.size)
        rows = measure(net, bundle, feeds, options)
    versions = machine("torch", "onnxruntime", "openvino")
    print(json.dumps({"machine": versions}) if options.json else f"{versions}\n")
    if options.json:
        print("\n".join(json.dumps(asdict(row)) for row in rows))
    else:
        show(rows)


if __name__ == "__main__":
    main()
