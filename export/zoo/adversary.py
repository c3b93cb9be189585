"""The other side of a GAN: a discriminator on frozen features, and how it learns."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.losses import Discriminator, Vgg19Small, augmented

RATE = 4e-4
WARM_UP = 1000  # steps before its judgement has its whole weight


class Adversary:
    """Tells faces from made ones (hinge loss), on features of slightly changed pictures."""

    def __init__(self, features: Vgg19Small) -> None:
        self.features = features
        self.discriminator = Discriminator()
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), RATE, (0.0, 0.99))

    def loss(self, fake: Tensor, step: int) -> Tensor:
        """How far fake [N, 3, H, W] is from passing for real; the discriminator is not touched."""
        self.discriminator.requires_grad_(False)
        judged = self.discriminator(self.features(augmented(fake)))
        self.discriminator.requires_grad_(True)
        return -min(1.0, step / WARM_UP) * judged.mean()

    def learn(self, real: Tensor, fake: Tensor, step: int) -> None:
        """Take one step on pictures of both kinds."""
        with torch.no_grad():
            pair = [self.features(augmented(images)) for images in (real, fake.detach())]
            if step == 0:
                self.discriminator.calibrate(pair[0])
        on_real, on_fake = (self.discriminator(maps) for maps in pair)
        loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def state(self) -> dict[str, Any]:
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["optimiser"])
