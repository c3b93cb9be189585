"""What the demo does, on top of Studio."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.demo.page import write_page
from mien.demo.sheet import Cell, draw_sheet
from mien.demo.verbs import STYLED, Face, verb_rows
from mien.edits.latents import save_code
from mien.edits.loop import Step
from mien.edits.project import Projection
from mien.images import load, save
from mien.studio import Studio

if TYPE_CHECKING:
    from mien.faces.detect import Which

SAMPLES = Path(__file__).parents[1] / "zoo" / "portraits"
MIXED = ("coarse", "middle", "fine")
SEEDS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Portrait:
    """A photograph, and the file of its landmarks where no detector is to look for them."""

    photo: Path
    landmarks: Path | None = None

    @property
    def name(self) -> str:
        return self.photo.stem


@dataclass(frozen=True)
class DemoResult:
    """Where the results are, how long each part took in seconds, and by whom it was run."""

    contact: Path
    report: Path
    pictures: tuple[Path, ...]
    timings: dict[str, float]
    losses: dict[str, float]
    engines: tuple[dict[str, Any], ...]
    seconds: float

    def record(self) -> dict[str, Any]:
        return {
            "contact": str(self.contact),
            "report": str(self.report),
            "pictures": [str(p) for p in self.pictures],
            "timings_seconds": self.timings,
            "losses": self.losses,
            "engines": list(self.engines),
            "seconds": self.seconds,
        }


def own_portraits() -> list[Portrait]:
    """Return mien's own two: faces its generator drew, turned and scaled on a canvas."""
    photos = sorted(SAMPLES.glob("*.jpg"))[:2]
    return [Portrait(photo, photo.with_suffix(".json")) for photo in photos]


def run_demo(
    portraits: Sequence[Portrait],
    folder: Path,
    *,
    bundle: str | Path = "demo",
    backend: str | None = None,
    detector: str | Path | None = None,
    which: Which = "only",
    callback: Callable[[Step], None] | None = None,
) -> DemoResult:
    """Align, project, mix and edit two portraits; write pictures, contact.png and report.html."""
    began = time.perf_counter()
    timings: dict[str, float] = {}

    def timed(what: str, since: float) -> None:
        timings[what] = time.perf_counter() - since

    folder.mkdir(parents=True, exist_ok=True)
    with Studio(bundle, backend=backend, detector=detector) as studio:
        timed("open the bundle", began)
        start = time.perf_counter()
        photos = [load(p.photo) for p in portraits]
        crops = [
            studio.align(photo, landmarks=p.landmarks, which=which).image
            for photo, p in zip(photos, portraits, strict=True)
        ]
        timed("align two portraits", start)
        start = time.perf_counter()
        studio.engine.session("project_step")
        timed("choose and open the step's engine", start)
        start = time.perf_counter()
        found = studio.project_all(crops, callback=callback)
        timed(f"project both, {found[0].steps} steps in one batch", start)
        start = time.perf_counter()
        cells = _cells(studio, portraits, photos, crops, found)
        timed("render and mix", start)
        start = time.perf_counter()
        faces = [
            Face(crop, _larger(studio, photo, p, which), np.asarray(f))
            for crop, photo, p, f in zip(crops, photos, portraits, found, strict=True)
        ]
        shown, edits = verb_rows(studio, faces, own_generator=bundle == "demo")
        cells += shown
        timed(", ".join(edits), start)
        engines = tuple(choice.model_dump() for choice in studio.report())
    start = time.perf_counter()
    pictures = _write(folder, portraits, found, cells)
    contact = folder / "contact.png"
    save(draw_sheet(cells), contact, edits=["align", "project", "mix", *edits])
    timed("write the pictures", start)
    result = DemoResult(
        contact=contact,
        report=folder / "report.html",
        pictures=pictures,
        timings=timings,
        losses={p.name: f.loss for p, f in zip(portraits, found, strict=True)},
        engines=engines,
        seconds=time.perf_counter() - began,
    )
    write_page(result.report, result.record(), cells)
    return result


def _larger(
    studio: Studio, photo: NDArray[np.uint8], portrait: Portrait, which: Which
) -> NDArray[np.uint8]:
    return studio.align(photo, landmarks=portrait.landmarks, which=which, size=STYLED).image


def _cells(
    studio: Studio,
    portraits: Sequence[Portrait],
    photos: Sequence[NDArray[np.uint8]],
    crops: Sequence[NDArray[np.uint8]],
    found: Sequence[Projection],
) -> list[list[Cell]]:
    """Each portrait's row: photograph, crop, projection, and the other's layers on it."""
    rows = []
    for i in (0, 1):
        own, other = found[i], found[1 - i]
        name, donor = portraits[i].name, portraits[1 - i].name
        row = [
            Cell(f"{name}: the photograph", photos[i]),
            Cell("aligned", crops[i]),
            Cell("projected", studio.render(own).array),
        ]
        for layers in MIXED:
            picture = studio.mix(own, other, layers=layers).array
            row.append(Cell(f"{layers} layers of {donor}", picture))
        rows.append(row)
    halfway = (np.asarray(found[0]) + np.asarray(found[1])) / 2
    last = [Cell("halfway between the two", studio.render(halfway).array)]
    drawn = (studio.render(studio.sample(seed)).array for seed in SEEDS)
    last += [
        Cell(f"nobody, seed {seed}", picture) for seed, picture in zip(SEEDS, drawn, strict=True)
    ]
    return [*rows, last]


def _write(
    folder: Path,
    portraits: Sequence[Portrait],
    found: Sequence[Projection],
    cells: Sequence[Sequence[Cell]],
) -> tuple[Path, ...]:
    written = []
    for i, portrait in enumerate(portraits):
        label = f"{i}-{portrait.name}"
        save_code(found[i], folder / f"{label}.npy")
        kinds = ("aligned", "projected", *(f"mixed-{layers}" for layers in MIXED))
        for kind, cell in zip(kinds, cells[i][1:], strict=True):
            path = folder / f"{label}-{kind}.png"
            save(cell.picture, path, edits=["align"] if kind == "aligned" else [kind])
            written.append(path)
    return tuple(written)
