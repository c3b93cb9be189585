"""Build plans for TensorRT-RTX, and write down what became of each graph.

python examples/22_plans.py
"""

from __future__ import annotations

import json
from pathlib import Path

import mien_engines
from mien.bundles import bundle_path
from mien.errors import BackendUnavailable

report: dict[str, object] = {}
for precision in ("fp32", "fp16"):
    try:
        built = mien_engines.build(bundle_path("adain"), "rtx", precision, ["transfer"])
    except BackendUnavailable as error:  # TensorRT-RTX is not installed
        report[precision] = str(error)
        continue
    report[precision] = built.record()
    for plan in built.plans:
        print(f"{plan.graph} in {precision}: {plan.state} {plan.detail}, {plan.layers} layers")

# A plan that was accepted runs: mien.Studio("demo", backend="rtx"). Without a GPU none is.
Path("plans.json").write_text(json.dumps(report, indent=1))
print("plans.json")
