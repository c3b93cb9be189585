"""Who judges: networks that no product network learnt from here, or only in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien_export.checkpoints.arcface import read_arcface
from mien_export.families.arcface import framing, network
from mien_export.nets.recogniser import Recogniser
from zoo.faces import as_images

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

FILE = "weights/face_embed/foamliu_mobilefacenet.pt"
BATCH = 50


class Judge:
    """A published MobileFaceNet (Apache-2.0), which mien does not ship."""

    def __init__(self, data: Path) -> None:
        self._net = network(read_arcface(data / FILE))

    @torch.no_grad()
    def embed(self, pictures: U8) -> F32:  # [N, R, R, 3], FFHQ framing -> unit rows [N, 128]
        """Return who the faces are."""
        recogniser = Recogniser(self._net, framing(self._net, pictures.shape[1])).eval()
        batches = np.split(pictures, range(BATCH, len(pictures), BATCH))
        rows = [recogniser(as_images(batch)) for batch in batches]
        return np.asarray(torch.cat(rows).numpy(), np.float32)
