"""One step of a search for the pixels themselves: Gatys' style transfer as one graph.

Gatys et al. 2016 ("Image Style Transfer Using Convolutional Neural Networks"): a picture whose
feature maps have the content's values and the style's Gram matrices. System 2 is the form of it
that PyTorch's tutorial made common; what is minimised here is that one's, and so are the units of
its weights:

- Maps are taken before the ReLU, where the paper takes them behind it.
- A Gram matrix is divided by C H W, and losses are means. The paper's E_l is C^2 / 4 times ours.
- The paper has no term of smoothness and keeps no bounds; here the image stays in [-1, 1].

Several styles enter as the mean of their Gram matrices. The weighted sum of the squared distances
from each differs from the squared distance from their weighted mean by a constant alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mien_export.nets.pictures import from_uint8
from mien_export.nets.vgg import Vgg
from mien_export.steps.latent import adam

TERMS = ("style", "content", "smoothness")


@dataclass(frozen=True)
class Layers:
    """Which convolutions are compared: by Gram matrix (style), and value by value (content)."""

    style: tuple[str, ...]
    content: tuple[str, ...]

    def last(self, net: Vgg) -> str:
        """The deepest of them: the network ends there."""
        return max({*self.style, *self.content}, key=net.layers.index)


def gram(x: Tensor) -> Tensor:
    """Products of the planes of x [N, C, H, W], each pair's sum over C H W: [N, C, C]."""
    result: Tensor = _Gram.apply(x)  # type: ignore[no-untyped-call]
    return result


class _Gram(torch.autograd.Function):
    """One product of matrices each way; autograd takes two on the way back.

    Pixels are rows, channels last: OpenVINO's convolutions leave their maps so, and products of
    planes made it change the layout of every map first, for a third of the step.

    Its gradient is symmetric wherever the loss treats a pair of planes and the pair turned round
    alike, which differences from another Gram matrix do.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        rows = _rows(x)
        return torch.bmm(rows.transpose(1, 2), rows) / (x.shape[1] * rows.shape[1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        n, c, h, w = x.shape
        back = torch.bmm(_rows(x), grad * (2 / (c * h * w)))
        return back.reshape(n, h, w, c).permute(0, 3, 1, 2)


def _rows(x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, H W, C]
    return x.permute(0, 2, 3, 1).flatten(1, 2)


class GatysTargets(nn.Module):
    """What a search computes once: (content, style) -> its first state, contents, Gram matrices.

    content [N, H, W, 3] and style [N, S, T, 3] are uint8 RGB. The state is that of a search from
    the content: image, and m and v, which are zero.
    """

    def __init__(self, net: Vgg, layers: Layers) -> None:
        super().__init__()
        self.net, self.layers = net, layers

    def forward(self, content: Tensor, style: Tensor) -> tuple[Tensor, ...]:
        image, last = from_uint8(content), self.layers.last(self.net)
        own = self.net.before_relu(image, last)
        other = self.net.before_relu(from_uint8(style), last)
        return (
            image.clone(),
            torch.zeros_like(image),
            torch.zeros_like(image),
            *(own[name] for name in self.layers.content),
            *(gram(other[name]) for name in self.layers.style),
        )


class GatysLoss(nn.Module):
    """image -> its loss [N] and TERMS [N, T], each with its weight: the loss is their sum."""

    def __init__(self, net: Vgg, layers: Layers) -> None:
        super().__init__()
        self.net, self.layers = net, layers

    def forward(
        self,
        image: Tensor,  # [N, 3, H, W]
        style_weights: Tensor,  # [S], one a layer
        content_weights: Tensor,  # [K], one a layer
        smoothness: Tensor,  # [1]
        targets: Sequence[Tensor],  # maps [N, C, H', W'], then Gram matrices [N, C, C]
    ) -> tuple[Tensor, Tensor]:
        maps = self.net.before_relu(image, self.layers.last(self.net))
        contents = targets[: len(self.layers.content)]
        grams = targets[len(self.layers.content) :]
        style = torch.stack(
            [
                (gram(maps[name]) - wanted).square().mean((1, 2))
                for name, wanted in zip(self.layers.style, grams, strict=True)
            ],
            1,
        )
        content = torch.stack(
            [
                (maps[name] - wanted).square().mean((1, 2, 3))
                for name, wanted in zip(self.layers.content, contents, strict=True)
            ],
            1,
        )
        terms = torch.stack(
            [
                (style * style_weights).sum(1),
                (content * content_weights).sum(1),
                roughness(image) * smoothness,
            ],
            1,
        )
        return terms.sum(1), terms


def roughness(image: Tensor) -> Tensor:  # [N, C, H, W] -> [N]
    """Mean squared difference of neighbours, along rows and along columns, added."""
    down = image[:, :, 1:] - image[:, :, :-1]
    across = image[:, :, :, 1:] - image[:, :, :, :-1]
    return down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3))


class GatysGradient(nn.Module):
    """image -> loss, terms and the loss's gradient, for an optimiser that runs elsewhere."""

    def __init__(self, net: Vgg, layers: Layers) -> None:
        super().__init__()
        self.loss = GatysLoss(net, layers)

    def forward(
        self,
        image: Tensor,  # [N, 3, H, W]
        style_weights: Tensor,
        content_weights: Tensor,
        smoothness: Tensor,
        *targets: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        def objective(image: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            loss, terms = self.loss(image, style_weights, content_weights, smoothness, targets)
            return loss.sum(), (loss, terms)

        gradient, (_, (loss, terms)) = torch.func.grad_and_value(objective, has_aux=True)(image)
        return loss, terms, gradient


class GatysStep(nn.Module):
    """(image, m, v, t) -> the same, loss, terms: one Adam step, kept within [-1, 1]."""

    def __init__(self, net: Vgg, layers: Layers) -> None:
        super().__init__()
        self.gradient = GatysGradient(net, layers)

    def forward(
        self,
        image: Tensor,  # [N, 3, H, W]
        m: Tensor,  # [N, 3, H, W]
        v: Tensor,  # [N, 3, H, W]
        t: Tensor,  # [1]
        rate: Tensor,  # [1], learning rate of the first step
        decay: Tensor,  # [1], factor of the learning rate at each later step
        style_weights: Tensor,
        content_weights: Tensor,
        smoothness: Tensor,
        *targets: Tensor,
    ) -> tuple[Tensor, ...]:
        loss, terms, gradient = self.gradient(
            image, style_weights, content_weights, smoothness, *targets
        )
        image, m, v, after = adam(image, m, v, t, gradient, rate * torch.pow(decay, t))
        return image.clamp(-1, 1), m, v, after, loss, terms
