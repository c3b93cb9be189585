"""Pickles that call something: every way a pickle has to call, for every callable that harms."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator

# Each would do harm, or would lead to a callable that does.
CALLABLES = (
    "os.system", "posix.system", "nt.system", "os.popen", "os.execv", "os.remove", "os.putenv",
    "subprocess.Popen", "subprocess.call", "subprocess.check_output", "pty.spawn",
    "builtins.exec", "builtins.eval", "builtins.compile", "builtins.__import__", "builtins.open",
    "builtins.getattr", "builtins.setattr", "__builtin__.eval", "importlib.import_module",
    "runpy.run_path", "code.interact", "shutil.rmtree", "ctypes.CDLL", "socket.create_connection",
    "urllib.request.urlopen", "webbrowser.open", "pickle.loads", "marshal.loads",
    "types.FunctionType", "functools.partial", "operator.methodcaller", "torch.load",
    "torch.hub.load", "torch.jit.load", "torch.utils.cpp_extension.load", "numpy.load",
    "torch._utils._rebuild_tensor", "torch.storage._load_from_bytes.__globals__", "pip.main",
)  # fmt: skip


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def named(path: str) -> tuple[str, str]:
    module, _, name = path.rpartition(".")
    return module, name


def classic(path: str) -> bytes:
    module, name = named(path)
    return f"c{module}\n{name}\n".encode()


def stacked(path: str) -> bytes:
    module, name = named(path)
    return text(module) + text(name) + b"\x93"


# Ways to call `path` with one argument; each leaves the result on the stack.
WAYS: dict[str, Callable[[str, str], bytes]] = {
    "reduce, protocol 0": lambda p, a: classic(p) + b"(V" + a.encode() + b"\ntR",
    "reduce, protocol 2": lambda p, a: b"\x80\x02" + classic(p) + text(a) + b"\x85R",
    "reduce, protocol 4": lambda p, a: b"\x80\x04" + stacked(p) + text(a) + b"\x85R",
    "inst": lambda p, a: b"\x80\x02(" + text(a) + b"i" + classic(p)[1:],
    "obj": lambda p, a: b"\x80\x02(" + classic(p) + text(a) + b"o",
    "newobj": lambda p, a: b"\x80\x02" + classic(p) + text(a) + b"\x85\x81",
    "newobj_ex": lambda p, a: b"\x80\x04" + stacked(p) + text(a) + b"\x85}\x92",
    "build on the callable": lambda p, a: b"\x80\x02" + classic(p) + b"}" + text("x") + text(a)
    + b"sb",
}  # fmt: skip


def zipped(data: bytes, entries: dict[str, bytes] | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data)
        for name, content in {"version": b"3\n", **(entries or {})}.items():
            archive.writestr(f"archive/{name}", content)
    return stream.getvalue()


LEGACY = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",  # the magic number
    b"\x80\x02M\xe9\x03.",  # protocol 1001
    b"\x80\x02}(X\r\x00\x00\x00little_endian\x88u.",
)


def legacy(data: bytes) -> bytes:
    return b"".join(LEGACY) + data + b"\x80\x02].."


def nested(data: bytes) -> bytes:
    """A call inside the bytes of a storage, which old files load by pickle again."""
    inner = legacy(data)
    argument = b"B" + struct.pack("<I", len(inner)) + inner
    return b"\x80\x03" + classic("torch.storage._load_from_bytes") + argument + b"\x85R."


def sourced(source: bytes) -> bytes:
    """NVlabs' record of a module, whose original loader executes module_src."""
    fields = {
        b"type": text("class"),
        b"version": b"K\x06",
        b"module_src": b"B" + struct.pack("<I", len(source)) + source,
        b"class_name": text("Generator"),
        b"state": b"}",
    }
    body = b"".join(text(key.decode()) + value for key, value in fields.items())
    maker = classic("torch_utils.persistence._reconstruct_persistent_obj")
    return b"\x80\x03}" + text("G_ema") + maker + b"}(" + body + b"u\x85Rs."


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "bare": lambda data: data,
    "zip": zipped,
    "stream": legacy,
    "nested": nested,
}


def calls(canary: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content. canary: a path that every successful shell command would create."""
    command = f"touch {canary}"
    containers = list(CONTAINERS)
    for i, path in enumerate(CALLABLES):
        for j, (way, make) in enumerate(WAYS.items()):
            container = containers[(i + j) % len(containers)]
            data = make(path, command) + b"."
            yield f"{path} by {way} in {container}", CONTAINERS[container](data)
    yield "source of a module", sourced(f"import os; os.system({command!r})".encode())
    for name, content in (("code/__torch__.py", b"import os"), ("constants.pkl", b"\x80\x02).")):
        yield f"program with {name}", zipped(b"\x80\x02}.", {name: content})
