"""Attributes added to nodes of an ONNX model, on its bytes: the run time has no onnx package.

An ONNX file is a protobuf message. A field is a tag (number and kind) and a value; nested messages
are bytes with a length in front. Only messages on the way to a node are written anew, all else is
copied as it is, unknown fields included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from mien_engines.errors import CorruptFile

# Numbers of the fields of onnx.proto3.
MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, FUNCTION_NODE = 1, 7
NODE_OP_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_STRING, ATTRIBUTE_GRAPH, ATTRIBUTE_TYPE = 1, 3, 4, 6, 20
TYPE_INT, TYPE_STRING = 2, 3

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds


def with_attributes(
    model: bytes, domain: str, op_type: str, attributes: Mapping[str, str | int]
) -> bytes:
    """The model with attributes on every node of a type, wherever it stands.

    A node that has one of them already keeps its own. Raises CorruptFile where the bytes are no
    protobuf message.
    """
    identity = (domain.encode(), op_type.encode())

    def node(message: bytes) -> bytes:
        message = _rewritten(message, {NODE_ATTRIBUTE: attribute})
        fields = {number: value for number, value, _ in _fields(message)}
        if (fields.get(NODE_DOMAIN), fields.get(NODE_OP_TYPE)) != identity:
            return message
        named = {_name(value) for number, value, _ in _fields(message) if number == NODE_ATTRIBUTE}
        added = (a for a in attributes.items() if a[0].encode() not in named)
        return message + b"".join(_bytes_field(NODE_ATTRIBUTE, _attribute(*a)) for a in added)

    def attribute(message: bytes) -> bytes:  # of If and Loop: a graph
        return _rewritten(message, {ATTRIBUTE_GRAPH: graph})

    def graph(message: bytes) -> bytes:
        return _rewritten(message, {GRAPH_NODE: node})

    def function(message: bytes) -> bytes:
        return _rewritten(message, {FUNCTION_NODE: node})

    return _rewritten(model, {MODEL_GRAPH: graph, MODEL_FUNCTIONS: function})


def _rewritten(message: bytes, changes: Mapping[int, Callable[[bytes], bytes]]) -> bytes:
    """The message with some of its nested ones changed."""
    parts = []
    for number, value, whole in _fields(message):
        if number in changes and isinstance(value, bytes):
            whole = _bytes_field(number, changes[number](value))
        parts.append(whole)
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Number, value where it is bytes, and all bytes of each field."""
    at = 0
    while at < len(message):
        begin = at
        tag, at = _varint(message, at)
        kind, value = tag & 7, None
        if kind == BYTES:
            length, at = _varint(message, at)
            value = message[at : at + length]
            at += length
        elif kind == VARINT:
            _, at = _varint(message, at)
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise CorruptFile(f"the ONNX model has a field of unknown kind {kind}")
        if at > len(message):
            raise CorruptFile("the ONNX model ends within a field")
        yield tag >> 3, value, message[begin:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise CorruptFile("the ONNX model ends within a number")


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _bytes_field(number: int, value: bytes) -> bytes:
    return _number(number << 3 | BYTES) + _number(len(value)) + value


def _attribute(name: str, value: str | int) -> bytes:
    start = _bytes_field(ATTRIBUTE_NAME, name.encode())
    if isinstance(value, str):
        content, kind = _bytes_field(ATTRIBUTE_STRING, value.encode()), TYPE_STRING
    else:
        content, kind = _number(ATTRIBUTE_INT << 3 | VARINT) + _number(value), TYPE_INT
    return start + content + _number(ATTRIBUTE_TYPE << 3 | VARINT) + _number(kind)


def _name(attribute: bytes | None) -> bytes | None:
    fields = {number: value for number, value, _ in _fields(attribute or b"")}
    return fields.get(ATTRIBUTE_NAME)
