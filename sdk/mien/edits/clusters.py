"""Making a catalogue: clusters of feature maps, and what each channel contributes to each.

Collins et al. 2020 (arXiv 2004.14367), sections 3.1 and 3.2. Features are those that a layer's
style scales, each plane normalised to mean 0 and variance 1, as StyleGAN1 has them; StyleGAN2 does
not normalise, and is normalised here for the same measure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mien.edits.catalogue import Catalogue
from mien.edits.kmeans import nearest, normalised, spherical_kmeans
from mien.edits.ranges import Range, chosen
from mien.errors import ArchMismatch, InputError
from mien_engines import Engine

F32 = NDArray[np.float32]
Labels = NDArray[np.int64]
Callback = Callable[[int, int], object]

GRAPHS = ("styles", "render_styles", "features")
# Published are clusters of 32 px, 20 of them in the code. The demo's faces are small: the more
# clusters of 64 px, the nearer parts come to their landmarks (docs/edit.md).
CLUSTERS, CLUSTERED_PX = 96, 64
SAMPLES, SEED = 96, 10
MOST_SAMPLES, MOST_CLUSTERS = 4096, 255
EPS = 1e-5  # of every instance normalisation


def check_graphs(engine: Engine) -> None:
    """Raise ArchMismatch where the bundle was made without the graphs of local editing."""
    missing = [name for name in GRAPHS if name not in engine.bundle.spec.graphs]
    if missing:
        raise ArchMismatch(
            f"bundle {engine.bundle.name} has no graph {missing[0]}, for local editing",
            hint="Export its checkpoint again: mien export stylegan2 CHECKPOINT -o BUNDLE",
        )


def layer_sizes(engine: Engine) -> list[tuple[int, int]]:
    """Return channels and px of each style layer. Raises ArchMismatch as `check_graphs`."""
    check_graphs(engine)
    shapes = [output.shape for output in engine.bundle.graph("features").outputs]
    return [(int(shape[1]), int(shape[2])) for shape in shapes]


def layer_number(engine: Engine, layer: Range | None) -> int:
    """Return the style layer that is meant: a number, or px such as "64px", the first of those.

    None means the first of CLUSTERED_PX, or the last of a generator that has none.
    Raises InputError for one that does not exist.
    """
    sides = [px for _, px in layer_sizes(engine)]
    if layer is None:
        return sides.index(CLUSTERED_PX) if CLUSTERED_PX in sides else len(sides) - 1
    return chosen(layer, {}, sides, noun="layer", owner="generator")[0]


def plane_normalised(features: F32) -> F32:  # [N, C, H, W]
    """Return each plane with mean 0 and variance 1."""
    centred = features - features.mean((2, 3), keepdims=True, dtype=np.float32)
    deviation = np.sqrt(centred.var((2, 3), keepdims=True) + EPS)
    return np.asarray(centred / deviation, np.float32)


def contributions(features: F32, labels: Labels, count: int) -> F32:
    """Return M [K, C] = 1 / (N H W) sum A^2 U (Eq. 1) of one layer.

    features: [N, C, H, W], whose planes are normalised to A. labels: the cluster of each place,
    [N, h, w], enlarged or reduced by nearest neighbours; U is 1 where they are k.
    """
    squared = plane_normalised(features) ** 2
    _, channels, height, width = squared.shape
    rows, columns = (
        np.arange(wanted) * size // wanted
        for wanted, size in zip((height, width), labels.shape[1:], strict=True)
    )
    here = labels[:, rows][:, :, columns].reshape(-1)
    member = np.eye(count, dtype=np.float32)[here]  # [N H W, K]
    total = member.T @ squared.transpose(0, 2, 3, 1).reshape(-1, channels)
    return np.asarray(total / len(member), np.float32)


def labels_of(engine: Engine, codes: F32, catalogue: Catalogue) -> Labels:  # [N, L, D] -> [N, r, r]
    """Return the cluster of every place in the features of codes."""
    name = f"features_{catalogue.layer}"
    return _labelled(
        np.concatenate([engine.run("features", ws=code[None])[name] for code in codes]),
        catalogue.centres,
    )


def make_catalogue(
    engine: Engine,
    codes: F32,  # [N, L, D]
    *,
    layer: Range | None = None,
    clusters: int = CLUSTERS,
    seed: int = SEED,
    callback: Callback | None = None,
) -> Catalogue:
    """Cluster the features of codes in one layer; the clusters have no names yet.

    callback: called with passes done, and of how many: two a code.
    Raises InputError for a layer that does not exist, a number of clusters out of range, and as
    `spherical_kmeans`.
    """
    sizes, number = layer_sizes(engine), layer_number(engine, layer)
    if not 1 <= clusters <= MOST_CLUSTERS:
        raise InputError(f"{clusters} clusters, expected 1 to {MOST_CLUSTERS}")
    done = iter(range(1, 2 * len(codes) + 1))

    def passed(code: F32) -> dict[str, F32]:
        outputs = engine.run("features", ws=code[None])
        if callback is not None:
            callback(next(done), 2 * len(codes))
        return outputs

    maps = np.concatenate([passed(code)[f"features_{number}"] for code in codes])
    centres = spherical_kmeans(_rows(maps), clusters, seed=seed)
    labels = _labelled(maps, centres)
    total = np.zeros((clusters, sum(channels for channels, _ in sizes)), np.float64)
    for code, label in zip(codes, labels, strict=True):
        outputs = passed(code)
        layers = [outputs[f"features_{i}"] for i in range(len(sizes))]
        total += np.concatenate([contributions(x, label[None], clusters) for x in layers], 1)
    return Catalogue(
        contributions=(total / len(codes)).astype(np.float16),
        channels=tuple(channels for channels, _ in sizes),
        centres=centres,
        layer=number,
        parts={},
        generator=engine.bundle.name,
        generator_sha256=engine.bundle.spec.source.sha256,
        samples=len(codes),
        seed=seed,
    )


def check_samples(count: int) -> None:
    """Raise InputError for a number of samples that no catalogue is made of."""
    if not 1 <= count <= MOST_SAMPLES:
        raise InputError(f"{count} samples, expected 1 to {MOST_SAMPLES}")


def _rows(maps: F32) -> F32:  # [N, C, H, W] -> [N H W, C]
    return plane_normalised(maps).transpose(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _labelled(maps: F32, centres: F32) -> Labels:
    n, _, height, width = maps.shape
    return nearest(normalised(_rows(maps)), centres).reshape(n, height, width)
