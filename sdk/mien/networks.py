"""The networks that a studio works with: one bundle a family, opened at its first use."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from mien.bundles import BUILT_IN, bundle_path
from mien.errors import ArchMismatch, InputError
from mien_engines import Bundle, Choice, Engine
from mien_engines import open as open_engine

# What serves a family where no bundle of it was named.
BUILT_IN_OF = {
    "stylegan2": "demo",
    "arcface": "embedder",
    "vgg": "vgg",
    "adain": "adain",
    "vaegan": "vaegan",
    "lookalike": "lookalike",
    "starganv2": "starganv2",
}
GENERATORS = ("stylegan2", "stylegan1")  # families that draw W+ codes


class Networks:
    """Engines by family. Any number of threads may ask at once.

    bundles: names and paths; of families that none of them is of, mien's own is taken.

    Raises InputError for two bundles of one family, and what opening a bundle raises.
    """

    def __init__(
        self, bundles: Sequence[str | Path], backend: str | None, threads: int | None
    ) -> None:
        self._backend, self._threads = backend, threads
        self._engines: dict[str, Engine] = {}
        self._lock = threading.RLock()
        for name in bundles:
            self._open(bundle_path(name))

    def __getitem__(self, family: str) -> Engine:
        """Return the engine of a family. Raises ArchMismatch where there is none."""
        with self._lock:
            if family not in self._engines:
                self._open(self._own(family))
            return self._engines[family]

    @property
    def generator(self) -> Engine:
        """The engine that draws W+ codes: a StyleGAN1 where one was named, else a StyleGAN2."""
        with self._lock:
            named = [family for family in GENERATORS if family in self._engines]
            return self[named[0] if named else GENERATORS[0]]

    @property
    def families(self) -> tuple[str, ...]:
        """Those that are open."""
        return tuple(self._engines)

    def report(self) -> list[Choice]:
        """Who ran the graphs used so far."""
        return [choice for engine in self._engines.values() for choice in engine.report()]

    def close(self) -> None:
        """Free what the engines hold."""
        for engine in self._engines.values():
            engine.close()

    def _own(self, family: str) -> Path:
        path = BUILT_IN / BUILT_IN_OF.get(family, family)
        if not (path / "bundle.json").exists():
            raise ArchMismatch(
                f"no bundle of family {family} was named, and none comes with mien",
                hint=f"Make one: mien export {family} CHECKPOINT -o BUNDLE, then "
                "mien.Studio(BUNDLE)",
            )
        return path

    def _open(self, path: Path) -> None:
        bundle = Bundle.open(path)
        family = bundle.spec.family
        if family in GENERATORS and (both := self._engines.keys() & {*GENERATORS} - {family}):
            raise InputError(
                f"{self._engines[min(both)].bundle.name} and {bundle.name} both draw W+ codes",
                hint="Name one of them; open another studio for the other",
            )
        if family in self._engines:
            raise InputError(
                f"{self._engines[family].bundle.name} and {bundle.name} are both of family "
                f"{family}",
                hint="Name one of them; open another studio for the other",
            )
        self._engines[family] = open_engine(bundle, self._backend, threads=self._threads)
