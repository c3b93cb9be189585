"""The run time's reader of one tensor, against torch's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.edits.torch_tensor import read_tensor
from mien.errors import ModelError


@pytest.mark.parametrize("shape", [(1,), (512,), (1, 512), (18, 512), (1, 18, 512), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_tensor_that_torch_saved_is_read_to_the_bit(
    tmp_path: Path, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    for saved in (tensor, tensor.clone().requires_grad_()):
        torch.save(saved, tmp_path / "a.pt")
        np.testing.assert_array_equal(read_tensor(tmp_path / "a.pt"), tensor.numpy(), strict=True)


def test_a_part_of_a_larger_tensor_is_read_from_its_place(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    torch.save(whole[1:3], tmp_path / "a.pt")
    np.testing.assert_array_equal(read_tensor(tmp_path / "a.pt"), whole[1:3].numpy())


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.ones(3)},
        [torch.ones(3)],
        torch.arange(3),
        torch.tensor(1.0),
        torch.ones(3, 4).T,
        torch.ones(1, 4).expand(3, 4),
        torch.nn.Parameter(torch.ones(3)),
        torch.ones(3, dtype=torch.bfloat16),
        "text",
    ],
    ids=lambda content: type(content).__name__,
)
def test_all_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"\.npy or \.safetensors"):
        read_tensor(tmp_path / "a.pt")


def test_the_older_stream_is_refused(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="no tensor of torch"):
        read_tensor(tmp_path / "a.pt")
