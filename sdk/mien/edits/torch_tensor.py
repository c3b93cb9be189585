"""Read the one tensor of a torch.save file, without torch and without running its pickle.

A pickle is a program, and `mien export` has a machine that runs the part of its language that
checkpoints need. A direction needs less: torch.save writes the same few instructions for every
tensor that stands alone, so a file is compared with that one sentence, and any other is refused.
There is nothing that could be run.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import CorruptFile, LimitExceeded, UnsafeFile

MAX_BYTES = 64 << 20  # of a file; 18 layers of 512 numbers are 36 KB
MAX_PICKLE = 4096  # bytes; torch.save writes 200 for a tensor
DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2"}

# What torch.save writes for a tensor: storage, offset, shape, strides, requires_grad, no hooks.
# Every instruction is written as its name, or name:argument where the argument matters; those that
# only keep things for later (PUT) are left out.
SIZES = r"(?:MARK )?(?:INT:\d+ ){1,8}TUPLE\d?"
SENTENCE = re.compile(
    r"PROTO GLOBAL:torch\._utils\._rebuild_tensor_v2 MARK "
    r"MARK TEXT:storage GLOBAL:torch\.(?P<kind>\w+) TEXT:(?P<key>\w+) TEXT:[\w:]+ "
    r"INT:\d+ TUPLE PERSID "
    rf"INT:(?P<offset>\d+) (?P<shape>{SIZES}) (?P<strides>{SIZES}) "
    r"(?:NEWFALSE|NEWTRUE) GLOBAL:collections\.OrderedDict EMPTY_TUPLE REDUCE TUPLE REDUCE STOP"
)
SAVE_AGAIN = "Save the tensor alone with torch.save, or as .npy or .safetensors"


def read_tensor(path: Path) -> NDArray[Any]:
    """Return the tensor of a file that torch >= 1.6 wrote: float16, float32 or float64.

    Raises:
        UnsafeFile: the file holds something else than one tensor.
        CorruptFile: no such file, or it is damaged. LimitExceeded: it is larger than a direction.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LimitExceeded(f"{path} is larger than {MAX_BYTES >> 20} MB", hint=SAVE_AGAIN)
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    # RuntimeError: it is encrypted, or compressed in a way that zipfile does not read.
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, EOFError, RuntimeError) as error:
        raise CorruptFile(f"{path} is no tensor of torch.save: {error}", hint=SAVE_AGAIN) from error


def _read(path: Path, archive: zipfile.ZipFile) -> NDArray[Any]:
    infos = archive.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise LimitExceeded(f"{path} is compressed, which torch.save never does", hint=SAVE_AGAIN)
    if sum(info.file_size for info in infos) > MAX_BYTES:
        raise LimitExceeded(f"{path} unpacks to more than {MAX_BYTES >> 20} MB", hint=SAVE_AGAIN)
    pickled = [info for info in infos if info.filename.endswith("/data.pkl")]
    if len(pickled) != 1:
        raise CorruptFile(f"{path} has no data.pkl", hint=SAVE_AGAIN)
    if pickled[0].file_size > MAX_PICKLE:
        raise UnsafeFile(f"{path} holds something else than one tensor of floats", hint=SAVE_AGAIN)
    folder = pickled[0].filename.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise CorruptFile(f"{path} was written on a big-endian machine", hint=SAVE_AGAIN)
    found = SENTENCE.fullmatch(_sentence(archive.read(pickled[0])))
    if not found or found["kind"] not in DTYPES:
        raise UnsafeFile(f"{path} holds something else than one tensor of floats", hint=SAVE_AGAIN)
    shape, strides = _sizes(found["shape"]), _sizes(found["strides"])
    elements = np.frombuffer(archive.read(f"{folder}data/{found['key']}"), DTYPES[found["kind"]])
    offset = int(found["offset"])
    if not _is_contiguous(shape, strides) or offset + prod(shape) > elements.size:
        raise CorruptFile(f"{path} has a tensor that is a view of another", hint=SAVE_AGAIN)
    return elements[offset : offset + prod(shape)].reshape(shape)


def _sentence(pickled: bytes) -> str:
    return " ".join(
        _word(opcode.name, argument)
        for opcode, argument, _ in pickletools.genops(pickled)
        if opcode.name not in ("BINPUT", "LONG_BINPUT", "MEMOIZE")
    )


def _word(name: str, argument: Any) -> str:
    if name == "GLOBAL":
        return f"GLOBAL:{argument.replace(' ', '.')}"
    if name in ("BINUNICODE", "SHORT_BINUNICODE"):
        return f"TEXT:{argument}"
    if name in ("BININT", "BININT1", "BININT2"):
        return f"INT:{argument}"
    return "PERSID" if name == "BINPERSID" else name


def _sizes(words: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"INT:(\d+)", words)))


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements lie in order without gaps; the stride of a dimension of 1 means nothing."""
    return len(shape) == len(strides) and all(
        size == 1 or stride == prod(shape[i + 1 :])
        for i, (size, stride) in enumerate(zip(shape, strides, strict=True))
    )
