"""Read a pickle as data. Nothing that it names is imported, and nothing of it is called.

A pickle is a program. This machine runs the part of its language that plain data need, in Python
(the C unpickler can be made to allocate 4 GB by nine bytes), and what the data's authors called is
replaced by a stand-in of ours, or refused. Work and memory grow with the file's length alone.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mien_engines.errors import CorruptFile, LimitExceeded, UnsafeFile
from mien_export.checkpoints.faults import shown

MAX_OPCODES = 2_000_000
SPARE_BYTES = 1 << 20  # that a file may hand to makers on top of twice its length
PLAIN_KEYS = (str, int, float, bytes, bool, type(None))  # hashing nested tuples can take for ever
MAX_KEY_BITS = 60  # ints of more bits can be chosen to collide, which makes a dict quadratic

Maker = Callable[..., Any]


@dataclass(frozen=True)
class Global:
    """The name of something that the file wants imported. It is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Record(dict[str, Any]):
    """A stand-in for an object of which at most the items matter. Its state is ignored."""


class _Mark:
    """What MARK puts on the stack."""


MARK = _Mark()


class Machine:
    """Reads one pickle after another from a stream.

    makers: what may be called or made, by name; each gets the file's arguments and returns data
        without copying them more than once.
    names: what may be named without being called, such as the types of storages.
    storage: turns a persistent id, a tuple of plain data, into data; None refuses them.
    """

    def __init__(
        self,
        makers: Mapping[str, Maker],
        names: frozenset[str],
        storage: Callable[[Any], Any] | None = None,
    ) -> None:
        self.makers, self.names, self.storage = makers, names, storage

    def load(self, stream: io.BytesIO) -> Any:
        """Read up to the pickle's end.

        Raises UnsafeFile, CorruptFile, LimitExceeded; damage may raise what Python raises.
        """
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.allowance = 2 * stream.getbuffer().nbytes + SPARE_BYTES
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_OPCODES:
                raise LimitExceeded(f"the pickle has more than {MAX_OPCODES:,} instructions")
            if opcode.name == "STOP":
                return self.pop()
            run = STEPS.get(opcode.name)
            if run is None:
                raise UnsafeFile(f"the pickle uses instruction {opcode.name}, which data do not")
            run(self, argument)
        raise CorruptFile("the pickle has no end")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise CorruptFile("the pickle is damaged: it takes more than it has put")
        return value

    def pop_mark(self) -> list[Any]:
        """Take everything above the last mark, and the mark."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise CorruptFile("the pickle is damaged: it closes what it never opened")

    def push_global(self, module: Any, name: Any) -> None:
        found = f"{shown(module)}.{shown(name)}"
        if not isinstance(module, str) or not isinstance(name, str) or "." in name:
            raise UnsafeFile(f"the file wants {found} to be imported")
        if f"{module}.{name}" not in self.makers and f"{module}.{name}" not in self.names:
            raise UnsafeFile(
                f"the file wants {found} to be run or imported",
                hint="Weights need no such thing; do not load this file elsewhere either",
            )
        self.stack.append(Global(module, name))

    def make(self, what: Any, arguments: Any) -> Any:
        if not isinstance(what, Global) or str(what) not in self.makers:
            name = str(what) if isinstance(what, Global) else shown(what)
            raise UnsafeFile(f"the file wants {name} to be called")
        if not isinstance(arguments, tuple):
            raise CorruptFile("the pickle is damaged: arguments are not a tuple")
        # An honest file hands over each text once. One that hands over the same text again and
        # again makes gigabytes of a few bytes.
        self.allowance -= sum(len(a) for a in arguments if isinstance(a, str | bytes))
        if self.allowance < 0:
            raise LimitExceeded("the pickle makes more bytes than it has")
        return self.makers[str(what)](*arguments)


def _push(value: Any) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine.stack.append(value)


def _push_argument(machine: Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _tuple(size: int) -> Callable[[Machine, Any], None]:
    def run(machine: Machine, _: Any) -> None:
        items = [machine.pop() for _ in range(size)]
        machine.stack.append(tuple(reversed(items)))

    return run


def _memoize(machine: Machine, argument: Any) -> None:
    machine.memo[len(machine.memo) if argument is None else argument] = machine.stack[-1]


def _set_items(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict) or len(items) % 2:
        raise CorruptFile("the pickle is damaged: items for something that is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, PLAIN_KEYS):
            raise UnsafeFile("the pickle has a dict with keys that are no plain data")
        if isinstance(key, int) and key.bit_length() > MAX_KEY_BITS:
            raise LimitExceeded(f"the pickle has a dict with keys of {MAX_KEY_BITS} bits and more")
        target[key] = value


def _run_setitem(machine: Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine.stack[-1], [key, value])


def _run_setitems(machine: Machine, _: Any) -> None:
    items = machine.pop_mark()
    _set_items(machine.stack[-1], items)


def _extend(machine: Machine, items: list[Any]) -> None:
    if not isinstance(machine.stack[-1], list):
        raise CorruptFile("the pickle is damaged: items for something that is no list")
    machine.stack[-1].extend(items)


def _run_append(machine: Machine, _: Any) -> None:
    item = machine.pop()
    _extend(machine, [item])


def _run_reduce(machine: Machine, _: Any) -> None:
    arguments, what = machine.pop(), machine.pop()
    machine.stack.append(machine.make(what, arguments))


def _run_build(machine: Machine, _: Any) -> None:
    """Drop the state of an object that has any. What is no object of ours must not get one."""
    machine.pop()
    if not isinstance(machine.stack[-1], dict):
        raise UnsafeFile("the pickle sets the state of something that has none")


def _run_stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push_global(module, name)


def _run_global(machine: Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.push_global(module, name)


def _run_persistent(machine: Machine, _: Any) -> None:
    identity = machine.pop()
    if machine.storage is None:
        raise UnsafeFile("the pickle refers to something outside itself")
    machine.stack.append(machine.storage(identity))


STEPS: dict[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
    **dict.fromkeys(
        (
            "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE",
            "SHORT_BINBYTES", "BINBYTES",
            "SHORT_BINSTRING", "BINSTRING",  # texts of Python 2, as the LPIPS heads have them
        ),
        _push_argument,
    ),
    "NONE": _push(None),
    "NEWTRUE": _push(True),
    "NEWFALSE": _push(False),
    "EMPTY_TUPLE": _push(()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_SET": lambda machine, _: machine.stack.append([]),  # a set of data serves as a list
    "MARK": _push(MARK),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "MEMOIZE": _memoize,
    "BINPUT": _memoize,
    "LONG_BINPUT": _memoize,
    "BINGET": lambda machine, i: machine.stack.append(machine.memo[i]),
    "LONG_BINGET": lambda machine, i: machine.stack.append(machine.memo[i]),
    "SETITEM": _run_setitem,
    "SETITEMS": _run_setitems,
    "APPEND": _run_append,
    "APPENDS": lambda machine, _: _extend(machine, machine.pop_mark()),
    "ADDITEMS": lambda machine, _: _extend(machine, machine.pop_mark()),
    "GLOBAL": _run_global,
    "STACK_GLOBAL": _run_stack_global,
    "REDUCE": _run_reduce,
    "NEWOBJ": _run_reduce,
    "BUILD": _run_build,
    "BINPERSID": _run_persistent,
}  # fmt: skip
