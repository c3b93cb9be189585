"""What is measured on a GPU: bundles, the same networks in torch, and inputs.

The generator has the 1024 px architecture with random weights, and VGG-19 and the perceptual
network have random weights too: times do not depend on them, pictures would. The AdaIN network is
the one that ships.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from models import SmallVgg
from numpy.typing import NDArray
from torch import nn

from mien_engines import Bundle, Source
from mien_engines.backends.ort import Ort
from mien_engines.parity import Referee
from mien_export.checkpoints.vgg import vgg_from_tensors
from mien_export.families import adain
from mien_export.families.stylegan2_graphs import stylegan2_graphs
from mien_export.families.vgg_gatys import gatys_graphs, graph_name
from mien_export.graph import Graph
from mien_export.nets.resize import Resized
from mien_export.nets.stylegan2 import Config, Generator
from mien_export.nets.vgg import vgg_from_checkpoint
from mien_export.steps.terms import Perceptual
from mien_export.to_bundle import write_bundle

ROOT = Path(__file__).parents[2]
RANDOM = Source(file="none", format="random weights", sha256="0" * 64, licence="none")
VGG19 = (64, 128, 256, 512, 512)
VGG19_STAGES = (2, 2, 4, 4, 1)  # to conv5_1
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

Feeds = Mapping[str, NDArray]


@dataclass(frozen=True)
class Subject:
    """A graph, its network in torch, and inputs. what: for the report."""

    what: str
    bundle: Bundle
    graph: str
    module: nn.Module
    feeds: Feeds

    @property
    def state(self) -> dict[str, str]:
        return self.bundle.graph(self.graph).state


def generator(folder: Path, graph: str, *, tiny: bool) -> Subject:
    """The synthesis or the projection step of StyleGAN2, config F: 1024 px, or 16 px if tiny."""
    torch.manual_seed(0)
    resolutions = [4 * 2**i for i in range(3 if tiny else 9)]
    widths = tuple(min((64 if tiny else 32768) // r, 512) for r in resolutions)
    size = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2} if tiny else {}
    net = Generator(Config(widths, **size)).eval().requires_grad_(False)
    net.drop_silent_noise()
    stages = ((4,), (8,)) if tiny else VGG16
    features = SmallVgg(stages).eval().requires_grad_(False)
    seen = 8 if tiny else 256  # px, as LPIPS sees a picture
    perceptual = Perceptual(Resized(features, net.config.resolution, seen))
    # What the step is sampled with comes from the others.
    wanted = {"mapping", "render", "synthesis", "project_target", "project_step"}
    graphs = [g for g in stylegan2_graphs(net, perceptual) if g.name in wanted]
    bundle = _written(folder, graphs, "stylegan2", {"w_mean": net.mapping.w_avg.numpy()})
    what = f"StyleGAN2 {net.config.resolution} px, random weights: {graph}"
    return _subject(what, bundle, graph, graphs)


def gatys(folder: Path, *, tiny: bool) -> Subject:
    """Gatys' step over VGG-19 to conv5_1 with random weights, of 512 px, or 64 px if tiny."""
    stages = (1, 1) if tiny else VGG19_STAGES
    net = vgg_from_checkpoint(vgg_from_tensors(_vgg_tensors(stages, 16 if tiny else 1), "random"))
    net.requires_grad_(False)
    wanted = {graph_name("", "targets"), graph_name("", "step")}
    graphs = [graph for graph in gatys_graphs(net) if graph.name in wanted]
    bundle = _written(folder, graphs, "vgg", {})
    side = 64 if tiny else 512
    net_name = "a small VGG" if tiny else "VGG-19"
    what = f"Gatys {side} px, {net_name}, random weights"
    subject = _subject(what, bundle, graph_name("", "step"), graphs)
    targets = Ort().open(bundle.graph_path("gatys_targets"), bundle.graph("gatys_targets"))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 1, side, side, 3), np.uint8)
    found = targets.run({"content": pictures[0], "style": pictures[1]})
    feeds = {name: found.get(name, value) for name, value in subject.feeds.items()}
    return Subject(subject.what, bundle, subject.graph, subject.module, feeds)


def transfer(*, tiny: bool) -> Subject:
    """AdaIN style transfer of a 512 px picture by the network that ships, 64 px if tiny."""
    checkpoint = ROOT / "export" / "zoo" / "adain" / "adain.safetensors"
    graphs = adain.content(checkpoint, _NoExtras()).graphs  # type: ignore[arg-type]
    bundle = Bundle.open(ROOT / "sdk" / "mien" / "zoo" / "adain")
    side = 64 if tiny else 512
    subject = _subject(f"AdaIN transfer {side} px, own weights", bundle, "transfer", graphs)
    picture = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    feeds = {**subject.feeds, "picture": picture}
    return Subject(subject.what, bundle, "transfer", subject.module, feeds)


def torch_call(
    subject: Subject, device: str, *, compiled: bool, half: bool, dry: bool
) -> Callable[[], object]:
    """One run of the network in torch, to the end of its work; a step feeds its state back.

    half: under autocast to float16, with channels last. compiled: by torch.compile, with CUDA's
    graphs where there is CUDA.
    """
    form = torch.channels_last if half else torch.contiguous_format
    module = subject.module.to(device=device, memory_format=form).eval()
    names = [tensor.name for tensor in subject.bundle.graph(subject.graph).inputs]
    given = {n: torch.tensor(a, device=device) for n, a in subject.feeds.items()}
    outputs = [tensor.name for tensor in subject.bundle.graph(subject.graph).outputs]
    run = module
    if compiled:
        how = {"backend": "eager"} if dry else {"mode": "reduce-overhead"}
        run = torch.compile(module, **how)  # type: ignore[assignment]

    def call() -> None:
        enabled = half and device == "cuda"
        with torch.autocast(device, torch.float16, enabled=enabled), torch.no_grad():
            found = run(*(given[name] for name in names))
        results = dict(zip(outputs, found if isinstance(found, tuple) else (found,), strict=True))
        for output, name in subject.state.items():
            given[name] = results[output].clone()  # CUDA's graphs write where they wrote before
        if device == "cuda":
            torch.cuda.synchronize()

    return call


class _NoExtras:
    def only(self, *names: str, **options: object) -> None: ...


def _vgg_tensors(stages: tuple[int, ...], divisor: int) -> dict[str, NDArray[np.float32]]:
    """He's random weights, under the names of torchvision's `features`."""
    rng, tensors, place, c_in = np.random.default_rng(0), {}, 0, 3
    for stage, (width, count) in enumerate(zip(VGG19, stages, strict=False)):
        place += stage > 0  # a pooling
        for _ in range(count):
            c_out = max(4, width // divisor)
            scale = np.sqrt(2 / (9 * c_in))
            weight = scale * rng.standard_normal((c_out, c_in, 3, 3))
            tensors[f"features.{place}.weight"] = weight.astype(np.float32)
            tensors[f"features.{place}.bias"] = np.zeros(c_out, np.float32)
            place, c_in = place + 2, c_out  # a ReLU between
    return tensors


def _written(folder: Path, graphs: list[Graph], family: str, constants: Feeds) -> Bundle:
    if not (folder / "bundle.json").is_file():
        write_bundle(
            folder, graphs, name=folder.name, family=family, source=RANDOM, properties={},
            constants=constants,
        )  # fmt: skip
    return Bundle.open(folder, verify=False)


def _subject(what: str, bundle: Bundle, graph: str, graphs: list[Graph]) -> Subject:
    referee = Referee(bundle, lambda name: Ort().open(bundle.graph_path(name), bundle.graph(name)))
    module = next(g.module for g in graphs if g.name == graph)
    assert isinstance(module, nn.Module)
    return Subject(what, bundle, graph, module, referee.feeds(graph))
