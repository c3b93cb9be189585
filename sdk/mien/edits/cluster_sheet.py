"""Showing a catalogue: its clusters, numbered, and its parts, laid over faces."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.edits.catalogue import Catalogue

U8 = NDArray[np.uint8]

SIDE = 384  # px of a face at least: numbers must be read
STEP = 0.618034  # of the hue from one cluster to the next: neighbours differ
SMALLEST = 0.003  # of the picture: smaller islands get no number


def cluster_sheet(
    pictures: U8,  # [N, H, H, 3]
    labels: NDArray[np.int64],  # [N, r, r]
    catalogue: Catalogue,
) -> U8:
    """Draw a row a face: as it is, its clusters with their numbers, its parts with their names."""
    names = list(catalogue.parts)
    part = np.full(len(catalogue.centres), len(names))
    for i, name in enumerate(names):
        part[list(catalogue.parts[name])] = i
    numbers = [str(k) for k in range(len(part))]
    rows = []
    for picture, label in zip(pictures, labels, strict=True):
        side = max(1, -(-SIDE // len(picture))) * len(picture)
        large = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
        cells = [_covered(large, label, numbers), _covered(large, part[label], [*names, ""])]
        rows.append(np.concatenate([large, *cells], 1))
    return np.concatenate(rows).astype(np.uint8)


def _covered(picture: U8, label: NDArray[np.int64], names: list[str]) -> U8:
    """Lay a colour over each cluster, and its name on its islands; "" is left as it is."""
    side = len(picture)
    place = cv2.resize(label.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    hues = [colorsys.hsv_to_rgb(k * STEP % 1, 0.75, 1) for k in range(len(names))]
    colours = np.array(hues) * 255
    shown = np.array([0.45 if name else 0.0 for name in names])[place][..., None]
    mixed = picture + shown * (colours[place] - picture)
    covered = np.ascontiguousarray(np.rint(mixed).astype(np.uint8))
    for k, name in enumerate(names):
        count, islands = cv2.connectedComponents((place == k).astype(np.uint8))
        for i in range(1, count):
            island = islands == i
            if name and island.mean() > SMALLEST:
                _write(covered, name, island)
    return covered


def _write(picture: U8, name: str, island: NDArray[np.bool_]) -> None:
    """Write a name where its island is widest."""
    framed = np.pad(island.astype(np.uint8), 1)  # the picture's edge is an edge of the island
    y, x = divmod(int(cv2.distanceTransform(framed, cv2.DIST_L2, 3).argmax()), framed.shape[1])
    at = (x - 4 * len(name), y + 4)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            picture, name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness, cv2.LINE_AA
        )
