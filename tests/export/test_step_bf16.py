"""The gradient of a step whose features are a VGG's, with max pooling, in bf16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien_engines import Bundle, Source, backends
from mien_engines.errors import BackendUnavailable
from mien_engines.parity import Referee
from mien_export.checkpoints import read_stylegan2
from mien_export.checkpoints.vgg import read_vgg
from mien_export.families.stylegan2 import generator_from_checkpoint
from mien_export.families.stylegan2_graphs import stylegan2_graphs
from mien_export.nets.vgg import vgg_from_checkpoint
from mien_export.steps.terms import Perceptual
from mien_export.to_bundle import write_bundle

ZOO = Path(__file__).parents[2] / "export" / "zoo"
STEP = "project_step"


@pytest.mark.slow
def test_the_gradient_of_max_pooling_survives_bf16(tmp_path: Path) -> None:
    """Where maps were compared with rounded copies of themselves, its length was 0.3 of this."""
    backend, reference = backends.get("ov-bf16"), backends.get(backends.REFERENCE)
    try:
        backend.probe()
    except BackendUnavailable as error:
        pytest.skip(error.message)
    generator = generator_from_checkpoint(read_stylegan2(ZOO / "faces128" / "generator.pt"))
    net = vgg_from_checkpoint(read_vgg(ZOO / "vgg" / "vgg.safetensors")[0]).requires_grad_(False)
    perceptual = Perceptual(lambda image: [stage[0] for stage in net.eval()(image)])
    source = Source(file="none", format="for a test", sha256="0" * 64, licence="none")
    graphs = stylegan2_graphs(generator, perceptual)
    write_bundle(tmp_path / "bundle", graphs, name="vgg-features", family="test", source=source,
                 properties={}, constants={"w_mean": generator.mapping.w_avg.numpy()})  # fmt: skip
    bundle = Bundle.open(tmp_path / "bundle")
    referee = Referee(
        bundle, lambda name: reference.open(bundle.graph_path(name), bundle.graph(name), 1)
    )
    feeds = dict(referee.feeds(STEP))
    feeds["term_weights"] = np.array([1, 0, 0, 0], np.float32).reshape(feeds["term_weights"].shape)
    path, spec = bundle.graph_path(STEP), bundle.graph(STEP)
    with reference.open(path, spec, 1) as judge, backend.open(path, spec, 1) as candidate:
        expected, found = (session.run(feeds)["m_next"] for session in (judge, candidate))
    lengths = np.linalg.norm(expected), np.linalg.norm(found)
    assert 0.9 < lengths[1] / lengths[0] < 1.1
    assert np.vdot(expected, found) > 0.98 * lengths[0] * lengths[1]
