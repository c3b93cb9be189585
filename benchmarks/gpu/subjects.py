"""What is measured on a GPU: bundles, the same networks in torch, and inputs.

The generator has the 1024 px architecture with random weights, and VGG-19 and the perceptual
network have random weights too: times do not depend on them, pictures would. The AdaIN network is
the one that ships.

Bundles are made where the exporter's torch is, and carried: another torch may not export them, and
still runs the modules.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from hollow import Drawn, filled, hollow
from numpy.typing import NDArray
from torch import nn

from mien_engines import Bundle, Source
from mien_engines.backends.ort import Ort
from mien_engines.counting import Counted, count
from mien_engines.errors import BackendUnavailable
from mien_engines.parity import Referee

if TYPE_CHECKING:  # a torch that cannot import it still leaves mien's own rows
    from mien_export.graph import Graph

ROOT = Path(__file__).parents[2]
PREPARED = ROOT / "prepared"  # what the packer has put beside the sources
COUNTS = "counts.json"
RANDOM = Source(file="none", format="random weights", sha256="0" * 64, licence="none")
VGG19 = (64, 128, 256, 512, 512)
VGG19_STAGES = (2, 2, 4, 4, 1)  # to conv5_1
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# The gate of a step runs 20 of them on the CPU for every plan. With random weights and some seconds
# a step, 4 say as much.
GATE_STEPS = 4

GATYS_STEP = "gatys_step"

Feeds = Mapping[str, NDArray]
Networks = tuple[list["Graph"], Mapping[str, NDArray]]  # graphs, and constants of their bundle


@dataclass(frozen=True)
class Subject:
    """A graph, its inputs, and its network in torch.

    what: for the report. module: makes the network anew, so that no contestant changes another's.
    """

    what: str
    bundle: Bundle
    graph: str
    feeds: Feeds
    module: Callable[[], nn.Module]

    @property
    def state(self) -> dict[str, str]:
        return self.bundle.graph(self.graph).state

    def counted(self) -> Counted | None:
        """Operations and bytes; None where neither the packer nor OpenVINO has counted them."""
        known = PREPARED / COUNTS
        if known.exists():
            found = json.loads(known.read_text()).get(f"{self.bundle.name}/{self.graph}")
            return None if found is None else Counted(**found)
        try:
            shapes = {name: array.shape for name, array in self.feeds.items()}
            return count(self.bundle.graph_path(self.graph), shapes)
        except BackendUnavailable:
            return None


def generator(work: Path, graph: str, *, tiny: bool) -> Subject:
    """Rendering or the projection step of StyleGAN2, config F: 1024 px, or 16 px if tiny."""
    bundle = _bundle(work, _name("generator", tiny), lambda: _generator(Drawn(), tiny))
    side = 16 if tiny else 1024
    what = f"StyleGAN2 {side} px, random weights: {graph}"
    return _subject(what, bundle, graph, lambda: _generator(Drawn(), tiny)[0])


def gatys(work: Path, *, tiny: bool) -> Subject:
    """Gatys' step over VGG-19 to conv5_1 with random weights, of 512 px, or 64 px if tiny."""
    bundle = _bundle(work, _name("vgg19", tiny), lambda: _gatys(Drawn(), tiny))
    side = 64 if tiny else 512
    what = f"Gatys {side} px, {'a small VGG' if tiny else 'VGG-19'}, random weights"
    subject = _subject(what, bundle, GATYS_STEP, lambda: _gatys(Drawn(), tiny)[0])
    pictures = np.random.default_rng(0).integers(0, 256, (2, 1, side, side, 3), np.uint8)
    targets = "gatys_targets"
    with Ort().open(bundle.graph_path(targets), bundle.graph(targets)) as session:
        found = session.run({"content": pictures[0], "style": pictures[1]})
    feeds = {name: found.get(name, value) for name, value in subject.feeds.items()}
    return dataclasses.replace(subject, feeds=feeds)


def transfer(*, tiny: bool) -> Subject:
    """AdaIN style transfer of a 512 px picture by the network that ships, 64 px if tiny."""
    checkpoint = ROOT / "export" / "zoo" / "adain" / "adain.safetensors"
    bundle = Bundle.open(ROOT / "sdk" / "mien" / "zoo" / "adain")
    side = 64 if tiny else 512
    subject = _subject(
        f"AdaIN transfer {side} px, own weights", bundle, "transfer",
        lambda: _transfer(checkpoint),
    )  # fmt: skip
    picture = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    return dataclasses.replace(subject, feeds={**subject.feeds, "picture": picture})


def prepare(work: Path, folder: Path, *, tiny: bool) -> None:
    """Write the bundles to work, and to folder what of them has to travel, with their counts."""
    folder.mkdir(parents=True)
    for plain, networks in (("generator", _generator), ("vgg19", _gatys)):
        name, drawn = _name(plain, tiny), Drawn()
        made = networks(drawn, tiny)
        bundle = _bundle(work, name, lambda made=made: made)  # type: ignore[misc]
        hollow(bundle.folder, folder / name, drawn)
    subjects = [
        transfer(tiny=tiny), gatys(work, tiny=tiny),
        *(generator(work, graph, tiny=tiny) for graph in ("render", "project_step")),
    ]  # fmt: skip
    counts = {f"{s.bundle.name}/{s.graph}": s.counted() for s in subjects}
    known = {name: dataclasses.asdict(c) for name, c in counts.items() if c is not None}
    (folder / COUNTS).write_text(json.dumps(known, indent=1) + "\n")


def _transfer(checkpoint: Path) -> list[Graph]:
    from mien_export.content import Extras
    from mien_export.families import adain

    return list(adain.content(checkpoint, Extras()).graphs)


def _generator(drawn: Drawn, tiny: bool) -> Networks:
    from small_vgg import SmallVgg

    from mien_export.families.stylegan2_graphs import stylegan2_graphs
    from mien_export.nets.resize import Resized
    from mien_export.nets.stylegan2 import Config, Generator
    from mien_export.steps.terms import Perceptual

    resolutions = [4 * 2**i for i in range(3 if tiny else 9)]
    widths = tuple(min((64 if tiny else 32768) // r, 512) for r in resolutions)
    size = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2} if tiny else {}
    net = Generator(Config(widths, **size)).eval().requires_grad_(False)
    net.drop_silent_noise()
    # As StyleGAN2 has them: its layers scale them, the linear ones when they are exported.
    drawn.fill(net, lambda weight: 1.0, _gains)
    stages = ((4,), (8,)) if tiny else VGG16
    features = SmallVgg(stages).eval().requires_grad_(False)
    drawn.fill(features, lambda weight: (2 / weight[0].numel()) ** 0.5)  # He et al. 2015
    _without_biases(features)
    seen = 8 if tiny else 256  # px, as LPIPS sees a picture
    perceptual = Perceptual(Resized(features, net.config.resolution, seen))
    # What the step is sampled with comes from the others.
    wanted = {"mapping", "render", "project_target", "project_step"}
    graphs = [g for g in stylegan2_graphs(net, perceptual) if g.name in wanted]
    return graphs, {"w_mean": net.mapping.w_avg.numpy()}


def _gatys(drawn: Drawn, tiny: bool) -> Networks:
    from mien_export.checkpoints.vgg import vgg_from_tensors
    from mien_export.families.vgg_gatys import gatys_graphs
    from mien_export.nets.vgg import vgg_from_checkpoint

    stages = (1, 1) if tiny else VGG19_STAGES
    tensors, place, c_in = {}, 0, 3
    for stage, (width, count_) in enumerate(zip(VGG19, stages, strict=False)):
        place += stage > 0  # a pooling
        for _ in range(count_):
            c_out = max(4, width // (16 if tiny else 1))
            name = f"features.{place}"  # torchvision's
            tensors[f"{name}.weight"] = drawn(
                f"{name}.weight", (c_out, c_in, 3, 3), (2 / (9 * c_in)) ** 0.5
            )
            tensors[f"{name}.bias"] = np.zeros(c_out, np.float32)
            place, c_in = place + 2, c_out  # a ReLU between
    net = vgg_from_checkpoint(vgg_from_tensors(tensors, "random"))
    net.requires_grad_(False)
    wanted = {"gatys_targets", GATYS_STEP}
    return [graph for graph in gatys_graphs(net) if graph.name in wanted], {}


def _gains(weight: torch.Tensor) -> list[float]:
    """lr / sqrt(fan_in) of linear layers, lr being 1, and 0.01 in the mapping network."""
    return [lr / weight.shape[1] ** 0.5 for lr in (1.0, 0.01) if weight.dim() == 2]


def _name(plain: str, tiny: bool) -> str:
    return f"{plain}-tiny" if tiny else plain


def _without_biases(module: nn.Module) -> None:
    """torch draws biases too, and another torch others."""
    for name, tensor in module.named_parameters():
        if name.endswith("bias"):
            tensor.data.zero_()


def _bundle(work: Path, name: str, networks: Callable[[], Networks]) -> Bundle:
    """What was made before; else what was carried, filled; else made here."""
    folder = work / name
    if not (folder / "bundle.json").is_file():
        work.mkdir(parents=True, exist_ok=True)
        if (PREPARED / name).is_dir():
            filled(PREPARED / name, folder)
        else:
            _write(folder, *networks())
    return Bundle.open(folder)


def _write(folder: Path, graphs: list[Graph], constants: Mapping[str, NDArray]) -> None:
    from mien_export.to_bundle import write_bundle  # private parts of one version of torch

    quick = [
        dataclasses.replace(g, gate=g.gate.model_copy(update={"steps": GATE_STEPS}))
        if g.gate.kind == "loop" else g
        for g in graphs
    ]  # fmt: skip
    write_bundle(
        folder, quick, name=folder.name, family="benchmark", source=RANDOM, properties={},
        constants=constants,
    )  # fmt: skip


def _subject(what: str, bundle: Bundle, graph: str, graphs: Callable[[], list[Graph]]) -> Subject:
    referee = Referee(bundle, lambda name: Ort().open(bundle.graph_path(name), bundle.graph(name)))

    def module() -> nn.Module:
        torch.manual_seed(0)
        found = next(g.module for g in graphs() if g.name == graph)
        assert isinstance(found, nn.Module)
        return found

    return Subject(what, bundle, graph, referee.feeds(graph), module)
