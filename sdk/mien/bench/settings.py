"""What is measured, and how: the arguments of `mien.bench.measure`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from mien.bench.report import FILMS
from mien.bench.scenarios import SCENARIOS
from mien.errors import InputError

LIMITS = {
    "batch": (1, 4096),
    "streams": (1, 256),
    "rate": (1e-3, 1e6),
    "calls": (2, 1_000_000),
    "seconds": (0.01, 86_400),
    "threads": (1, 1024),
    "starts": (0, 100),
    "side": (16, 4096),
    "frames_per_second": (0.1, 1000),
    "allowed": (0.0, 10.0),
}


EXTRAS = ("vgg", "lpips", "encoder", "arcface")  # what an export takes beside its checkpoint


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    bundle: a name, folder or zip; None is the demo's for graphs, and mien's own for verbs.
    graphs: names; none are those that are run often. verbs: instead of graphs, or beside them.
    backends: names; none are all that open here. against: "torch", "torch-channels-last",
        "torch-bf16", "torch-compile", with the export extra, and the bundle's checkpoint.
    extras: files that the export took beside the checkpoint, by name: "vgg", "lpips", "encoder",
        "arcface".
    baseline: an earlier report of the same machine. allowed: the part of the time by which a
        process may be slower than another before it is called a regression.
    scenario: one of SCENARIOS. batch: samples a call. streams: callers, or the server's workers.
    rate: requests a second of the server; None is the baseline's, of each work, or half of what the
        slowest can do.
    calls: of each contestant, of a film its frames; None makes as many as fit into `seconds`.
    cold: empty the processor's caches before each call. starts: fresh processes each, 0 for none.
    side: of pictures, in px. frames_per_second: of the camera of the verb live.
    roofline: measure this machine's ceilings, too.
    """

    bundle: str | Path | None = None
    graphs: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    baseline: Path | None = None
    allowed: float = 0.05
    checkpoint: Path | None = None
    extras: Mapping[str, Path] = field(default_factory=dict)
    scenario: Literal["single-stream", "multi-stream", "offline", "server"] = "single-stream"
    batch: int = 1
    streams: int = 2
    rate: float | None = None
    calls: int | None = None
    seconds: float = 5.0
    threads: int | None = None
    seed: int = 0
    cold: bool = False
    starts: int = 0
    side: int = 256
    frames_per_second: float = 30.0
    roofline: bool = False

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in LIMITS and value is not None:
                low, high = LIMITS[one.name]
                if not low <= value <= high:
                    raise InputError(f"{one.name} is {value}, expected {low:g} to {high:g}")
        if self.scenario not in SCENARIOS:
            raise InputError(
                f"there is no scenario {self.scenario!r}", hint=f"There are: {', '.join(SCENARIOS)}"
            )
        if self.rate is not None and self.scenario != "server":
            raise InputError(
                "a rate was given, and the scenario is not server", hint="Add --scenario server"
            )
        if self.cold and self.scenario in ("multi-stream", "server"):
            raise InputError(
                f"caches cannot be emptied before each call of {self.scenario}",
                hint="Take single-stream or offline",
            )
        for name in self.extras:
            if name not in EXTRAS:
                raise InputError(
                    f"there is no extra file {name!r}", hint=f"There are: {', '.join(EXTRAS)}"
                )
        for name in set(FILMS) & set(self.verbs):
            if self.scenario != "single-stream" or self.cold:
                raise InputError(
                    f"the verb {name} is measured film after film, with warm caches",
                    hint="Take single-stream, without --cold",
                )
        if self.batch > 1 and self.verbs:
            raise InputError("a verb takes no batch", hint="Name a graph: --graph render")
        if self.against and self.verbs:
            raise InputError(
                "a verb cannot be measured against torch", hint="Name a graph: --graph render"
            )
