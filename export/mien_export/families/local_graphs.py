"""The graphs of local editing: `styles`, `render_styles`, `features`.

Collins et al. 2020 (arXiv 2004.14367) edit a part of a face by the styles of the channels that draw
it. `styles` gives the styles of a code, `render_styles` draws from them, and `features` gives what
the channels draw, by which catalogues are made.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mien_export.families.pictures import Render, blanks
from mien_export.families.w_plus import ws_spec
from mien_export.graph import ENERGY, EXACT, PICTURE, Graph, floats, picture_spec


class Features(nn.Module):
    """ws -> the feature maps that each layer's style scales, in the order of the styles.

    places: the modules that they pass. entering: what goes into those, else what comes out. Neither
    the scale nor the shift of a channel matters to a catalogue, which normalises each plane.
    """

    def __init__(self, synthesis: nn.Module, places: Sequence[nn.Module], *, entering: bool):
        super().__init__()
        self.synthesis = synthesis
        self.places = nn.ModuleList(places)
        self.entering = entering

    def forward(self, ws: Tensor) -> tuple[Tensor, ...]:
        seen: list[Tensor] = []
        handles = [
            place.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            if self.entering
            else place.register_forward_hook(lambda *passed: seen.append(passed[2]))
            for place in self.places
        ]
        try:
            self.synthesis(ws)
        finally:
            for handle in handles:
                handle.remove()
        return tuple(seen)


@torch.no_grad()
def local_graphs(
    styles: nn.Module,  # ws -> styles [N, ..., S]
    synthesis: nn.Module,  # styles -> image
    features: Features,
    ws: Tensor,  # [BATCH, num_ws, w_dim], examples
    resolution: int,
    meaning: str,
) -> list[Graph]:
    """Return the three graphs. meaning: of the styles."""
    _, layers, width = ws.shape
    code, drawn, maps = ws_spec(layers, width), styles(ws), blanks(features, ws)
    style = floats("styles", ("N", *drawn.shape[1:]), meaning)
    specs = tuple(
        floats(f"features_{i}", ("N", *x.shape[1:]), f"what style layer {i} scales")
        for i, x in enumerate(maps)
    )
    sample = {"ws": ws[:1]}
    picture = picture_spec("picture", resolution, resolution)
    return [
        Graph("styles", styles, (ws,), (code,), (style,), EXACT, samples=sample),
        Graph(
            "render_styles",
            Render(synthesis),
            (drawn,),
            (style,),
            (picture, ENERGY),
            PICTURE,
            samples={"styles": drawn[:1]},
        ),
        Graph("features", features, (ws,), (code,), specs, EXACT, samples=sample),
    ]
