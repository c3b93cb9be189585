"""Networks forward, side by side in one process: mien's backends, plain exports, and PyTorch.

    python benchmarks/networks.py [--only stylegan2] [--threads 2] [--rounds 10] [--compile]

Random weights of the published sizes: speed does not depend on them. PyTorch runs the module that
was exported, eager and contiguous, with channels last, under autocast to bf16, and compiled. The
plain export of StyleGAN2 is the form with weights that depend on the code, one set a sample, as a
grouped convolution, which is what tracing an eager implementation gives; ONNX Runtime runs it.
Every result is held against ONNX Runtime's of mien's graph before anything is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import calm  # noqa: F401
import numpy as np
import torch
from models import weight_form
from rounds import CALLS, machine, median_and_p95, take_turns
from torch import Tensor, nn

from mien_engines import Bundle, Source, backends
from mien_engines.backends.base import Backend, Session
from mien_engines.errors import MienError
from mien_engines.parity import distance
from mien_engines.spec import GraphSpec, TensorSpec
from mien_export.checkpoints.vgg import VggCheckpoint
from mien_export.graph import EXACT, Graph, floats, image_spec
from mien_export.nets.iresnet import IResNet, IResNetConfig
from mien_export.nets.starganv2 import Config as StarConfig
from mien_export.nets.starganv2 import Generator as StarGenerator
from mien_export.nets.style_decoder import StyleDecoder, StyleTransfer
from mien_export.nets.stylegan2 import Config, Generator
from mien_export.nets.vgg import Vgg
from mien_export.rivals import Torch, TorchBf16, TorchChannelsLast, TorchCompile
from mien_export.to_bundle import write_bundle

OURS = ("ort", "ov", "ov-bf16")
RIVALS: tuple[type[Torch], ...] = (Torch, TorchChannelsLast, TorchBf16)
PLAIN = "ort, plain export"
VGG19 = ((64, 64), (128, 128), (256, 256, 256, 256), (512,))  # to conv4_1
STAR_WIDTHS = (64, 128, 256, 512, 512)  # 256 px, without the high-pass skip
IRESNET50 = IResNetConfig((64, 64, 128, 256, 512), (3, 4, 14, 3), 112, 512)


@dataclass(frozen=True)
class Work:
    """A network to run. inputs: for a batch. plain: the same function as others write it.

    peers: the same function by others' own code, which takes the same inputs, run eagerly.
    """

    id: str
    what: str
    module: nn.Module
    specs: tuple[TensorSpec, ...]
    out: TensorSpec
    inputs: Callable[[int], tuple[Tensor, ...]]
    batches: tuple[int, ...] = (1,)
    plain: nn.Module | None = None
    peers: Mapping[str, nn.Module] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """ratio: torch eager's median over this one's; best_ratio: of the best times.

    error: the greatest difference from ONNX Runtime in float32, as a part of the range.
    """

    id: str
    what: str
    who: str
    precision: str
    batch: int
    median_ms: float
    p95_ms: float
    best_ms: float
    n: int
    ratio: float
    best_ratio: float
    error: float


class WeightForm(nn.Module):
    """The synthesis of a generator with weights modulated per sample."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.net = generator.synthesis

    def forward(self, ws: Tensor) -> Tensor:
        with weight_form():
            found: Tensor = self.net(ws)
        return found


class Features(nn.Module):
    """image -> the map of VGG-19's conv4_1."""

    def __init__(self, net: Vgg) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.net(image)[-1][0]
        return found


def vgg19() -> Vgg:
    """Random weights up to conv4_1, of a size that keeps maps finite."""
    tensors, c_in = {}, 3
    for stage, widths in enumerate(VGG19, 1):
        for index, c_out in enumerate(widths, 1):
            scale = (2 / (9 * c_in)) ** 0.5
            tensors[f"conv{stage}_{index}.weight"] = (
                scale * torch.randn(c_out, c_in, 3, 3)
            ).numpy()
            tensors[f"conv{stage}_{index}.bias"] = torch.zeros(c_out).numpy()
            c_in = c_out
    net = Vgg(VggCheckpoint(tensors, tuple(map(len, VGG19)), "torchvision", False))
    for name, module in net.convs.items():
        module.load_state_dict({p: torch.from_numpy(tensors[f"{name}.{p}"]) for p in
                                ("weight", "bias")})  # fmt: skip
    return net


def works() -> Iterator[Work]:
    """The reference workloads (C1, C3, C6), and AdaIN transfer."""
    torch.manual_seed(0)
    widths = tuple(min(4096 // side, 512) for side in (4, 8, 16, 32, 64, 128))
    generator = Generator(Config(widths)).requires_grad_(False)
    generator.drop_silent_noise()
    yield Work(
        "C1", "StyleGAN2, 128 px, base 4096", generator.synthesis,
        (floats("ws", ("N", 12, 512), "codes"),), image_spec("image", 128, 128),
        lambda n: (torch.randn(n, 12, 512),), (1, 4), WeightForm(generator),
    )  # fmt: skip
    star = StarGenerator(StarConfig(STAR_WIDTHS, 64, False)).requires_grad_(False)
    yield Work(
        "C3", "StarGAN v2, 256 px", star,
        (image_spec("image", 256, 256), floats("style", ("N", 64), "style code")),
        image_spec("drawn", 256, 256),
        lambda n: (torch.rand(n, 3, 256, 256) * 2 - 1, torch.randn(n, 64)),
    )  # fmt: skip
    decoder = StyleDecoder(((512, 256), (256, 256, 256, 256, 128), (128, 128, 64), (64, 64, 3)))
    transfer = StyleTransfer(vgg19(), decoder).requires_grad_(False)
    yield Work(
        "C3", "AdaIN transfer, 256 px, VGG-19 to relu4_1", transfer,
        (image_spec("image", 256, 256), floats("mean", ("N", 512), "of the style"),
         floats("deviation", ("N", 512), "of the style"), floats("alpha", (1,), "strength")),
        image_spec("drawn", 256, 256),
        lambda n: (torch.rand(n, 3, 256, 256) * 2 - 1, torch.randn(n, 512), torch.rand(n, 512),
                   torch.ones(1)),
    )  # fmt: skip
    face = IResNet(IRESNET50).requires_grad_(False)
    yield Work(
        "C6", "ArcFace iresnet50, 112 px", face, (image_spec("image", 112, 112),),
        floats("embedding", ("N", 512), "of a face"),
        lambda n: (torch.rand(n, 3, 112, 112) * 2 - 1,), (1, 8),
    )  # fmt: skip
    yield Work(
        "C6", "VGG-19 to conv4_1, 256 px", Features(vgg19()).requires_grad_(False),
        (image_spec("image", 256, 256),), floats("map", ("N", 512, 32, 32), "relu4_1"),
        lambda n: (torch.rand(n, 3, 256, 256) * 2 - 1,),
    )  # fmt: skip


def exported(folder: Path, work: Work) -> Bundle:
    """Write a bundle of one graph."""
    torch.manual_seed(1)
    examples = work.inputs(2)
    graph = Graph(
        "network", work.module.eval(), examples, work.specs, (work.out,), EXACT, frequent=True,
        samples={s.name: x[:1] for s, x in zip(work.specs, examples, strict=True)},
    )  # fmt: skip
    source = Source(file="none", format="random weights", sha256="0" * 64, licence="none")
    write_bundle(folder, [graph], name="network", family="test", source=source, properties={},
                 constants={})  # fmt: skip
    return Bundle.open(folder)


def plainly_exported(folder: Path, work: Work, batch: int) -> tuple[Path, GraphSpec]:
    """Write what `torch.onnx.export` makes of the plain form; the batch is a constant of it."""
    assert work.plain is not None
    path = folder / f"plain-{batch}.onnx"
    names = [spec.name for spec in work.specs]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            work.plain.eval(), work.inputs(batch), str(path), dynamo=True, opset_version=18,
            input_names=names, output_names=[work.out.name], verbose=False,
        )  # fmt: skip
    specs = tuple(fixed(spec, batch) for spec in work.specs)
    outs = (fixed(work.out, batch),)
    return path, GraphSpec(file=path.name, inputs=specs, outputs=outs, gate=EXACT)


def fixed(spec: TensorSpec, batch: int) -> TensorSpec:
    """The same for one batch alone."""
    shape = tuple(batch if size == "N" else size for size in spec.shape)
    return spec.model_copy(update={"shape": shape})


def sessions(
    work: Work, folder: Path, options: argparse.Namespace, stack: ExitStack
) -> Iterator[tuple[str, Session]]:
    """Open everyone who takes part; say who cannot."""
    ours = exported(folder / "ours", work)
    path, spec = ours.graph_path("network"), ours.graph("network")
    rivals = (*RIVALS, TorchCompile) if options.compile else RIVALS
    entered: list[tuple[str, Path, GraphSpec, Backend]] = [
        *((name, path, spec, backends.get(name)) for name in OURS),
        *((rival.name, path, spec, rival(copy.deepcopy(work.module))) for rival in rivals),
        *((name, path, spec, Torch(peer)) for name, peer in work.peers.items()),
    ]
    if work.plain is not None:
        for batch in work.batches:
            plain = plainly_exported(folder, work, batch)
            entered.append((f"{PLAIN} {batch}", *plain, backends.get("ort")))
    for name, path, spec, backend in entered:
        try:
            yield name, stack.enter_context(backend.open(path, spec, options.threads))
        except MienError as error:
            print(f"# {name}: {error}")


def measure(work: Work, options: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        opened = dict(sessions(work, Path(name), options, stack))
        for batch in work.batches:
            torch.manual_seed(batch)
            feeds = {s.name: x.numpy() for s, x in zip(work.specs, work.inputs(batch), strict=True)}
            expected = opened["ort"].run(feeds)[work.out.name]
            calls: dict[str, Callable[[], Any]] = {}
            errors: dict[str, float] = {}
            for who, session in opened.items():
                if who.startswith(PLAIN) and who != f"{PLAIN} {batch}":
                    continue
                calls[who] = lambda session=session: session.run(feeds)  # noqa: B023
                errors[who] = distance(np.asarray(calls[who]()[work.out.name]), expected)
                assert errors[who] < 0.25, f"{work.what}, {who}: off by {errors[who]}"
            yield from _rows(work, batch, take_turns(calls, options.rounds), opened, errors)


def _rows(
    work: Work,
    batch: int,
    times: dict[str, list[float]],
    opened: dict[str, Session],
    errors: dict[str, float],
) -> Iterator[Row]:
    eager = times[Torch.name]
    for who, values in times.items():
        median, p95 = median_and_p95(values)
        yield Row(
            work.id, work.what, who, opened[who].backend.precision, batch, 1e3 * median, 1e3 * p95,
            1e3 * min(values), len(values), median_and_p95(eager)[0] / median,
            min(eager) / min(values), errors[who],
        )  # fmt: skip


def show(rows: list[Row]) -> None:
    print("| what | batch | who | precision | median ms | p95 ms | best ms | n | times torch "
          "| of the best | off by |")  # fmt: skip
    print("| --- | ---: | --- | --- |" + " ---: |" * 7)
    for r in rows:
        print(
            f"| {r.what} | {r.batch} | {r.who} | {r.precision} | {r.median_ms:.1f} | "
            f"{r.p95_ms:.1f} | {r.best_ms:.1f} | {r.n} | {r.ratio:.2f} | {r.best_ratio:.2f} | "
            f"{r.error:.1e} |"
        )


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add what every measurement of networks is told, and read it."""
    parser.add_argument("--only", action="append", help="an id, or a part of a name")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10, help=f"of {CALLS} timed calls each")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too: minutes more")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    return parser.parse_args()


def report(entered: Iterable[Work], options: argparse.Namespace) -> None:
    """Measure what is asked for and print it."""
    torch.set_num_threads(options.threads)
    versions = machine("torch", "onnxruntime", "openvino")
    print(json.dumps({"machine": versions}) if options.json else f"{versions}\n")
    rows: list[Row] = []
    for work in entered:
        if options.only and not any(o == work.id or o.lower() in work.what.lower()
                                    for o in options.only):  # fmt: skip
            continue
        for row in measure(work, options):
            rows.append(row)
            if options.json:
                print(json.dumps(asdict(row)), flush=True)
    if not options.json:
        show(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    report(works(), options_of(parser))


if __name__ == "__main__":
    main()
