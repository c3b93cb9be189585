"""Writing a model repository: a folder of models, each with its versions, that Triton serves."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien_engines.bundle import Bundle
from mien_engines.errors import InputError, MissingDependency
from mien_engines.spec import Precision
from mien_export.triton import models
from mien_export.triton.models import Backend, Model, Serving
from mien_export.triton.plans import Film, ensembles_of, films_of
from mien_export.triton.text import text

VERSION = "1"
WEIGHTS = "weights.safetensors"  # what the ONNX files of a bundle point into, by this name
CONFIG = "config.pbtxt"
PRECISIONS = ("f32", "fp16")


@dataclass(frozen=True)
class Written:
    """What became of a bundle.

    models: graphs, ensembles and films, as they are served. files: of each graph, which of the
        bundle's or of the plans it is. left_out: graphs for which no plan was given.
    """

    folder: Path
    models: tuple[Model, ...]
    files: dict[str, str]
    left_out: tuple[str, ...]


def export_triton(
    bundle: Bundle,
    folder: Path,
    *,
    graphs: Sequence[str] | None = None,
    backend: Backend = "ort",
    plans: Path | None = None,
    precision: Precision = "f32",
    serving: Serving | None = None,
    prefix: str | None = None,
    films: bool = True,
    copy: bool = False,
    overwrite: bool = False,
) -> Written:
    """Write the models of a bundle to a repository, beside those of other bundles.

    Args:
        graphs: those to serve; None means all, or all that have a plan.
        plans: a folder of GRAPH.plan, for backend "trt". They are not looked into: Triton runs
            what it is given, so give it plans of your own making.
        precision: "fp16" takes the forms that compute in float16, where graphs have one.
        prefix: of the models' names; None means the bundle's.
        films: also write the models that hold a style for a sequence of frames (needs onnx).
        copy: a copy of the weights for each model; else the models link to the first one's copy
            where that is possible, and the weights take space once.
        overwrite: replace models of these names.

    Each model appears in the repository when it is whole.

    Raises:
        ArchMismatch: no such graph. MissingDependency: films without onnx.
        InputError: models that are there already, a plan that is not, an unwritable folder.
    """
    serving = serving or Serving()
    files, left_out = _sources(bundle, graphs, backend, plans, precision)
    prefix = _checked_prefix(bundle.name if prefix is None else prefix)
    shots = films_of(bundle.spec, frozenset(files)) if films and backend == "ort" else ()
    every, shot = _models(bundle, files, shots, serving, backend, prefix)
    _check_free(folder, every, overwrite)
    weights = _Weights(bundle.folder / WEIGHTS, copy)

    def fill(model: Model, place: Path) -> None:
        if model.graph is not None:
            shutil.copyfile(files[model.graph], place / models.BACKENDS[backend][1])
        if model.name in shot:
            _write_film(shot[model.name], files, place)
        needed = backend == "ort" and WEIGHTS in bundle.spec.files
        if needed and (model.graph is not None or model.name in shot):
            weights.put(place / WEIGHTS, folder / model.name / VERSION / WEIGHTS)

    try:
        _write(folder, every, fill)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror or error}",
            hint="Check the folder and the free space",
        ) from error
    return Written(folder, every, {graph: path.name for graph, path in files.items()}, left_out)


def _models(
    bundle: Bundle,
    files: dict[str, Path],
    shots: Sequence[Film],
    serving: Serving,
    backend: Backend,
    prefix: str,
) -> tuple[tuple[Model, ...], dict[str, Film]]:
    """The models, and of those that are films what they are, by name."""
    specs = {graph: bundle.graph(graph) for graph in files}
    served = {
        graph: models.graph_model(f"{prefix}_{graph}", spec, serving, backend)
        for graph, spec in specs.items()
    }
    chains = [
        models.ensemble_model(f"{prefix}_{chain.name}", chain, served, serving)
        for chain in ensembles_of(bundle.spec, frozenset(files))
    ]
    shot = {f"{prefix}_{film.name}": film for film in shots}
    if shot:
        _check_onnx()
    rolling = [models.film_model(name, film, specs, serving) for name, film in shot.items()]
    return (*served.values(), *chains, *rolling), shot


def _write(folder: Path, every: Sequence[Model], fill: Callable[[Model, Path], None]) -> None:
    """Write models beside the repository, and move each into it when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for model in every:
            place = building / model.name
            (place / VERSION).mkdir(parents=True)
            (place / CONFIG).write_text(text(model.config), "utf-8")
            fill(model, place / VERSION)
            _put_in_place(place, folder / model.name)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _sources(
    bundle: Bundle,
    graphs: Sequence[str] | None,
    backend: Backend,
    plans: Path | None,
    precision: Precision,
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The file of each graph that is served, and the graphs that are left out."""
    if backend not in models.BACKENDS or precision not in PRECISIONS:
        raise InputError(
            f"backend {backend!r} with precision {precision!r}",
            hint=f"Backends: {', '.join(models.BACKENDS)}; precisions: {', '.join(PRECISIONS)}",
        )
    asked = list(bundle.spec.graphs if graphs is None else graphs)
    specs = {graph: bundle.graph(graph) for graph in asked}
    if backend == "ort":
        if plans is not None:
            raise InputError("plans were given for ONNX Runtime", hint="Ask for --backend trt")
        files = {
            graph: spec.forms[precision].file if precision in spec.forms else spec.file
            for graph, spec in specs.items()
        }
        return {graph: bundle.folder / file for graph, file in files.items()}, ()
    if plans is None:
        raise InputError("TensorRT needs plans", hint="Name their folder: --plans DIR")
    found = {graph: plans / f"{graph}.plan" for graph in asked}
    missing = [graph for graph, path in found.items() if not path.is_file()]
    if missing and (graphs is not None or len(missing) == len(asked)):
        raise InputError(
            f"there is no {found[missing[0]]}", hint="A plan is called GRAPH.plan: build it first"
        )
    return {g: p for g, p in found.items() if g not in missing}, tuple(missing)


def _checked_prefix(prefix: str) -> str:
    if not prefix or not all(c.isascii() and (c.isalnum() or c in "_-.") for c in prefix):
        raise InputError(
            f"{prefix!r} is no name for a model's folder",
            hint="Give one of letters, digits, _ and -: --prefix NAME",
        )
    return prefix


def _check_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            "a film's model needs onnx", hint="Type: pip install onnx, or add --no-films"
        ) from error


def _check_free(folder: Path, every: Sequence[Model], overwrite: bool) -> None:
    there = [model.name for model in every if (folder / model.name).exists()]
    if there and not overwrite:
        raise InputError(
            f"{folder} has {there[0]} already",
            hint="Replace it with --overwrite, or name it otherwise: --prefix",
        )


def _write_film(film: Film, files: dict[str, Path], place: Path) -> None:
    from mien_export.triton.film import film_onnx

    model = film_onnx(film, files[film.first], files[film.frame])
    (place / models.BACKENDS["ort"][1]).write_bytes(model.SerializeToString())


@dataclass
class _Weights:
    """The bundle's weights: copied for the first model, linked to that copy for the others.

    Not linked to the bundle's own: onnx refuses a file of several links, as an attack may have
    made them, and the bundle could not be built or exported again.
    """

    source: Path
    copy: bool
    first: Path | None = None

    def put(self, place: Path, becomes: Path) -> None:
        """Put them at place, which is renamed to `becomes` when its model is whole."""
        if self.copy or self.first is None:
            shutil.copyfile(self.source, place)
        else:
            _link_or_copy(self.first, place)
        self.first = becomes


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _put_in_place(made: Path, target: Path) -> None:
    """Give made its name; what stood there goes only after that."""
    replaced = made.with_name(f"{made.name}.replaced")
    if target.exists():
        target.rename(replaced)
    made.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)
