"""Does a backend run here at all? Asked in a process of its own, since a library may abort.

    python benchmarks/gpu/probe.py rtx

One small matrix product is exported, built where the backend has plans, run, and compared with
NumPy. TensorRT-RTX does not list every GPU, and what an unlisted one does is up to the library.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()
LIMIT_S = 120.0
SHAPE = (2, 64)


def probe(
    backend: str, *, program: Sequence[str] = (sys.executable, str(HERE)), limit_s: float = LIMIT_S
) -> dict[str, Any]:
    """What became of a backend: {"probe", "alive", "detail"}; it never raises for the backend's
    sake."""
    found: dict[str, Any] = {"probe": backend, "alive": False}
    try:
        done = subprocess.run(
            [*program, backend], capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {**found, "detail": f"it did not answer within {limit_s:.0f} s"}
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return {**found, "detail": f"it died of {name}: {last}"[:300]}
    if done.returncode:
        return {**found, "detail": last[:300]}
    answer = _answer(done.stdout)
    if answer is None:
        return {**found, "detail": f"it gave no answer: {last}"[:300]}
    return {**found, **answer}


def _answer(text: str) -> dict[str, Any] | None:
    """What `main` has printed. Libraries print too, before it and as the process ends."""
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and "alive" in found:
                return found
    return None


def tried(backend: str, folder: Path) -> dict[str, Any]:
    """Run the product here, in this process."""
    from opening import opened

    from mien_engines import backends

    bundle, feeds, expected = product(folder)
    runner = backends.get(backend)
    session, known = opened(bundle, "product", runner, folder / "plans")
    with session:
        error = float(np.abs(session.run(feeds)["y"] - expected).max())
    detail = f"{runner.probe()}; error {error:.1e}"
    return {"alive": error < 1e-3 and "state" not in known, "detail": detail}


def product(folder: Path) -> Any:
    """A bundle with one matrix product, inputs for it, and the result."""
    from onnx import TensorProto, helper, numpy_helper

    from mien_engines import Bundle, BundleSpec, Gate, GraphSpec, Source, TensorSpec, save_spec
    from mien_engines.bundle import file_entry

    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in (SHAPE, (SHAPE[1], SHAPE[1])))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "product.onnx").write_bytes(model.SerializeToString())
    from safetensors.numpy import save_file

    save_file({"sample.x": x}, folder / "constants.safetensors")
    tensors = {name: (TensorSpec(name=name, dtype="float32", shape=SHAPE),) for name in ("x", "y")}
    source = Source(file="none", format="random weights", sha256="0" * 64, licence="none")
    files = {f.name: file_entry(f) for f in folder.iterdir() if f.is_file()}
    gate = Gate(kind="outputs", tolerance=1e-3)
    graphs = {
        "product": GraphSpec(
            file="product.onnx", inputs=tensors["x"], outputs=tensors["y"], gate=gate
        )
    }
    save_spec(folder, BundleSpec(
        name="probe", family="probe", source=source, files=files, graphs=graphs
    ))  # fmt: skip
    return Bundle.open(folder), {"x": x}, x.astype(np.float64) @ w


def main() -> int:
    root = HERE.parents[2]
    sys.path[:0] = [str(HERE.parent), *(str(root / p) for p in ("sdk", "engines", "export"))]
    from mien_engines.errors import MienError

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = tried(sys.argv[1], Path(folder))
        except MienError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
