"""The families of networks, one module each: `content(checkpoint, extras) -> Content`.

A new family is a module here, its network in `nets/`, and a line in FAMILIES.
"""

from __future__ import annotations

FAMILIES = {
    "stylegan2": "NVlabs .pkl (stylegan2-ada-pytorch, stylegan3), rosinality .pt",
}
"""Name -> the checkpoints it reads. The name is the module's, too."""
