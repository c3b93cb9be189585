"""Who made a picture, written into its file and read back: XMP, in words that others read too.

A picture of mien says what made it (xmp:CreatorTool), whether a trained network drew it, a part of
it or nothing (IPTC digitalSourceType), which edits were done (xmpMM:History), and the SHA-256 of
what they were done to (xmpMM:Ingredients). The packet lies uncompressed in the file, where any
reader of XMP finds it: an iTXt chunk in PNG, APP1 in JPEG, a chunk in WebP, an application block in
GIF.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike

import mien
from mien.decode import shown
from mien.errors import CorruptFile, DecodeError, LimitExceeded

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SYNTHETIC = SOURCE_TYPE + "compositeWithTrainedAlgorithmicMedia"
# Edits that draw the whole picture, and edits that no network draws anything in.
DRAWN = frozenset({"render", "sample"})
CUT = frozenset({"align"})
UNTOLD = ("render",)  # what was done where a mark of mien's names nothing
MAX_BYTES = 1 << 30  # of a file that is searched for a packet
MAX_PACKET = 1 << 20

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "stRef": "http://ns.adobe.com/xap/1.0/sType/ResourceRef#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
PACKET = re.compile(rb"<x:xmpmeta\b.*?</x:xmpmeta\s*>", re.DOTALL)


@dataclass(frozen=True)
class Provenance:
    """What a file says of its making.

    software: name and version. digital_source_type: the IPTC's address of a kind of source.
    edits: what was done, in order. sources: "sha256:..." of what it was done to.
    """

    software: str
    digital_source_type: str
    edits: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def of_mien(edits: Sequence[str], sources: Sequence[str] = ()) -> Provenance:
    """Return what mien says of a picture that it made with these edits."""
    done = tuple(edits) or UNTOLD
    return Provenance(f"mien {mien.__version__}", source_type(done), done, tuple(sources))


def source_type(edits: Sequence[str]) -> str:
    """Return the IPTC's address of the kind of source that these edits make of a picture."""
    if DRAWN.issuperset(edits):
        return SOURCE_TYPE + "trainedAlgorithmicMedia"
    return SOURCE_TYPE + "humanEdits" if CUT.issuperset(edits) else SYNTHETIC


def digest(source: str | Path | ArrayLike) -> str:
    """Name a source, "sha256:...": a file by its bytes, an array, such as pixels, by its own."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return f"sha256:{hashlib.sha256(np.ascontiguousarray(source).tobytes()).hexdigest()}"


def carried(paths: Iterable[str | Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the edits and the sources that mien's marks in files name, each once.

    What is made of the files says them again: a face that a network drew stays one when it is cut
    out or pasted. Marks of other programs, and damaged ones, are passed over.
    """
    marks = []
    for path in paths:
        with contextlib.suppress(CorruptFile, LimitExceeded):
            marks.append(read(path))
    own = [mark for mark in marks if mark is not None and mark.software.startswith("mien ")]
    edits = dict.fromkeys(edit for mark in own for edit in mark.edits or UNTOLD)
    return tuple(edits), tuple(dict.fromkeys(name for mark in own for name in mark.sources))


def packet(provenance: Provenance) -> bytes:
    """Return the XMP packet (ISO 16684-1) of a provenance, UTF-8."""
    agent = _quoted(provenance.software)
    history = "".join(
        f'<rdf:li stEvt:action="edited" stEvt:softwareAgent="{agent}" '
        f'stEvt:parameters="{_quoted(edit)}"/>'
        for edit in provenance.edits
    )
    sources = "".join(
        f'<rdf:li stRef:documentID="{_quoted(source)}"/>' for source in provenance.sources
    )
    spaces = " ".join(f'xmlns:{n}="{uri}"' for n, uri in NAMESPACES.items() if n not in "x rdf")
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="{NAMESPACES["x"]}"><rdf:RDF xmlns:rdf="{NAMESPACES["rdf"]}">'
        f'<rdf:Description rdf:about="" {spaces} xmp:CreatorTool="{agent}" '
        f'Iptc4xmpExt:DigitalSourceType="{_quoted(provenance.digital_source_type)}">'
        f"<xmpMM:History><rdf:Seq>{history}</rdf:Seq></xmpMM:History>"
        + (f"<xmpMM:Ingredients><rdf:Bag>{sources}</rdf:Bag></xmpMM:Ingredients>" * bool(sources))
        + '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )
    return text.encode()


def _quoted(text: str) -> str:
    """Text for an attribute. XML has no way to write most control characters."""
    return escape("".join(c if c.isprintable() else "?" for c in text), quote=True)


def read(path: str | Path) -> Provenance | None:
    """Return what a picture or a film says of its making; None where it says nothing.

    PNG, JPEG, WebP, GIF, MP4, QuickTime, Matroska. Files of other programs are read too, as far as
    they state the same fields.

    Raises:
        DecodeError: no such file. CorruptFile: the packet is damaged.
        LimitExceeded: a file of more than a gigabyte, or a packet of more than a megabyte.
    """
    path = Path(path)
    found = PACKET.search(_bytes(path))
    if found is None:
        return None
    if len(found[0]) > MAX_PACKET:
        raise LimitExceeded(f"{shown(path)} has an XMP packet of {len(found[0])} bytes")
    # Without a document type there are no entities, and nothing that could unfold to gigabytes.
    if b"<!" in found[0]:
        raise CorruptFile(
            f"{shown(path)} has an XMP packet with a document type", hint="Is it a picture?"
        )
    try:
        return _parsed(ElementTree.fromstring(found[0]))
    except (ElementTree.ParseError, ValueError) as error:
        raise CorruptFile(
            f"{shown(path)} has a damaged XMP packet: {error}", hint="Copy the picture again"
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise DecodeError(f"{shown(path)} is not a file", hint="Name a picture file")
        if path.stat().st_size > MAX_BYTES:
            raise LimitExceeded(f"{shown(path)} is larger than {MAX_BYTES >> 30} GB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DecodeError(
            f"{shown(path)} cannot be read: {error}", hint="Check the path"
        ) from error


def _parsed(root: ElementTree.Element) -> Provenance | None:
    software = _field(root, "xmp", "CreatorTool")
    kind = _field(root, "Iptc4xmpExt", "DigitalSourceType")
    if not software and not kind:
        return None
    edits = _items(root, "xmpMM:History", "stEvt", "parameters")
    sources = _items(root, "xmpMM:Ingredients", "stRef", "documentID")
    return Provenance(software, kind, edits, sources)


def _field(root: ElementTree.Element, space: str, name: str) -> str:
    """A property of the picture, which XMP lets stand as an attribute or as an element."""
    key = f"{{{NAMESPACES[space]}}}{name}"
    for description in root.iterfind(".//rdf:Description", NAMESPACES):
        if value := description.get(key) or description.findtext(key):
            return value.strip()
    return ""


def _items(root: ElementTree.Element, where: str, space: str, name: str) -> tuple[str, ...]:
    key = f"{{{NAMESPACES[space]}}}{name}"
    items = root.iterfind(f".//{where}//rdf:li", NAMESPACES)
    values = (item.get(key) or item.findtext(key) for item in items)
    return tuple(value for value in values if value)
