"""One graph against the chain of its parts: merging, translating, look-alikes.

python benchmarks/fused.py [--rounds 10] [--backend ort]

Networks have the sizes of the zoo's and of FAN, with random weights: speed does not depend on
them. A chain is what a user of the parts writes: a call of each, arrays handed on, and NumPy where
no graph does it. Results are compared before anything is timed. Prints a row for each; a ratio
above 1 says that the one pass is faster.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rounds import machine, median_and_p95, take_turns

import mien_engines
from mien.edits.draw import BATCH
from mien_engines import Engine
from mien_engines.spec import Source
from mien_export.families import lookalike, starganv2_graphs, vaegan
from mien_export.graph import Graph
from mien_export.nets import fan as fans
from mien_export.nets.lookalike import Lookalike, LookalikeConfig
from mien_export.nets.starganv2 import LAPLACIAN, Config, Generator
from mien_export.nets.starganv2_styles import MappingNetwork, StyleEncoder
from mien_export.nets.vaegan import VaeGan, VaeGanConfig
from mien_export.to_bundle import write_bundle

Pictures = NDArray[np.uint8]
Call = Callable[[], Pictures]

SIDE, STYLE, LATENT, HIDDEN = 128, 64, 16, 256
WIDTHS = (24, 48, 96, 128, 128, 128)  # of the zoo's StarGAN v2
DEEPER = (*WIDTHS, 128)  # with the high-pass skip it goes a block deeper
MANY = 16  # look-alikes of one face; patterns of one sheet


def bundle(family: str, graphs: list[Graph], folder: Path) -> Path:
    write_bundle(
        folder / family,
        graphs,
        name=family,
        family=family.partition("-")[0],
        source=Source(file="none", format="random weights", sha256="0" * 64, licence="none"),
        properties={"resolution": SIDE},
        constants={},
    )
    return folder / family


def starganv2(folder: Path, *, skip: bool) -> Path:
    generator = Generator(Config(DEEPER if skip else WIDTHS, STYLE, skip))
    if generator.hpf is not None:
        generator.hpf.filter.copy_(torch.from_numpy(LAPLACIAN))
    mapping = MappingNetwork([LATENT, HIDDEN, HIDDEN], [HIDDEN, HIDDEN, STYLE], 2)
    encoder = StyleEncoder(list(WIDTHS), STYLE, 2)
    fan = fans.Fan(fans.Config(), SIDE) if skip else None
    for net in (generator, mapping, encoder, *([fan] if fan else [])):
        net.eval().requires_grad_(False)
    graphs = starganv2_graphs.starganv2_graphs(generator, mapping, encoder, fan)
    return bundle("starganv2-skip" if skip else "starganv2", graphs, folder)


def parts(rows: NDArray[Any]) -> list[NDArray[Any]]:
    """Rows in the batches that a Studio draws."""
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def merging(engine: Engine, a: Pictures, b: Pictures) -> dict[str, tuple[Call, Call]]:
    weight = np.ones(6, np.float32)

    def chain() -> Pictures:
        z, s = (engine.run("encode", picture=x)["mu"] for x in (a[:1], b[:1]))
        spread = [np.sqrt(x.var(1, keepdims=True) + 1e-5) for x in (z, s)]
        merged = spread[1] * (z - z.mean(1, keepdims=True)) / spread[0] + s.mean(1, keepdims=True)
        codes = np.repeat(merged[:, None], 6, 1).astype(np.float32)
        return engine.run("generate", codes=codes)["picture"]

    def fused() -> Pictures:
        return engine.run("merge_plain", content=a[:1], pattern=b[:1], weight=weight)["picture"]

    def pairs() -> Pictures:
        each = (engine.run("merge", content=a[:1], pattern=x[None], weight=weight) for x in b)
        return np.concatenate([found["picture"] for found in each])

    def sheet() -> Pictures:
        own = engine.run("encode", picture=a[:1])["mu"]
        other = np.concatenate([engine.run("encode", picture=part)["mu"] for part in parts(b)])
        drawn = (
            engine.run("merge_codes", content_mu=np.repeat(own, len(part), 0), pattern_mu=part,
                       weight=weight)["picture"]
            for part in parts(other)
        )  # fmt: skip
        return np.concatenate(list(drawn))

    return {
        "merge: one pass / encode, encode, NumPy, generate": (chain, fused),
        f"1 x {MANY} merges: each face encoded once, in batches / {MANY} pairs": (pairs, sheet),
    }


def translating(engine: Engine, a: Pictures, b: Pictures) -> dict[str, tuple[Call, Call]]:
    domain, skip = np.array([1]), "heatmaps" in engine.bundle.spec.graphs
    style = engine.run("style_reference", picture=b[:1], domain=domain)["style"]

    def drawn(code: NDArray[np.float32]) -> Pictures:
        masks = engine.run("heatmaps", picture=a[:1]) if skip else {}
        return engine.run("translate", picture=a[:1], style=code, **masks)["picture_next"]

    def chain() -> Pictures:
        return drawn(engine.run("style_reference", picture=b[:1], domain=domain)["style"])

    def fused() -> Pictures:
        outputs = engine.run("translate_reference", picture=a[:1], reference=b[:1], domain=domain)
        return outputs["picture_next"]

    def frame() -> Pictures:
        return engine.run("translate_frame", picture=a[:1], style=style)["picture_next"]

    name = "with FAN" if skip else "without the skip"
    rows = {f"translate by a reference, {name}: one pass / each network": (chain, fused)}
    if skip:
        rows["translate a frame, with FAN: one pass / each network"] = (lambda: drawn(style), frame)
    return rows


def looking_alike(engine: Engine, a: Pictures) -> dict[str, tuple[Call, Call]]:
    controls = np.random.default_rng(1).uniform(-1, 1, (MANY, 10)).astype(np.float32)

    def one(control: NDArray[np.float32]) -> Pictures:
        who = engine.run("encode", picture=a[:1])["identity"]
        return engine.run("generate", identity=who, control=control[None])["picture"]

    def batch() -> Pictures:
        who = engine.run("encode", picture=a[:1])["identity"]
        drawn = (
            engine.run("generate", identity=np.repeat(who, len(part), 0), control=part)["picture"]
            for part in parts(controls)
        )
        return np.concatenate(list(drawn))

    each = f"{MANY} look-alikes: encoded once, in batches / one by one"
    return {each: (lambda: np.concatenate([one(control) for control in controls]), batch)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--backend", default="ort")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 256, (MANY, SIDE, SIDE, 3), np.uint8) for _ in range(2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nets = VaeGan(VaeGanConfig()).eval(), Lookalike(LookalikeConfig()).eval()
        paths = [
            bundle("vaegan", vaegan.graphs(nets[0]), folder),
            starganv2(folder, skip=False),
            starganv2(folder, skip=True),
            bundle("lookalike", lookalike.graphs(nets[1]), folder),
        ]
        engines = [mien_engines.open(path, options.backend) for path in paths]
        rows = {
            **merging(engines[0], a, b),
            **translating(engines[1], a, b),
            **translating(engines[2], a, b),
            **looking_alike(engines[3], a),
        }
        where = f"{machine('onnxruntime', 'numpy')}; backend {options.backend}"
        print(json.dumps({"machine": where}) if options.json else f"{where}\n")
        if not options.json:
            print("| one pass / the chain | one pass, ms | the chain, ms | ratio |")
            print("| --- | ---: | ---: | ---: |")
        for label, (chain, fused) in rows.items():
            difference = np.abs(chain().astype(int) - fused()).max()
            assert difference <= 1, f"{label}: they differ by {difference} levels"
            times = take_turns({"chain": chain, "fused": fused}, options.rounds)
            slow, fast = (median_and_p95(times[key])[0] * 1e3 for key in ("chain", "fused"))
            if options.json:
                row = {"what": label, "one_pass_ms": fast, "chain_ms": slow, "ratio": slow / fast}
                print(json.dumps(row))
            else:
                print(f"| {label} | {fast:.1f} | {slow:.1f} | {slow / fast:.2f} |")
        for engine in engines:
            engine.close()


if __name__ == "__main__":
    main()
