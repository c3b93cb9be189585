"""The tensors of an ONNX file, wherever the file keeps them: as checked raw data inside it.

A tensor may name another file that holds it. That file is opened only if it is a plain one beside
the model: onnxruntime 1.31 reads whatever a hard link leads to.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper

from mien_engines.errors import ArchMismatch, CorruptFile, LimitExceeded, UnsafeFile
from mien_export.checkpoints.faults import listed, shown
from mien_export.checkpoints.tensors import MAX_DIMENSIONS, finite

MAX_BYTES = 1 << 30  # of a model with all its tensors; ONNX itself ends at 2 GiB
KINDS = ("FLOAT", "FLOAT16", "DOUBLE", "INT64", "INT32", "INT8", "UINT8", "BOOL")
# No link that has just taken the file's place; no waiting for a named pipe.
OPEN_FLAGS = os.O_RDONLY
for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    OPEN_FLAGS |= getattr(os, flag, 0)
BESIDE = "Keep the data in a file of its own beside the model, or in the model"


class Data:
    """What the tensors of one file may still read, and the hash of all that they did."""

    def __init__(self, path: Path, own: bytes) -> None:
        self.folder = path.parent
        self.left = MAX_BYTES - len(own)
        self.digest = hashlib.sha256(own)

    def read(self, tensor: TensorProto, wanted: int) -> bytes:
        """Return the bytes of a tensor that is kept in another file."""
        places = {entry.key: entry.value for entry in tensor.external_data}
        offset = _number(places.get("offset", "0"))
        length = _number(places["length"]) if "length" in places else wanted
        if length != wanted or offset is None:
            raise CorruptFile(
                f"tensor {shown(tensor.name)} is {shown(places.get('length', 'all'))} bytes at "
                f"{shown(places.get('offset', '0'))} of a file, expected {wanted} bytes",
                hint="Export the model again",
            )
        self.left -= wanted
        if self.left < 0:
            raise LimitExceeded(f"the model's tensors have more than {MAX_BYTES:,} bytes")
        location = places.get("location", "")
        with _opened(self.folder, location) as file:
            size = os.fstat(file.fileno()).st_size
            if offset + wanted > size:
                raise CorruptFile(
                    f"tensor {shown(tensor.name)} ends at byte {offset + wanted} of "
                    f"{shown(location)}, which has {size}",
                    hint="Copy the file again, whole",
                )
            file.seek(offset)
            data = file.read(wanted)
        self.digest.update(data)
        return data


def gather_data(graph: GraphProto, data: Data) -> None:
    """Replace every tensor by one of raw data inside the model.

    Raises UnsafeFile, CorruptFile, LimitExceeded, ArchMismatch, NonFiniteWeights.
    """
    for tensor in _tensors(graph):
        tensor.CopyFrom(_plain(tensor, data))


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _plain(tensor: TensorProto, data: Data) -> TensorProto:
    kind = _kind(tensor.data_type)
    if kind not in KINDS:
        raise ArchMismatch(
            f"tensor {shown(tensor.name)} is of kind {kind}, expected one of {', '.join(KINDS)}",
            hint="Export the model in float32",
        )
    if len(tensor.dims) > MAX_DIMENSIONS or any(n < 0 for n in tensor.dims):
        raise CorruptFile(f"tensor {shown(tensor.name)} has shape ({listed(tensor.dims)})")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    wanted = prod(tensor.dims) * dtype.itemsize
    if tensor.data_location == TensorProto.EXTERNAL:
        raw = data.read(tensor, wanted)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
    else:
        raw = _typed(tensor, prod(tensor.dims)).tobytes()
    if len(raw) != wanted:
        raise CorruptFile(
            f"tensor {shown(tensor.name)} of shape ({listed(tensor.dims)}) has {len(raw)} bytes, "
            f"expected {wanted}",
            hint="Export the model again",
        )
    value = np.frombuffer(raw, dtype.newbyteorder("<")).reshape(tuple(tensor.dims))
    if dtype.kind == "f":
        finite(tensor.name, value)
    return numpy_helper.from_array(value, tensor.name)


def _typed(tensor: TensorProto, count: int) -> np.ndarray[Any, Any]:
    """Values in the field of their type, such as float_data."""
    stored = getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type))
    if len(stored) != count:
        raise CorruptFile(
            f"tensor {shown(tensor.name)} of shape ({listed(tensor.dims)}) has {len(stored)} values"
        )
    return numpy_helper.to_array(tensor)


def _kind(data_type: int) -> str:
    known = data_type in TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(data_type)) if known else shown(data_type)


def _number(text: str) -> int | None:
    """A size as the file writes it; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


@contextmanager
def _opened(folder: Path, location: str) -> Iterator[BinaryIO]:
    """Open a plain file beside the model; not a link of either kind, nothing elsewhere."""
    refused = f"the model keeps data in {shown(location)!r}"
    if location in ("", ".", "..") or any(c in location for c in "/\\\0"):
        raise UnsafeFile(f"{refused}, expected the name of a file beside it", hint=BESIDE)
    if (folder / location).is_symlink():
        raise UnsafeFile(f"{refused}, which is a link", hint=BESIDE)
    try:
        file = os.fdopen(os.open(folder / location, OPEN_FLAGS), "rb")
    except OSError as error:
        raise CorruptFile(f"{refused}: {error.strerror}", hint=BESIDE) from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise UnsafeFile(
                f"{refused}, which is a link or no plain file, {status.st_nlink} names",
                hint=BESIDE,
            )
        yield file
