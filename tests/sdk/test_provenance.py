"""What a file says of its making: written, found by others, read back, and left out."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mien
from mien import provenance
from mien.animation import Animation
from mien.bundles import BUILT_IN
from mien.cli.main import main
from mien.errors import CorruptFile, DecodeError, InputError, LimitExceeded
from mien.images import Picture, load

EDITS = ('express "happy" <1> & more', "mix ä", "]]> -->")
SOURCES = (provenance.digest(np.zeros(3)), provenance.digest(np.ones(3)))
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
EVENT = "{http://ns.adobe.com/xap/1.0/sType/ResourceEvent#}"


@pytest.fixture
def pixels(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (3, 20, 33, 3), np.uint8)


def written(path: Path, pixels: NDArray[np.uint8], *, mark: bool = True) -> Path:
    if path.suffix == ".gif" or path.stem == "moving":
        return Animation(pixels, 10, EDITS, SOURCES).save(path, mark=mark)
    return Picture(pixels[0], EDITS, SOURCES).save(path, mark=mark)


NAMES = ["a.png", "a.jpg", "a.jpeg", "a.webp", "a.gif", "moving.webp"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_back(tmp_path: Path, pixels: NDArray[np.uint8], name: str) -> None:
    found = provenance.read(written(tmp_path / name, pixels))
    assert found == provenance.Provenance(
        f"mien {mien.__version__}", provenance.SYNTHETIC, EDITS, SOURCES
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_the_mark_a_file_says_nothing(
    tmp_path: Path, pixels: NDArray[np.uint8], name: str
) -> None:
    path = written(tmp_path / name, pixels, mark=False)
    assert provenance.read(path) is None
    assert b"mien" not in path.read_bytes()
    with Image.open(path) as opened:
        assert "xmp" not in opened.info


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("gif")])
def test_others_find_the_packet_where_their_format_keeps_it(
    tmp_path: Path, pixels: NDArray[np.uint8], name: str
) -> None:
    with Image.open(written(tmp_path / name, pixels)) as opened:
        packet = opened.info["xmp"]
    root = ElementTree.fromstring(packet)
    description = next(root.iter(f"{RDF}Description"))
    assert description.get(f"{IPTC}DigitalSourceType") == provenance.SYNTHETIC
    events = [item.get(f"{EVENT}parameters") for item in root.iter(f"{RDF}li")]
    assert tuple(events[: len(EDITS)]) == EDITS


def test_a_gif_with_its_packet_is_walked_block_by_block(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    """As a reader does that does not know the block: lengths of sub-blocks, up to a zero."""
    data = written(tmp_path / "a.gif", pixels).read_bytes()
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    seen = []
    while data[at] != 0x3B:
        seen.append(data[at : at + 2])
        if data[at] == 0x21:
            at += 2
        else:
            assert data[at] == 0x2C
            flags = data[at + 9]
            at += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
        while data[at]:
            at += data[at] + 1
        at += 1
    assert at == len(data) - 1
    assert seen[0] == b"\x21\xff"
    assert sum(block[0] == 0x2C for block in seen) == len(pixels)
    with Image.open(tmp_path / "a.gif") as opened:
        assert opened.n_frames == len(pixels)  # type: ignore[attr-defined]
        assert opened.info["duration"] == 100
        assert opened.info["loop"] == 0


def test_a_moving_webp_keeps_its_frames(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    with Image.open(written(tmp_path / "moving.webp", pixels)) as opened:
        assert (opened.n_frames, opened.size) == (3, (33, 20))  # type: ignore[attr-defined]


def test_a_marked_picture_has_the_same_pixels(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for mark in (True, False):
        path = written(tmp_path / f"{mark}.png", pixels, mark=mark)
        np.testing.assert_array_equal(load(path), pixels[0])


def test_packets_of_other_programs_are_read_in_the_element_form(tmp_path: Path) -> None:
    packet = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF[1:-1]}">
      <rdf:Description><xmp:CreatorTool xmlns:xmp="http://ns.adobe.com/xap/1.0/">Other 3
      </xmp:CreatorTool><i:DigitalSourceType xmlns:i="{IPTC[1:-1]}">digitalCapture
      </i:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (4, 4)).save(path, xmp=packet.encode())
    found = provenance.read(path)
    assert found is not None
    assert (found.software, found.digital_source_type) == ("Other 3", "digitalCapture")
    assert found.edits == found.sources == ()


def test_a_file_that_says_nothing_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert provenance.read(tmp_path / "a.png") is None
    empty = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><nothing/></x:xmpmeta>"
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", xmp=empty)
    assert provenance.read(tmp_path / "a.jpg") is None


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a></x:xmpmeta>", CorruptFile),
        (b"<x:xmpmeta></x:xmpmeta>", CorruptFile),
        (b"<x:xmpmeta xmlns:x='a'><!ENTITY a 'b'></x:xmpmeta>", CorruptFile),
        (b"<x:xmpmeta xmlns:x='a'>" + b" " * (1 << 20) + b"</x:xmpmeta>", LimitExceeded),
        (b"<x:xmpmeta xmlns:x='a'>" + b"<a>" * 9999 + b"</x:xmpmeta>", CorruptFile),
    ],
)
def test_a_packet_that_lies_is_a_typed_error(
    tmp_path: Path, packet: bytes, error: type[Exception]
) -> None:
    (tmp_path / "a.png").write_bytes(packet)
    with pytest.raises(error):
        provenance.read(tmp_path / "a.png")


def test_what_is_no_file_is_a_typed_error(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for path in (tmp_path, tmp_path / "missing.png", Path("a\0b")):
        with pytest.raises(DecodeError):
            provenance.read(path)
    with pytest.raises(InputError, match=r"Name it \.gif, \.webp"):
        Animation(pixels).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="cannot be written"):
        Animation(pixels).save(tmp_path / "no folder" / "a.gif")
    with pytest.raises(InputError, match="expected 1 to 50"):
        Animation(pixels, 60)
    with pytest.raises(InputError, match=r"expected \[N, H, W, 3\]"):
        Animation(pixels[0])
    assert not list(tmp_path.iterdir())


def test_what_xml_cannot_say_is_replaced(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = Picture(pixels[0], ("a\0b\x1b[31m\nc",)).save(tmp_path / "a.png")
    found = provenance.read(path)
    assert found is not None
    assert found.edits == ("a?b?[31m?c",)


def test_a_pasted_face_keeps_what_was_done_to_it(pixels: NDArray[np.uint8]) -> None:
    from mien.faces.align import align
    from mien.faces.landmarks import Landmarks
    from mien.studio import Studio

    photo = np.full((200, 200, 3), 90, np.uint8)
    points = [(80, 90), (120, 90), (100, 110), (85, 130), (115, 130)]
    face = align(photo, Landmarks(np.array(points, np.float32)), size=32)
    with Studio("demo", backend="ort") as studio:
        pasted = studio.paste(photo, face, Picture(face.image, EDITS, SOURCES))
    assert pasted.edits == (*EDITS, "paste")
    assert pasted.sources == SOURCES


def test_a_drawn_face_stays_one_when_it_is_cut_out_and_pasted(tmp_path: Path) -> None:
    portraits = BUILT_IN / "portraits"
    if not (portraits / "ada.json").is_file():
        pytest.skip("the portraits are not drawn")
    drawn = provenance.read(portraits / "ada.jpg")
    assert drawn is not None
    photo, crop, back = portraits / "ada.jpg", tmp_path / "crop.png", tmp_path / "back.png"
    points = ["--landmarks", str(portraits / "ada.json"), "--size", "64"]
    assert main(["align", str(photo), "-o", str(crop), *points]) == 0
    cut = provenance.read(crop)
    assert cut is not None
    done = drawn.edits or ("render",)
    assert cut.edits == (*done, "align")
    assert cut.sources == (*drawn.sources, provenance.digest(load(photo)))
    assert cut.digital_source_type == provenance.SYNTHETIC
    assert main(["paste", str(photo), str(crop), str(crop), "-o", str(back)]) == 0
    pasted = provenance.read(back)
    assert pasted is not None
    assert pasted.edits == (*done, "align", "paste")
    assert set(cut.sources) <= set(pasted.sources)


def test_marks_of_others_and_damaged_ones_are_not_carried_on(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    other = tmp_path / "other.png"
    Picture(pixels[0], EDITS, SOURCES).save(other)
    other.write_bytes(other.read_bytes().replace(b'CreatorTool="mien', b'CreatorTool="else'))
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"<x:xmpmeta <</x:xmpmeta>")
    plain = Picture(pixels[0]).save(tmp_path / "plain.png", mark=False)
    assert provenance.carried([other, damaged, plain]) == ((), ())
    own = Picture(pixels[0], EDITS, SOURCES).save(tmp_path / "own.png")
    assert provenance.carried([own, own]) == (EDITS, SOURCES)


def test_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    wanted = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert provenance.digest(tmp_path / "a") == wanted
    assert provenance.digest(np.frombuffer(b"abc", np.uint8)) == wanted


def test_the_verb_prints_it(
    tmp_path: Path, pixels: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.png", pixels)
    assert main(["provenance", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["provenance"]
    assert tuple(record["edits"]) == EDITS
    assert main(["provenance", str(path)]) == 0
    assert provenance.SYNTHETIC in capsys.readouterr().out
    assert main(["provenance", str(written(tmp_path / "b.jpg", pixels, mark=False))]) == 0
    assert "says nothing" in capsys.readouterr().out
    assert main(["provenance", str(tmp_path / "none.png")]) == 1


def test_the_chunk_of_a_png_is_whole(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    data = written(tmp_path / "a.png", pixels).read_bytes()
    at, names = 8, []
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        body = data[at + 4 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(body)
        names.append(body[:4])
        if body.startswith(b"iTXtXML:com.adobe.xmp\0"):
            assert body[len(b"iTXtXML:com.adobe.xmp\0") :][:2] == b"\0\0"  # not compressed
        at += 12 + size
    assert b"iTXt" in names
    assert names.index(b"iTXt") < names.index(b"IDAT")


@pytest.mark.parametrize(
    ("edits", "kind"),
    [
        ((), "trainedAlgorithmicMedia"),
        (("render",), "trainedAlgorithmicMedia"),
        (("sample",), "trainedAlgorithmicMedia"),
        (("align",), "humanEdits"),
        (("align", "project"), "compositeWithTrainedAlgorithmicMedia"),
        (("mix",), "compositeWithTrainedAlgorithmicMedia"),
        (("express happy 1",), "compositeWithTrainedAlgorithmicMedia"),
        (("paste",), "compositeWithTrainedAlgorithmicMedia"),
    ],
)
def test_a_crop_is_not_called_synthetic(edits: tuple[str, ...], kind: str) -> None:
    assert provenance.of_mien(edits).digital_source_type.endswith(f"/{kind}")
