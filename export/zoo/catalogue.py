"""Make the catalogue of the demo's generator, for local editing.

    python -m zoo.catalogue [--look SHEET.png]

Its clusters are named by the landmarks of the bundle `faces`. No photograph is used. A generator
that is trained anew needs it anew.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mien import Studio
from mien.cli.progress import count_bar
from mien.edits.catalogue import OWN, SHIPPED, SUFFIX


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--look", type=Path, help="a sheet to look at: clusters and parts")
    options = parser.parse_args()
    with Studio(OWN, backend="ort") as studio, count_bar("faces") as show:
        found = replace(
            studio.make_catalogue(callback=show),
            licence="Apache-2.0",
            note="Made by export/zoo/catalogue.py of faces that the generator drew",
        )
        SHIPPED.mkdir(parents=True, exist_ok=True)
        found.save(SHIPPED / f"{OWN}{SUFFIX}")
        if options.look is not None:
            studio.show_catalogue(found).save(options.look)


if __name__ == "__main__":
    main()
