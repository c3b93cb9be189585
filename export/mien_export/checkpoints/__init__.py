"""Foreign checkpoint files become tensors. Nothing in them is run, and torch is not needed."""

from mien_export.checkpoints.state_dict import read_safetensors, read_state_dict
from mien_export.checkpoints.stylegan2 import Stylegan2Checkpoint, mean_w, read_stylegan2

__all__ = [
    "Stylegan2Checkpoint",
    "mean_w",
    "read_safetensors",
    "read_state_dict",
    "read_stylegan2",
]
