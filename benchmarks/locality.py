"""How local a local edit is, against a plain style mix of the same layers; one pass against many.

python benchmarks/locality.py [--pairs 24] [--projected 6] [--rounds 5] [--backend ort]

Of pairs of faces that the demo drew, and that took no part in its catalogue, one gives a part to
the other. Squared differences in CIELAB from the face as it was, inside the part (drawn round its
68 landmarks, mien.edits.parts) and outside, are means over the pairs. The plain mix takes the same
layers whole, and again with so much of the other face that it changes the part as much as the edit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rounds import machine, median_and_p95, take_turns

from mien import Studio
from mien.bundles import detector_path
from mien.edits.clusters import layer_sizes
from mien.edits.locality import squared_error
from mien.edits.parts import FEATURES, PARTS, regions
from mien.faces.detect import open_detector

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Pair = tuple[F32, F32]

FIRST_SEED = 5000  # the catalogue is of seeds 10 to 105
HALVINGS = 8  # of the search for the mix that changes as much


def errors(before: Sequence[U8], after: Sequence[U8], places: Sequence[U8], part: str) -> F32:
    """Return the mean squared error inside a part and outside, [2]."""
    i, found = PARTS.index(part), []
    for a, b, place in zip(before, after, places, strict=True):
        error = squared_error(a, b)
        found.append((error[place == i].mean(), error[place != i].mean()))
    return np.mean(found, 0)


def matched(changed: Callable[[float], F32], wanted: float) -> tuple[float, F32]:
    """Return how much of the other face changes the inside by as much as wanted, and the errors."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        share = (low + high) / 2
        low, high = (share, high) if changed(share)[0] < wanted else (low, share)
    return high, changed(high)


def compare(studio: Studio, pairs: Sequence[Pair]) -> list[str]:
    layers = range(len(layer_sizes(studio.engine)))
    before = [studio.render(face).array for face, _ in pairs]
    detector = open_detector(detector_path(None))
    places = [regions(detector.detect(x)[0].landmarks.points, len(x)) for x in before]
    rows = []
    for part in FEATURES:

        def mixed(share: float, part: str = part) -> F32:
            after = [studio.mix(a, b, layers=layers, psi=1 - share).array for a, b in pairs]
            return errors(before, after, places, part)

        after = [studio.edit(a, b, part=part).picture.array for a, b in pairs]
        edit, whole = errors(before, after, places, part), mixed(1.0)
        share, alike = matched(mixed, float(edit[0]))
        for name, found in (
            ("edit", edit),
            ("plain mix", whole),
            (f"plain mix, {share:.2f} of it", alike),
        ):
            rows.append(
                f"| {part} | {name} | {found[0]:.1f} | {found[1]:.1f} | {found[0] / found[1]:.2f} |"
            )
    return rows


def one_pass(studio: Studio, rounds: int) -> str:
    face, *others = (studio.sample(FIRST_SEED + i) for i in range(len(FEATURES) + 1))
    references = dict(zip(FEATURES, others, strict=True))

    def fused() -> U8:
        return studio.edit_parts(face, references).picture.array

    def sequential() -> U8:
        edited = studio.edit(face, others[0], part=FEATURES[0])
        for part, other in list(references.items())[1:]:
            edited = studio.edit(edited, other, part=part)
        return edited.picture.array

    assert (fused() == sequential()).all()
    times = take_turns({"fused": fused, "sequential": sequential}, rounds)
    fast, slow = (median_and_p95(times[key])[0] * 1e3 for key in ("fused", "sequential"))
    return f"| {len(references)} parts | {fast:.1f} | {slow:.1f} | {slow / fast:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--projected", type=int, default=6, help="pairs that are projected anew")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="ort")
    options = parser.parse_args()
    with Studio("demo", backend=options.backend) as studio:
        codes = [studio.sample(FIRST_SEED + i) for i in range(2 * options.pairs)]
        pairs = list(zip(codes[::2], codes[1::2], strict=True))
        pictures = [studio.render(x).array for x in codes[: 2 * options.projected]]
        found = [x.ws for x in studio.project_all(pictures, "fast")] if pictures else []
        print(f"{machine('onnxruntime', 'numpy')}\nbackend {options.backend}\n")
        for what, of in (
            (f"{len(pairs)} pairs of samples", pairs),
            (
                f"{options.projected} pairs, projected",
                list(zip(found[::2], found[1::2], strict=True)),
            ),
        ):
            if of:
                print(f"\n{what}\n\n| part | how | inside | outside | inside / outside |")
                print("| --- | --- | ---: | ---: | ---: |", *compare(studio, of), sep="\n")
        print("\n| all at once | one pass, ms | one after another, ms | ratio |")
        print("| --- | ---: | ---: | ---: |", one_pass(studio, options.rounds), sep="\n")


if __name__ == "__main__":
    main()
