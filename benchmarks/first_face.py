"""From nothing to the first rendered face: fresh processes, mien's cache empty and filled.

python benchmarks/first_face.py [--count 5] [--backend ort --backend ov]
"""

from __future__ import annotations

import argparse
import json

from rounds import machine

from mien.bench.starts import starts
from mien.errors import MienError

BACKENDS = ("ort", "ov", "ov-bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5, help="processes of each kind")
    parser.add_argument("--backend", action="append")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    options = parser.parse_args()
    where = machine("numpy", "onnxruntime", "openvino")
    print(json.dumps({"machine": where}) if options.json else f"{where}\n")
    if not options.json:
        print("| backend | cache | import s | open s | first face s | in all s | MB | n |")
        print("| --- | --- |" + " ---: |" * 6)
    for name in options.backend or BACKENDS:
        try:
            found = starts(
                "render", name, count=options.count, bundle=None, verb="render",
                threads=options.threads,
            )  # fmt: skip
        except MienError as error:
            print(f"# {name}: {error}")
            continue
        for s in found:
            if options.json:
                print(s.model_dump_json())
                continue
            print(
                f"| {s.who} | {s.cache} | {s.import_s:.3f} | {s.load_s:.2f} | {s.call_s:.3f} | "
                f"{s.total_s:.2f} | {s.resident_mb or 0:.0f} | {s.count} |"
            )


if __name__ == "__main__":
    main()
