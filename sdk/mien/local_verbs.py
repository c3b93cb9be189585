"""Verbs of local editing: a part of one face from another, and the catalogues that it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.edits import clusters as clustering
from mien.edits import local
from mien.edits.catalogue import Catalogue, as_catalogue
from mien.edits.cluster_sheet import cluster_sheet
from mien.edits.draw import draw
from mien.edits.local import Epsilon, LocalEdit
from mien.edits.parts import overlap, proposed, regions
from mien.edits.ranges import Range
from mien.errors import NoFace
from mien.images import Picture
from mien.provenance import digest
from mien_engines import Engine

if TYPE_CHECKING:
    from mien.faces.detect import DetectedFace

Face = ArrayLike | LocalEdit
F32 = NDArray[np.float32]


class LocalVerbs(ABC):
    """What a studio does with parts of faces, by a generator of family stylegan2 or stylegan1."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """The generator's engine."""

    @abstractmethod
    def sample(self, seed: int, *, psi: float = 0.7, label: int | None = None) -> F32:
        """Return a code; `Studio.sample` says how."""

    @abstractmethod
    def _codes(self, code: ArrayLike) -> F32: ...

    @abstractmethod
    def _faces(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]: ...

    def edit(
        self,
        face: Face,
        reference: Face,
        *,
        part: str,
        rho: float = local.RHO,
        epsilon: Epsilon | None = None,
        shift: bool = False,
        catalogue: Catalogue | str | Path | None = None,
    ) -> LocalEdit:
        """Give a face one part of another: its eyes, say (Collins et al. 2020).

        Args:
            face, reference: codes [L, D], projected or sampled, or earlier edits.
            part: of the catalogue. That of the demo has eyes, brows, nose, mouth, skin, hair and
                background.
            rho: the least contribution of a channel to the part, 0 to 1.
            epsilon: how much the channels may add to other parts; None means the published ones:
                50, for the nose 30, and 5 in the first four layers.
            shift: of a StyleGAN1, what is added to channels too, beside what scales them.
            catalogue: its file; None means mien's own, which is of the demo's generator.

        Raises:
            InputError: no such part, a value out of range, a code of another shape.
            ArchMismatch: a catalogue or an edit of another generator, a bundle without the graphs.
        """
        return self.edit_parts(
            face, {part: reference}, rho=rho, epsilon=epsilon, shift=shift, catalogue=catalogue
        )

    def edit_parts(
        self,
        face: Face,
        references: Mapping[str, Face],
        *,
        rho: float = local.RHO,
        epsilon: Epsilon | None = None,
        shift: bool = False,
        catalogue: Catalogue | str | Path | None = None,
    ) -> LocalEdit:
        """Give a face several parts, each of its own reference, in one pass.

        references: faces by part, such as {"eyes": anna, "mouth": mark}. The picture is that of one
            `edit` after another in this order. The other arguments and the errors are its.
        """
        engine = self.engine
        clustering.check_graphs(engine)
        own, others = self._face(face), {p: self._face(f) for p, f in references.items()}
        styles = local.edited_styles(
            engine, as_catalogue(catalogue), own, others, rho=rho, epsilon=epsilon, shift=shift
        )
        faces = [own, *others.values()]
        before = [e for x in faces if isinstance(x, LocalEdit) for e in x.picture.edits]
        edits = [*before, *(f"edit {part}" for part in others)]
        sources = [s for x in faces for s in _sources(x)]
        picture = Picture(
            local.drawn(engine, styles), tuple(dict.fromkeys(edits)), tuple(dict.fromkeys(sources))
        )
        return LocalEdit(picture, styles, engine.bundle.spec.source.sha256)

    def make_catalogue(
        self,
        *,
        parts: Mapping[str, Sequence[int]] | None = None,
        layer: Range | None = None,
        clusters: int = clustering.CLUSTERS,
        samples: int = clustering.SAMPLES,
        seed: int = clustering.SEED,
        callback: Callable[[int, int], object] | None = None,
    ) -> Catalogue:
        """Make a catalogue of this generator, by clusters of its features over random faces.

        Args:
            parts: clusters by name; None names them by the 68 landmarks of the faces. To choose by
                eye, make it, look at `show_catalogue`, and name it: `catalogue.named(...)`.
            layer: the style layer to cluster: a number, or px: "32px". None means 64 px.
            clusters: 20 were published, for pictures of 1024 px.
            samples: random faces, of the seeds from seed on. seed: of the clustering, too.
            callback: called with passes done, and of how many.

        Raises:
            InputError: a layer or a number out of range, a detector without 68 points.
            NoFace: no face was found in any sample, by which to name clusters.
            ArchMismatch: a bundle without the graphs.
        """
        clustering.check_samples(samples)
        codes = np.stack([self.sample(seed + i, psi=1.0) for i in range(samples)])
        found = clustering.make_catalogue(
            self.engine, codes, layer=layer, clusters=clusters, seed=seed, callback=callback
        )
        named = self._proposed(found, codes) if parts is None else parts
        return found.named({name: tuple(numbers) for name, numbers in named.items()})

    def show_catalogue(
        self,
        catalogue: Catalogue | str | Path | None = None,
        seeds: Sequence[int] = (1, 2, 3),
    ) -> Picture:
        """Draw random faces, their clusters with numbers, and the parts that these are.

        Raises ArchMismatch for a catalogue of another generator.
        """
        chosen = as_catalogue(catalogue)
        chosen.check(self.engine.bundle)
        codes = np.stack([self.sample(seed) for seed in seeds])
        labels = clustering.labels_of(self.engine, codes, chosen)
        sheet = cluster_sheet(draw(self.engine, codes), labels, chosen)
        return Picture(sheet, ("catalogue",), tuple(map(digest, codes)))

    def _face(self, face: Face) -> F32 | LocalEdit:
        return face if isinstance(face, LocalEdit) else self._codes(face)[0]

    def _proposed(self, catalogue: Catalogue, codes: F32) -> dict[str, tuple[int, ...]]:
        """Parts by the landmarks of the faces that the codes draw, where one is found."""
        labels = clustering.labels_of(self.engine, codes, catalogue)
        side, together = labels.shape[1], []
        for picture, label in zip(draw(self.engine, codes), labels, strict=True):
            try:
                points = self._faces(picture)[0].landmarks.points
            except NoFace:
                continue
            places = regions((points + 0.5) * side / len(picture) - 0.5, side)
            together.append(overlap(label, places, len(catalogue.centres)))
        if not together:
            raise NoFace(
                f"no face was found in any of {len(codes)} samples, by which to name clusters",
                hint="Name them yourself: parts={...}, --part eyes=3,7",
            )
        return proposed(np.sum(together, 0))


def _sources(face: F32 | LocalEdit) -> tuple[str, ...]:
    return face.picture.sources if isinstance(face, LocalEdit) else (digest(face[None]),)
