"""ArcFace: a recognition network becomes a bundle that turns faces into unit vectors."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from mien_engines.errors import ArchMismatch
from mien_engines.spec import Gate
from mien_export.checkpoints.arcface import ArcfaceCheckpoint, read_arcface
from mien_export.checkpoints.faults import naming, shown
from mien_export.content import Content, Extras
from mien_export.families.pictures import soft_pictures
from mien_export.graph import Graph, floats, image_spec, picture_spec
from mien_export.nets.ir_se import IrSe, ir_se_from_tensors
from mien_export.nets.iresnet import IResNet, iresnet_from_tensors
from mien_export.nets.mobilefacenet import MobileFaceNet, mobilefacenet_from_tensors
from mien_export.nets.pictures import from_uint8
from mien_export.nets.recogniser import Recogniser
from mien_export.nets.separable import aligned_face, bicubic

LARGEST = 1024  # px of a network's pictures
IMAGE = 256  # px of `embed_image`: what pSp's identity loss, and most losses after it, compare

Net = IResNet | IrSe | MobileFaceNet

FORMATS = {
    "iresnet": "insightface arcface_torch",
    "ir": "TreB1eN InsightFace_Pytorch",
    "mobilefacenet": "foamliu MobileFaceNet",
}

# What each network's authors call the ones whose layers they count otherwise.
OTHER_NAMES = {"iresnet198": "iresnet200", "ir102": "ir152", "ir_se102": "ir_se152"}

# Fifty layers in bf16 turn a vector by a few degrees, where strangers are eighty apart.
GATE = Gate(kind="outputs", tolerance={"f32": 1e-3, "bf16": 0.08})


class Embed(nn.Module):
    """picture -> embedding."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.recogniser = Recogniser(net)

    def forward(self, picture: Tensor) -> Tensor:
        embedding: Tensor = self.recogniser(from_uint8(picture))
        return embedding


def content(checkpoint: Path, extras: Extras) -> Content:
    """Return the graphs of a recognition network. Raises ModelError, InputError."""
    extras.only(family="arcface")
    read = read_arcface(checkpoint)
    with naming(checkpoint):
        net = network(read)
    return Content(
        graphs=arcface_graphs(net),
        format=FORMATS[read.network],
        sha256=read.sha256,
        properties={"size": net.size, "width": net.embedding, "network": name(net)},
    )


def network(read: ArcfaceCheckpoint) -> Net:
    """Build the network that the tensors describe, ready for export. Raises ArchMismatch."""
    net: Net
    if read.network == "iresnet":
        net = iresnet_from_tensors(read.tensors)
    elif read.network == "ir":
        net = ir_se_from_tensors(read.tensors)
    else:
        net = mobilefacenet_from_tensors(read.tensors)
    if net.size > LARGEST:
        raise ArchMismatch(
            f"the network takes pictures of {shown(net.size)} px, expected {LARGEST} at most",
            hint="Is it damaged?",
        )
    return net


def name(net: Net) -> str:
    """Return the name that its authors give a network."""
    if isinstance(net, MobileFaceNet):
        return "mobilefacenet"
    kind = "iresnet" if isinstance(net, IResNet) else "ir_se" if net.squeezes else "ir"
    return OTHER_NAMES.get(f"{kind}{net.depth}", f"{kind}{net.depth}")


def framing(net: Net, size: int) -> nn.Module:
    """Return how a loss on aligned faces of `size` px frames them for the network.

    insightface's serve losses that shrink the whole picture, TreB1eN's serve pSp's, which cuts the
    face out. foamliu's has no published loss; with the face cut out it tells strangers apart better
    (mean cosine 0.27 against 0.43 on synthetic people).
    """
    if isinstance(net, IResNet):
        return bicubic(size, net.size)
    return aligned_face(size, net.size)


def arcface_graphs(net: Net, size: int = IMAGE) -> list[Graph]:
    """Return `embed`, for faces cut out as the network was trained on, and `embed_image`.

    size: px of the images of `embed_image`, aligned as in FFHQ.
    """
    output = floats("embedding", ("N", net.embedding), "of length 1; cosine = scalar product")
    pictures, images = soft_pictures(net.size), from_uint8(soft_pictures(size))
    return [
        Graph(
            "embed",
            Embed(net),
            (pictures,),
            (picture_spec("picture", net.size, net.size),),
            (output,),
            GATE,
            samples={"picture": pictures[:1]},
        ),
        Graph(
            "embed_image",
            Recogniser(net, framing(net, size)),
            (images,),
            (image_spec("image", size, size),),
            (output,),
            GATE,
            samples={"image": images[:1]},
        ),
    ]
