"""Foreign checkpoint files become tensors. Nothing in them is run, and torch is not needed."""

from mien_export.checkpoints.starganv2 import StarganV2Checkpoint, read_starganv2
from mien_export.checkpoints.state_dict import (
    Weights,
    read_safetensors,
    read_state_dict,
    read_weights,
)
from mien_export.checkpoints.stylegan1 import Stylegan1Checkpoint, read_stylegan1
from mien_export.checkpoints.stylegan2 import Stylegan2Checkpoint, mean_w, read_stylegan2

__all__ = [
    "StarganV2Checkpoint",
    "Stylegan1Checkpoint",
    "Stylegan2Checkpoint",
    "Weights",
    "mean_w",
    "read_safetensors",
    "read_starganv2",
    "read_state_dict",
    "read_stylegan1",
    "read_stylegan2",
    "read_weights",
]
