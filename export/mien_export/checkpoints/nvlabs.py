"""NVlabs' network pickles, read without the code they carry.

Every module of such a file comes with the source it was defined in, which the original loader
executes. Here the source is dropped, and the module's state is kept.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mien_engines.errors import ArchMismatch, CorruptFile, LimitExceeded, UnsafeFile
from mien_export.checkpoints.archive import MAKERS, NAMES, nested_storage
from mien_export.checkpoints.faults import shown
from mien_export.checkpoints.inert_pickle import Machine, Maker, Record
from mien_export.checkpoints.tensors import TensorView

FIELDS = {"type", "version", "module_src", "class_name", "state"}
VERSION = 6  # of the record; both of NVlabs' repositories write and accept no other
MAX_MODULES, MAX_DEPTH, MAX_TENSORS = 10_000, 16, 100_000
MAX_NAME = 100  # characters of a module's or a tensor's own name


@dataclass(frozen=True, eq=False)
class Module:
    """A pickled torch.nn.Module: its class's name and its state."""

    class_name: str
    state: dict[str, Any]

    def items(self, kind: str) -> list[tuple[str, Any]]:
        """Return the entries of _parameters, _buffers or _modules that are not None."""
        value = self.state.get(kind, {})
        if not isinstance(value, dict):
            raise CorruptFile(f"{self.class_name}.{kind} is {shown(value)}, expected a dict")
        found = [(name, entry) for name, entry in value.items() if entry is not None]
        for name, _ in found:
            if not isinstance(name, str) or len(name) > MAX_NAME or "." in name:
                raise CorruptFile(f"{self.class_name}.{kind} has an entry named {shown(name)}")
        return found


def walk(root: Module) -> Iterator[tuple[str, Module]]:
    """Yield root and the modules below it, with dotted names.

    A file can make a module its own child, or two children the same forty times over.
    """
    waiting, count = [("", root)], 0
    while waiting:
        path, module = waiting.pop()
        count += 1
        if count > MAX_MODULES or path.count(".") > MAX_DEPTH:
            raise LimitExceeded(
                f"the network has more than {MAX_MODULES:,} modules, or more than {MAX_DEPTH} deep"
            )
        yield path, module
        for name, child in module.items("_modules"):
            if not isinstance(child, Module):
                raise CorruptFile(f"module {path}{name} is {shown(child)}")
            waiting.append((f"{path}{name}.", child))


def state_dict(root: Module) -> dict[str, TensorView]:
    """Return parameters and buffers, with dotted names. Raises CorruptFile, UnsafeFile."""
    found: dict[str, TensorView] = {}
    for path, module in walk(root):
        _refuse_hooks(module)
        for name, value in module.items("_parameters") + module.items("_buffers"):
            if not isinstance(value, TensorView):
                raise CorruptFile(f"{path}{name} is {shown(value)}, expected a tensor")
            found[f"{path}{name}"] = value
        if len(found) > MAX_TENSORS:
            raise LimitExceeded(f"the network has more than {MAX_TENSORS:,} tensors")
    return found


def _refuse_hooks(module: Module) -> None:
    for name, value in module.state.items():
        if isinstance(name, str) and name.endswith("_hooks") and value:
            raise UnsafeFile(f"{module.class_name} has {shown(name)}, code that would be run")


def _module(meta: Any) -> Module:
    if not isinstance(meta, dict) or set(meta) != FIELDS or meta["type"] != "class":
        raise CorruptFile("a network's record has other fields than NVlabs' files")
    if meta["version"] != VERSION:
        raise ArchMismatch(
            f"a network's record has version {shown(meta['version'])}, expected {VERSION}"
        )
    if not isinstance(meta["class_name"], str) or not isinstance(meta["state"], dict):
        raise CorruptFile("a network's record is damaged")
    return Module(shown(meta["class_name"]), meta["state"])


def _record(*_: Any) -> Record:
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
    "dnnlib.util.EasyDict": _record,
    "dnnlib.EasyDict": _record,
    "numpy._core.multiarray._reconstruct": _record,
    "numpy.core.multiarray._reconstruct": _record,
    "dnnlib.tflib.network.Network": _tf_network,
}
PICKLE_NAMES = NAMES | {"numpy.ndarray"}


def read_generator(data: bytes, name: str) -> Module:
    """Return G_ema of an NVlabs pickle. Raises UnsafeFile, CorruptFile, ArchMismatch."""
    content = Machine(PICKLE_MAKERS, PICKLE_NAMES).load(io.BytesIO(data))
    generator = content.get("G_ema") if isinstance(content, dict) else content
    if not isinstance(generator, Module):
        raise ArchMismatch(
            f"{name} holds no generator: expected NVlabs' dict with G_ema",
            hint="Name a network pickle of stylegan2-ada-pytorch",
        )
    return generator
