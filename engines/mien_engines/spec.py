"""What a bundle promises: the schema of `bundle.json`, shared by exporter and run time."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

SCHEMA_VERSION = 1

Precision = Literal["f32", "bf16", "fp16"]
DType = Literal["float32", "float16", "uint8", "int32", "int64", "bool"]

# One plain name: a bundle's files lie beside its manifest and nowhere else.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Record):
    """An input or an output of a graph.

    shape: sizes; a name such as "N" stands for any size, the same one wherever it occurs.
    range: the lowest and the highest value that it means.
    """

    name: str
    dtype: DType
    shape: tuple[int | str, ...]
    meaning: str = ""
    range: tuple[float, float] | None = None
    colour: Literal["RGB"] | None = None


class Gate(_Record):
    """When another backend may stand in for the reference.

    outputs: for every output, the greatest difference, divided by the range of the reference's
        values, is at most the tolerance.
    loop: before the last of `steps` steps, the output `watch` (a loss, one a sample), taken by the
        reference, is at most 1 + tolerance times that of the reference's own run; and the backend
        misreads it by at most the tolerance, as a part of the loss at the beginning.

    tolerance: one for all precisions, or one each; a precision that is not listed is not admitted.
    """

    kind: Literal["outputs", "loop"]
    tolerance: float | dict[Precision, float]
    steps: int = Field(default=1, ge=1)
    watch: str | None = None

    def tolerance_for(self, precision: Precision) -> float | None:
        """The tolerance at a precision; None where the precision is not admitted."""
        if isinstance(self.tolerance, dict):
            return self.tolerance.get(precision)
        return self.tolerance


class Form(_Record):
    """A graph at another precision, in a file of its own.

    errors: for every output, the greatest difference from the float32 form over the samples, as a
        part of the range of its values; measured when the bundle was made.
    """

    file: FileName
    errors: dict[str, float]


class GraphSpec(_Record):
    """One ONNX file, and its forms at other precisions.

    state: output name -> the input that it becomes at the next step.
    frequent: run so often (once a frame, say) that it pays to measure which backend is fastest;
        graphs with state always are.
    errors: for every output, the greatest difference of the file, run in ONNX Runtime on the
        samples, from the network in PyTorch that it was made from, as a part of the range of its
        values; measured when the bundle was made. Empty for a step with state, and for what came as
        ONNX.
    """

    file: FileName
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    gate: Gate
    state: dict[str, str] = {}
    frequent: bool = False
    errors: dict[str, float] = {}
    forms: dict[Precision, Form] = {}

    @property
    def name(self) -> str:
        return self.file.removesuffix(".onnx")

    @property
    def measured(self) -> bool:
        """Whether the fastest backend is looked for."""
        return self.frequent or bool(self.state)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        inputs = {tensor.name: tensor for tensor in self.inputs}
        outputs = {tensor.name: tensor for tensor in self.outputs}
        if len(inputs) < len(self.inputs) or len(outputs) < len(self.outputs):
            raise ValueError("two inputs or two outputs have the same name")
        if both := inputs.keys() & outputs.keys():
            name = min(both)  # ONNX has one name space: the output would be the input, unchanged
            raise ValueError(f"{name} is an input and an output; call the output {name}_next")
        for source, target in self.state.items():
            if source not in outputs or target not in inputs:
                raise ValueError(f"state {source} -> {target} is not an output -> an input")
            before, after = inputs[target], outputs[source]
            if (before.dtype, before.shape) != (after.dtype, after.shape):
                raise ValueError(f"state {source} -> {target} changes dtype or shape")
        if self.state:
            known = {size for tensor in self.inputs for size in tensor.shape}
            for tensor in self.outputs:
                if unknown := [s for s in tensor.shape if isinstance(s, str) and s not in known]:
                    raise ValueError(f"output {tensor.name}: no input has dimension {unknown[0]}")
        if self.gate.kind == "loop" and (not self.state or self.gate.watch not in outputs):
            raise ValueError("a loop gate needs state and an output to watch")
        return self


class Source(_Record):
    """The checkpoint that a bundle was made from."""

    file: str
    format: str
    sha256: Sha256
    licence: str


class FileEntry(_Record):
    """A file of the bundle, as it must be."""

    sha256: Sha256
    bytes: int = Field(ge=0)


class BundleSpec(_Record):
    """The whole of `bundle.json`."""

    schema_version: Literal[1] = 1
    name: str
    family: str
    source: Source
    properties: dict[str, int | float | str | list[int | float | str]] = {}
    files: dict[FileName, FileEntry]
    graphs: dict[str, GraphSpec]

    @model_validator(mode="after")
    def _files_are_listed(self) -> Self:
        for name, graph in self.graphs.items():
            for file in (graph.file, *(form.file for form in graph.forms.values())):
                if file not in self.files:
                    raise ValueError(f"graph {name}: {file} is not among the files")
        return self
