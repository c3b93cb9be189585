"""Writes the golden checkpoints in the formats of their projects.

The NVlabs pickle is made with stand-in classes; its `module_src` is a text that would leave a file
behind, were it ever run.
"""

from __future__ import annotations

import collections
import pickle
import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.golden import load_golden, seeded

HOOKS = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks")


def golden_tensors(name: str) -> dict[str, torch.Tensor]:
    """The tensors of a golden checkpoint, under the names of its format."""
    spec, _ = load_golden(name)
    return {
        key: torch.from_numpy(np.array(seeded.tensor(key, tuple(shape), spec["init"])))
        for key, shape in spec["tensors"].items()
    }


def rosinality_checkpoint() -> dict[str, Any]:
    tensors = golden_tensors("rosinality-64")
    fir = torch.tensor([1.0, 3, 3, 1])
    for key in tensors:
        if key.endswith("kernel"):
            tensors[key] = torch.outer(fir, fir) / 64 * 4
    average = 0.3 * torch.from_numpy(seeded.draw("rosinality-64/latent_avg", (512,)))
    return {"g_ema": collections.OrderedDict(tensors), "latent_avg": average}


def write_rosinality_pt(path: Path) -> Path:
    torch.save(rosinality_checkpoint(), path)
    return path


class Persistent:
    """Pickles as NVlabs' persistent classes do."""

    def __init__(self, class_name: str, state: dict[str, Any], source: str) -> None:
        self.class_name, self.state, self.source = class_name, state, source

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": self.source,
            "class_name": self.class_name,
            "state": self.state,
        }
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


class EasyDict(dict[str, Any]):
    """Pickles as NVlabs' dict of that name."""


EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"


def layer_attributes(name: str, clamp: float | None, blocks: str) -> dict[str, Any]:
    """What NVlabs' layers keep beside tensors; gains are NumPy scalars there too."""
    if re.fullmatch(r"b\d+", name):
        return {"architecture": blocks}
    if name == "embed":
        return {"activation": "linear", "bias_gain": 1, "weight_gain": np.float64(0.5)}
    if name == "skip":
        return {"activation": "linear", "up": 2, "conv_clamp": None, "bias": None}
    if name.startswith("fc"):
        return {"activation": "lrelu", "bias_gain": 0.01, "weight_gain": np.float64(4.4e-4)}
    if name == "affine":
        return {"activation": "linear", "bias_gain": 1.0, "weight_gain": 1 / np.sqrt(512.0)}
    if name.startswith("conv"):
        gain = np.sqrt(2.0)
        return {"activation": "lrelu", "use_noise": True, "conv_clamp": clamp, "act_gain": gain}
    return {"conv_clamp": clamp} if name == "torgb" else {}


def module(
    class_name: str,
    tensors: dict[str, torch.Tensor],
    source: str,
    clamp: float | None = None,
    blocks: str = "skip",
    **attributes: Any,
) -> Persistent:
    """A module of the tensors below it, with a child for each first part of their names."""
    own = {k: v for k, v in tensors.items() if "." not in k}
    children: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if "." in key:
            child, _, rest = key.partition(".")
            children.setdefault(child, {})[rest] = value
    buffers = {k for k in own if k in ("noise_const", "resample_filter", "w_avg")}
    state = {
        "training": False,
        "_parameters": collections.OrderedDict(
            (k, nn.Parameter(v)) for k, v in own.items() if k not in buffers
        ),
        "_buffers": collections.OrderedDict((k, own[k]) for k in own if k in buffers),
        "_non_persistent_buffers_set": set(),
        **{hook: collections.OrderedDict() for hook in HOOKS},
        "_modules": collections.OrderedDict(
            (
                k,
                module(
                    k.capitalize(), v, source, clamp, blocks, **layer_attributes(k, clamp, blocks)
                ),
            )
            for k, v in children.items()
        ),
        **attributes,
    }
    return Persistent(class_name, state, source)


def write_nvlabs_pkl(
    path: Path,
    tensors: dict[str, torch.Tensor],
    source: str = "",
    *,
    clamp: float | None = None,
    architecture: str = "skip",
    protocol: int = 4,
) -> Path:
    spec, _ = load_golden("nvlabs-ada-64")
    keys = ("z_dim", "c_dim", "w_dim", "img_resolution")
    kwargs = EasyDict({key: spec["config"][key] for key in keys})
    generator = module(
        "Generator", tensors, source, clamp, architecture, _init_args=(), _init_kwargs=kwargs
    )
    content = {"G": generator, "G_ema": generator, "D": None, "training_set_kwargs": None}
    with fake_modules():
        path.write_bytes(pickle.dumps(content, protocol))
    return path


@contextmanager
def fake_modules() -> Iterator[None]:
    """Let pickle find what it names; none of it is ever called."""
    names = ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    fakes = {name: types.ModuleType(name) for name in names}
    fakes["dnnlib.util"].EasyDict = EasyDict  # type: ignore[attr-defined]

    def _reconstruct_persistent_obj(meta: Any) -> None:
        raise AssertionError("the file's code was run")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    fakes["torch_utils.persistence"]._reconstruct_persistent_obj = (  # type: ignore[attr-defined]
        _reconstruct_persistent_obj
    )
    sys.modules.update(fakes)
    try:
        yield
    finally:
        for name in fakes:
            del sys.modules[name]
