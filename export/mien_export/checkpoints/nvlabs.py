"""NVlabs' network pickles, read without the code they carry.

Every module of such a file comes with the source it was defined in, which the original loader
executes. Here the source is hashed and dropped, and the module's state is kept.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien_engines.errors import ArchMismatch, CorruptFile, UnsafeFile
from mien_export.checkpoints.archive import MAKERS, NAMES, nested_storage
from mien_export.checkpoints.inert_pickle import Machine, Maker, Record
from mien_export.checkpoints.tensors import TensorView

TF_NETWORK = "dnnlib.tflib.network.Network"


@dataclass
class Module:
    """A pickled torch.nn.Module: its class's name, the hash of its source, its state."""

    class_name: str
    source_sha256: str
    state: dict[str, Any] = field(default_factory=dict)

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, TensorView]]:
        """Yield parameters and buffers, with dotted names, as state_dict would."""
        for kind in ("_parameters", "_buffers"):
            for name, value in self._dict(kind).items():
                if isinstance(value, TensorView):
                    yield f"{prefix}{name}", value
                elif value is not None:
                    raise CorruptFile(f"{prefix}{name} is no tensor")
        for name, child in self._dict("_modules").items():
            if isinstance(child, Module):
                yield from child.tensors(f"{prefix}{name}.")

    def modules(self) -> Iterator[Module]:
        yield self
        for child in self._dict("_modules").values():
            if isinstance(child, Module):
                yield from child.modules()

    def _dict(self, name: str) -> dict[str, Any]:
        value = self.state.get(name, {})
        if not isinstance(value, dict):
            raise CorruptFile(f"{self.class_name}.{name} is no dict")
        return value


def _module(meta: Any) -> Module:
    wanted = {"type", "version", "module_src", "class_name", "state"}
    if not isinstance(meta, dict) or set(meta) != wanted or meta["type"] != "class":
        raise CorruptFile("a network's record has other fields than NVlabs' files")
    if not isinstance(meta["module_src"], str) or not isinstance(meta["state"], dict):
        raise CorruptFile("a network's record is damaged")
    digest = hashlib.sha256(meta["module_src"].encode()).hexdigest()
    return Module(str(meta["class_name"]), digest, meta["state"])


def _easy_dict(*_: Any) -> Record:
    return Record()


def _tf_network(*_: Any) -> Record:
    raise ArchMismatch(
        "the file is a TensorFlow StyleGAN pickle",
        hint="Convert it first with stylegan2-ada-pytorch's legacy.py, or rosinality's "
        "convert_weight.py, and export the result",
    )


PICKLE_MAKERS: dict[str, Maker] = {
    **MAKERS,
    "torch.storage._load_from_bytes": nested_storage,
    "torch_utils.persistence._reconstruct_persistent_obj": _module,
    "dnnlib.util.EasyDict": _easy_dict,
    "dnnlib.EasyDict": _easy_dict,
    "numpy._core.multiarray._reconstruct": _easy_dict,
    "numpy.core.multiarray._reconstruct": _easy_dict,
    TF_NETWORK: _tf_network,
}
PICKLE_NAMES = NAMES | {"numpy.ndarray"}


def read_generator(path: Path) -> Module:
    """Return G_ema of an NVlabs pickle. Raises UnsafeFile, CorruptFile, ArchMismatch."""
    content = Machine(PICKLE_MAKERS, PICKLE_NAMES).load(io.BytesIO(path.read_bytes()))
    if isinstance(content, dict):
        content = content.get("G_ema")
    if not isinstance(content, Module):
        raise ArchMismatch(
            f"{path.name} holds no generator: expected NVlabs' dict with G_ema",
            hint="Name a network pickle of stylegan2-ada-pytorch",
        )
    for module in content.modules():
        hooks = [name for name, value in module.state.items() if "hooks" in name and value]
        if hooks:
            raise UnsafeFile(f"{module.class_name} has {hooks[0]}, code that would be run")
    return content
