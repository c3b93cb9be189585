"""PyTorch as a backend, to be measured against: the very module that a graph was made from.

Entry points of group `mien.bench`. A bundle has no module, so the checkpoint is read again as the
exporter read it; its hash must be the one that the bundle names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mien_engines.backends.base import Backend, Loop, Session
from mien_engines.backends.feeds import Array
from mien_engines.bundle import Bundle
from mien_engines.errors import ArchMismatch, BackendUnavailable, InputError
from mien_engines.spec import GraphSpec, Precision
from mien_export.content import Content, Extras
from mien_export.steps.terms import Perceptual

# Properties that name which of the export's further files a loss is made with, and their options.
TERMS = {"perceptual": "--vgg and --lpips", "recogniser": "--arcface"}
Files = Mapping[str, Path]


class Torch(Backend):
    """A module in PyTorch on the CPU, float32, contiguous, as it is written."""

    name: ClassVar[str] = "torch"
    precision: ClassVar[Precision] = "f32"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    channels_last: ClassVar[bool] = False
    compiled: ClassVar[bool] = False

    def __init__(self, module: nn.Module) -> None:
        form = torch.channels_last if self.channels_last else torch.contiguous_format
        module = module.eval().to(memory_format=form)  # type: ignore[call-overload]
        self.module: nn.Module = torch.compile(module) if self.compiled else module  # type: ignore[assignment]

    def probe(self) -> str:
        return f"torch {torch.__version__}"

    def open_impl(self, path: Path, spec: GraphSpec, threads: int, cache: Path | None) -> Session:
        torch.set_num_threads(threads)
        return TorchSession(spec, self)


class TorchChannelsLast(Torch):
    """The same with channels last, which oneDNN prefers."""

    name = "torch-channels-last"
    channels_last = True


class TorchBf16(Torch):
    """The same with channels last, under autocast to bf16."""

    name = "torch-bf16"
    precision: ClassVar[Precision] = "bf16"
    channels_last = True


class TorchCompile(Torch):
    """The same by torch.compile (Inductor), which needs a C++ compiler."""

    name = "torch-compile"
    compiled = True


class TorchSession(Session):
    """Calls of a module. Images of rank 4 are handed over in the backend's layout."""

    backend: Torch

    def __init__(self, spec: GraphSpec, backend: Torch) -> None:
        super().__init__(spec, backend)
        self.names = [tensor.name for tensor in spec.inputs]

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        found = self.call(self.tensors(feeds))
        return {name: value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()
                for name, value in found.items()}  # fmt: skip

    def tensors(self, feeds: Mapping[str, Array]) -> dict[str, Tensor]:
        """Inputs as tensors, without a copy where the layout allows it."""
        last = self.backend.channels_last
        found = {name: _tensor(feeds[name]) for name in self.names}
        return {
            name: value.contiguous(memory_format=torch.channels_last)
            if last and value.ndim == 4 and value.dtype == torch.float32 else value
            for name, value in found.items()
        }  # fmt: skip

    def call(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        low = self.backend.precision == "bf16"
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            outputs = self.backend.module(*(inputs[name] for name in self.names))
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        return dict(zip(self.outputs, several, strict=True))

    def loop_impl(self, feeds: dict[str, Array], sizes: Mapping[str, int]) -> Loop:
        return TorchLoop(self, feeds)

    def close_impl(self) -> None:
        pass


class TorchLoop(Loop):
    """State stays in tensors."""

    session: TorchSession

    def __init__(self, session: TorchSession, feeds: Mapping[str, Array]) -> None:
        super().__init__(session, feeds)
        self._inputs = session.tensors({name: array.copy() for name, array in feeds.items()})
        self._outputs: dict[str, Tensor] = {}

    def step_impl(self) -> None:
        self._outputs = self.session.call(self._inputs)
        for output, name in self.session.spec.state.items():
            self._inputs[name] = self._outputs[output].float()

    def output_impl(self, name: str) -> Array:
        state = self.session.spec.state
        found = self._inputs[state[name]] if name in state else self._outputs[name]
        return found.float().numpy().copy()

    def input_impl(self, name: str) -> Array:
        return self._inputs[name].numpy().copy()

    def set_impl(self, name: str, array: Array) -> None:
        self._inputs[name] = torch.from_numpy(array.copy())


def _tensor(array: Array) -> Tensor:
    """PyTorch warns of arrays that are read-only, such as a bundle's samples."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def module_of(bundle: Bundle, graph: str, checkpoint: Path | None, files: Files) -> nn.Module:
    """Return the module that a graph of a bundle was made from.

    files: what the export took beside the checkpoint, by the names of `Extras`.

    Raises:
        InputError: no checkpoint was named, or a file that the family has no use for.
        ArchMismatch: it is another one than the bundle's, the graph came as ONNX, or its loss was
            made with other files.
        ModelError: it cannot be read.
    """
    source, family = bundle.spec.source, bundle.spec.family
    if checkpoint is None:
        raise InputError(
            f"bundle {bundle.name} holds no module of PyTorch's",
            hint=f"Name the checkpoint that it was exported from, {source.file}: --checkpoint",
        )
    try:
        module = importlib.import_module(f"mien_export.families.{family}")
    except ImportError:
        raise ArchMismatch(f"bundle {bundle.name}: family {family} is not one of mien's") from None
    content: Content = module.content(checkpoint, _extras(files))
    if content.sha256 != source.sha256:
        raise ArchMismatch(
            f"{checkpoint} has SHA-256 {content.sha256[:12]}..., bundle {bundle.name} was made "
            f"from {source.sha256[:12]}...",
            hint=f"Name {source.file}",
        )
    found = next((g.module for g in content.graphs if g.name == graph), None)
    if not isinstance(found, nn.Module):
        raise ArchMismatch(
            f"graph {graph} of bundle {bundle.name} is not among those that {checkpoint.name} gives"
            + ("" if files else " alone"),
            hint="Name what else it was exported with: --vgg, --lpips, --encoder, --arcface",
        )
    _check_terms(bundle, graph, found, content)
    return found


def _extras(files: Files) -> Extras:
    vgg, lpips, encoder, arcface = map(files.get, ("vgg", "lpips", "encoder", "arcface"))
    return Extras(vgg=vgg, lpips=lpips, encoder=encoder, arcface=arcface)


def _check_terms(bundle: Bundle, graph: str, module: nn.Module, content: Content) -> None:
    """The graph of a step has the same name with whichever loss; a time of another says nothing.

    The encoder has no name among the properties: another one shows in the accuracy.
    """
    if not any(isinstance(part, Perceptual) for part in module.modules()):
        return
    for name, options in TERMS.items():
        made, found = bundle.spec.properties.get(name), content.properties.get(name)
        # A recogniser that was not named is no part of a graph that was found.
        if found not in (made, None):
            raise ArchMismatch(
                f"graph {graph} of bundle {bundle.name} was made with {name} {made!r}, these files "
                f"give {found!r}: another loss",
                hint=f"Name the files that it was exported with, or none: {options}",
            )


def eager(bundle: Bundle, graph: str, checkpoint: Path | None, files: Files) -> Torch:
    """torch: eager, contiguous."""
    return Torch(module_of(bundle, graph, checkpoint, files))


def channels_last(bundle: Bundle, graph: str, checkpoint: Path | None, files: Files) -> Torch:
    """torch-channels-last."""
    return TorchChannelsLast(module_of(bundle, graph, checkpoint, files))


def bf16(bundle: Bundle, graph: str, checkpoint: Path | None, files: Files) -> Torch:
    """torch-bf16: channels last, autocast."""
    return TorchBf16(module_of(bundle, graph, checkpoint, files))


def compile(bundle: Bundle, graph: str, checkpoint: Path | None, files: Files) -> Torch:
    """torch-compile. Raises BackendUnavailable where Inductor cannot be used."""
    import shutil

    if not any(map(shutil.which, ("g++", "c++", "clang++", "cl"))):
        raise BackendUnavailable("torch-compile needs a C++ compiler", hint="Install g++")
    return TorchCompile(module_of(bundle, graph, checkpoint, files))


RIVALS: dict[str, Callable[[Bundle, str, Path | None, Files], Any]] = {
    "torch": eager,
    "torch-channels-last": channels_last,
    "torch-bf16": bf16,
    "torch-compile": compile,
}
