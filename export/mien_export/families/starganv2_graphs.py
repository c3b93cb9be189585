"""The graphs of a StarGAN v2 bundle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien_engines.spec import Gate, TensorSpec
from mien_export.families.pictures import soft_pictures
from mien_export.graph import BATCH, ENERGY, EXACT, PICTURE, Graph, floats, picture_spec
from mien_export.nets.fan import (
    LANDMARKS,
    MAP,
    SIZE,
    Fan,
    landmarks_from_heatmaps,
    masks_from_heatmaps,
)
from mien_export.nets.pictures import from_uint8, to_uint8
from mien_export.nets.separable import bilinear
from mien_export.nets.starganv2 import Generator
from mien_export.nets.starganv2_styles import MappingNetwork, StyleEncoder, of_domain

MASKS = ("mask_0", "mask_1")
MEANINGS = ("parts of the face that are kept", "nose and eyes alone")

# Where a heat map passes the threshold, another rounding switches a pixel of the mask on or off.
SWITCHING = Gate(kind="outputs", tolerance={"f32": 0.2})
# A landmark is the place of a maximum, and moves by whole pixels of its map, 1/64 each.
PLACES = Gate(kind="outputs", tolerance={"f32": 0.02})


class StyleLatent(nn.Module):
    """z, domain -> style, by the mapping network."""

    def __init__(self, mapping: MappingNetwork) -> None:
        super().__init__()
        self.mapping_network = mapping

    def forward(self, z: Tensor, domain: Tensor) -> Tensor:
        return of_domain(self.mapping_network(z), domain)


class StyleReference(nn.Module):
    """picture, domain -> style, by the style encoder."""

    def __init__(self, encoder: StyleEncoder) -> None:
        super().__init__()
        self.style_encoder = encoder

    def forward(self, picture: Tensor, domain: Tensor) -> Tensor:
        return of_domain(self.style_encoder(from_uint8(picture)), domain)


class Translate(nn.Module):
    """picture, style, and the masks where there is a skip -> picture in that style."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, picture: Tensor, style: Tensor, *masks: Tensor) -> tuple[Tensor, Tensor]:
        return to_uint8(self.generator(from_uint8(picture), style, masks))


class TranslateFrame(nn.Module):
    """picture, style -> picture in that style; the masks are FAN's own of that picture."""

    def __init__(self, generator: Generator, fan: Fan) -> None:
        super().__init__()
        self.heatmaps = Heatmaps(fan, generator.config.resolution)
        self.translate = Translate(generator)

    def forward(self, picture: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = self.translate(picture, style, *self.heatmaps(picture))
        return result


class TranslateReference(nn.Module):
    """picture, reference, domain -> picture in the reference's style, and that style."""

    def __init__(self, frame: nn.Module, encoder: StyleEncoder) -> None:
        super().__init__()
        self.frame, self.style = frame, StyleReference(encoder)

    def forward(
        self, picture: Tensor, reference: Tensor, domain: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        style = self.style(reference, domain)
        return *self.frame(picture, style), style


class Heatmaps(nn.Module):
    """picture -> the two masks of a translation.

    size: of the pictures and of the masks, px.
    """

    def __init__(self, fan: Fan, size: int) -> None:
        super().__init__()
        self.fan = fan
        self.enlarge = bilinear(MAP, SIZE, corners=True)
        # clovaai leaves masks at 256 px and takes every size from there; ours are the picture's.
        self.fit = bilinear(SIZE, size)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        first, second = masks_from_heatmaps(self.enlarge(self.fan(from_uint8(picture))))
        return self.fit(first), self.fit(second)


class Landmarks(nn.Module):
    """picture -> 98 landmarks."""

    def __init__(self, fan: Fan, size: int) -> None:
        super().__init__()
        self.fan, self.size = fan, size

    def forward(self, picture: Tensor) -> Tensor:
        return landmarks_from_heatmaps(self.fan(from_uint8(picture)), self.size)


def starganv2_graphs(
    generator: Generator, mapping: MappingNetwork, encoder: StyleEncoder, fan: Fan | None
) -> list[Graph]:
    """Return the graphs of a StarGAN v2 bundle, those of FAN where it comes with it."""
    size, domains = generator.config.resolution, len(mapping.unshared)
    z = torch.randn(BATCH, mapping.latent_dim, generator=torch.Generator().manual_seed(0))
    domain = torch.arange(BATCH) % domains
    picture = soft_pictures(size)
    domain_spec = TensorSpec(
        name="domain", dtype="int64", shape=("N",), meaning="number of the domain",
        range=(0, domains - 1),
    )  # fmt: skip
    style_spec = floats("style", ("N", generator.config.style_dim), "style code")
    code = StyleLatent(mapping)(z, domain)
    graphs = [
        Graph(
            "style_latent",
            StyleLatent(mapping),
            (z, domain),
            (floats("z", ("N", mapping.latent_dim), "standard normal"), domain_spec),
            (style_spec,),
            EXACT,
            samples={"z": z[:1], "domain": domain[:1]},
        ),
        Graph(
            "style_reference",
            StyleReference(encoder),
            (picture, domain),
            (picture_spec("picture", size, size), domain_spec),
            (style_spec,),
            EXACT,
            samples={"picture": picture[:1], "domain": domain[:1]},
        ),
        _translation(generator, picture, code, style_spec),
    ]
    if fan is not None:
        graphs += fan_graphs(fan, size)
    frame = _one_pass(generator, fan)
    if isinstance(frame, TranslateFrame):
        graphs.append(_framed(frame, picture, code, style_spec))
    if frame is not None:
        graphs.append(_guided(frame, encoder, picture, domain, (domain_spec, style_spec)))
    return graphs


def fan_graphs(fan: Fan, size: int) -> list[Graph]:
    """Return the graphs of FAN, for pictures of `size` px."""
    picture = soft_pictures(size)
    spec = picture_spec("picture", size, size)
    samples = {"picture": picture[:1]}
    places = floats("landmarks", ("N", LANDMARKS, 2), "x and y, px; pixels' centres are at 0.5")
    return [
        Graph(
            "heatmaps", Heatmaps(fan, size), (picture,), (spec,), _mask_specs(size), SWITCHING,
            samples=samples,
        ),
        Graph(
            "landmarks", Landmarks(fan, size), (picture,), (spec,), (places,), PLACES,
            samples=samples,
        ),
    ]  # fmt: skip


def _translation(
    generator: Generator, picture: Tensor, style: Tensor, style_spec: TensorSpec
) -> Graph:
    size = generator.config.resolution
    masks = torch.rand(BATCH, 2, 1, size, size, generator=torch.Generator().manual_seed(1))
    named = dict(zip(MASKS, masks.unbind(1), strict=True)) if generator.config.skip else {}
    return Graph(
        "translate",
        Translate(generator),
        (picture, style, *named.values()),
        (
            picture_spec("picture", size, size),
            style_spec,
            *(_mask_specs(size) if named else ()),
        ),
        (picture_spec("picture_next", size, size), ENERGY),
        PICTURE,
        frequent=True,
        samples={"picture": picture[:1], **{name: mask[:1] for name, mask in named.items()}},
    )


def _one_pass(generator: Generator, fan: Fan | None) -> nn.Module | None:
    """picture, style -> picture; None where masks are needed and nothing draws them."""
    if not generator.config.skip:
        return Translate(generator)
    return None if fan is None else TranslateFrame(generator, fan)


def _framed(frame: TranslateFrame, picture: Tensor, style: Tensor, style_spec: TensorSpec) -> Graph:
    """FAN and the generator as one graph, for frames of a video in a style that is known."""
    size = picture.shape[1]
    return Graph(
        "translate_frame",
        frame,
        (picture, style),
        (picture_spec("picture", size, size), style_spec),
        (picture_spec("picture_next", size, size), ENERGY),
        SWITCHING,
        frequent=True,
        samples={"picture": picture[:1]},
    )


def _guided(
    frame: nn.Module,
    encoder: StyleEncoder,
    picture: Tensor,
    domain: Tensor,
    specs: tuple[TensorSpec, TensorSpec],
) -> Graph:
    """All that a translation by a reference takes, as one graph: two pictures in, one out."""
    size, (domain_spec, style_spec) = picture.shape[1], specs
    return Graph(
        "translate_reference",
        TranslateReference(frame, encoder),
        (picture, picture.flip(0), domain),
        (picture_spec("picture", size, size), picture_spec("reference", size, size), domain_spec),
        (picture_spec("picture_next", size, size), ENERGY, style_spec),
        SWITCHING if isinstance(frame, TranslateFrame) else PICTURE,
        frequent=True,
        samples={"picture": picture[:1], "reference": picture[1:], "domain": domain[:1]},
    )


def _mask_specs(size: int) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=name, dtype="float32", shape=("N", 1, size, size), meaning=meaning, range=(0, 1)
        )
        for name, meaning in zip(MASKS, MEANINGS, strict=True)
    )
