"""How every script of the zoo trains: minutes, a progress bar, a state to go on from."""

from __future__ import annotations

import argparse
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import save_file
from torch import Tensor, nn

from zoo.averages import Averages

STATE = "state.pt"
SMOOTH = 0.98  # of the losses that are shown


@dataclass
class Record:
    """What a run has behind it, over all its resumptions.

    log: figures on held-out data, with the step they were measured at.
    """

    step: int = 0
    minutes: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)


class Training(ABC):
    """Networks with their optimisers, one step of theirs, and what tells how good they are."""

    save_every = 200  # steps

    @abstractmethod
    def begin(self) -> None:
        """Make the networks where there is no state to go on from."""

    @abstractmethod
    def train_step(self, step: int, share: float) -> Mapping[str, float]:
        """Take one step. share: of the budget, gone. Returns losses to show."""

    @abstractmethod
    def measure(self) -> Mapping[str, float]:
        """Return figures on held-out data."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return all that a later run needs."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""


class OneNetwork(Training):
    """A training of one network with one optimiser, whose averages are what is kept of it."""

    net: nn.Module
    averages: Averages
    optimiser: torch.optim.Optimizer

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the network as it is built, before anything is learnt."""

    @abstractmethod
    def prepare(self, seed: int) -> None:
        """Make all else from self.net: averages, optimiser, and what draws by the seed."""

    def begin(self) -> None:
        self.net = self.network()
        self.prepare(seed=0)

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "averages": self.averages.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.net = self.network()
        self.net.load_state_dict(state["net"])
        self.prepare(seed=int(torch.randint(1 << 30, ())))
        self.averages.net.load_state_dict(state["averages"])
        self.optimiser.load_state_dict(state["optimiser"])


def write_half(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as float16 safetensors, without what batch normalisation counts."""
    kept = {
        name: x.half().contiguous()
        for name, x in tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(kept, path)


def arguments(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """Return the options that all scripts share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and weights/")
    parser.add_argument("--out", type=Path, required=True, help="where the run is kept")
    parser.add_argument(
        "--minutes", type=float, default=minutes, help="in all, over all resumptions"
    )
    return parser


def load(folder: Path) -> tuple[Record, dict[str, Any]]:
    """Read what a run kept."""
    kept = torch.load(folder / STATE, weights_only=True)
    return Record(**kept["record"]), kept["training"]


def save(folder: Path, record: Record, state: dict[str, Any]) -> None:
    """Keep a run; what was kept before stays until the new state is whole."""
    partial = folder / f"{STATE}.part"
    torch.save({"record": asdict(record), "training": state}, partial)
    partial.replace(folder / STATE)


def train(training: Training, folder: Path, minutes: float) -> Record:
    """Train until the budget is spent, from the kept state where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    record = Record()
    if (folder / STATE).exists():
        record, state = load(folder)
        training.restore(state)
    else:
        training.begin()
    _loop(training, record, folder, minutes)
    save(folder, record, training.state())
    return record


def _loop(training: Training, record: Record, folder: Path, minutes: float) -> None:
    before, began, shown = record.minutes, time.monotonic(), dict[str, float]()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=minutes)
        while record.minutes < minutes:
            losses = training.train_step(record.step, record.minutes / minutes)
            record.step += 1
            record.minutes = before + (time.monotonic() - began) / 60
            for name, value in losses.items():
                old = shown.get(name, value)
                shown[name] = SMOOTH * old + (1 - SMOOTH) * value if math.isfinite(old) else value
            text = f"step {record.step}, {_listed(shown)}"
            bar.update(task, completed=record.minutes, description=text)
            if record.step % training.save_every == 0:
                figures = dict(training.measure())
                record.log.append({"step": float(record.step), **figures})
                line = f"{record.minutes:6.1f} min, {text}; held out: {_listed(figures)}"
                console.print(line, soft_wrap=True)
                save(folder, record, training.state())


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
