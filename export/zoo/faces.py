"""The faces to train on, from tar archives of pictures."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from zoo.split import split, without_portraits

ARCHIVES = ("faces128_generated_a", "faces128_generated_b", "faces256_tpdne")


def load_faces(data: Path, resolution: int) -> NDArray[np.uint8]:
    """Return all faces, uint8 RGB [count, R, R, 3], in the order of archives and names."""
    size = (resolution, resolution)
    return np.stack(
        [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in load_pictures(data)]
    ).astype(np.uint8)


def load_pictures(data: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield them as they are stored, squares of 128 or 256 px."""
    for archive in ARCHIVES:
        with tarfile.open(data / "images" / f"{archive}.tar") as tar:
            for member in sorted(tar.getmembers(), key=lambda m: m.name):
                file = tar.extractfile(member) if member.name.endswith(".jpg") else None
                if file is not None:
                    picture = cv2.imdecode(
                        np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR_RGB
                    )
                    yield picture.astype(np.uint8)


DOMAINS = ("female", "male")


def load_domains(data: Path) -> NDArray[np.int64]:
    """Return the domain of each face of `load_faces`, in its order; -1 where none is stated.

    The source's path names it: .../female/asian/....jpg.
    """
    found = []
    for source in load_sources(data):
        folders = source.split("/")
        named = [i for i, domain in enumerate(DOMAINS) if domain in folders]
        found.append(named[0] if named else -1)
    return np.array(found)


def load_sources(data: Path) -> list[str]:
    """Return where each face of `load_faces` comes from, in its order; "" where it is not known."""
    found = []
    for archive in ARCHIVES:
        lines = (data / "images" / f"{archive}.index.tsv").read_text("utf-8").splitlines()[1:]
        sources = dict(line.split("\t")[:2] for line in lines)
        with tarfile.open(data / "images" / f"{archive}.tar") as tar:
            names = sorted(name for name in tar.getnames() if name.endswith(".jpg"))
        found += [sources.get(name, "") for name in names]
    return found


def learnt_and_held(data: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of `load_faces` to train on, and those held out.

    Portraits that figures are measured on are not among the former.
    """
    sources = load_sources(data)
    learnt, held = split(len(sources))
    return learnt[without_portraits(data, sources)[learnt]], held


def as_images(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, H, W, 3] -> float [N, 3, H, W] in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures))
    return tensor.permute(0, 3, 1, 2).float() / 127.5 - 1


LEAST = 0.35  # of a picture's side, that a softened one has left


def softened(images: Tensor) -> Tensor:  # [N, 3, H, W]
    """Half of them as if they had come with fewer pixels: drawn faces and small photographs are
    soft, and what a network is given need not be as sharp as what it must draw."""
    half = len(images) // 2
    share = LEAST + (1 - LEAST) * float(torch.rand(()))
    small = F.interpolate(images[:half], scale_factor=share, mode="bilinear", antialias=True)
    soft = F.interpolate(small, images.shape[2:], mode="bilinear")
    return torch.cat([soft, images[half:]]).contiguous(memory_format=torch.channels_last)


SHIFT, SCALE = 0.03, 0.05  # of the side: how far framings of faces differ between alignments


class Batches:
    """Random batches of training faces, half of them mirrored, all framed a little differently."""

    def __init__(self, pictures: NDArray[np.uint8], size: int, seed: int) -> None:
        self.pictures, self.size = pictures, size
        self.random = np.random.default_rng(seed)

    def __next__(self) -> Tensor:
        chosen = self.pictures[self.random.integers(0, len(self.pictures), self.size)]
        mirrored = self.random.random(self.size) < 0.5
        flipped = np.where(mirrored[:, None, None, None], chosen[:, :, ::-1], chosen)
        return as_images(np.stack([self._reframed(picture) for picture in flipped]))

    def _reframed(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = picture.shape[0]
        matrix = cv2.getRotationMatrix2D(
            (side / 2, side / 2), 0, 1 + SCALE * self.random.uniform(-1, 1)
        )
        matrix[:, 2] += SHIFT * side * self.random.uniform(-1, 1, 2)
        moved = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
        return moved.astype(np.uint8)
