"""Outputs of the official implementations on deterministic weights, and files made of those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent


def load_golden(name: str) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Return the specification and the outputs of a golden folder."""
    spec = json.loads((HERE / name / "golden.json").read_text())
    with np.load(HERE / name / "golden.npz") as stored:
        return spec, {key: stored[key] for key in stored.files}
