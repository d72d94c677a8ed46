"""What the encoders around a model library share: frozen or tuned, always in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import nn

from fusionbench import Encoder
from fusionbench.seeding import seed_for


class PretrainedEncoder(Encoder):
    """An encoder around ``self.backbone``, which stays in evaluation mode also while it is tuned.

    Batch norm's running statistics would be state that changes behind the training loop's back, and absent inputs
    would enter them; the libraries' dropout would draw random numbers that the loop does not know.
    """

    # a stack of these would be many copies of a large network: members are trained one after the other
    stackable: bool = False
    backbone: nn.Module

    def adopt(self, backbone: nn.Module, frozen: bool) -> None:
        """Make ``backbone`` part of the encoder; ``frozen`` takes its gradients away."""
        self.frozen = frozen
        self.backbone = backbone.requires_grad_(not frozen)
        self.backbone.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of everything but the backbone."""
        super().train(mode)
        self.backbone.eval()
        return self


@contextmanager
def random_weights(encoder: str, model: str, frozen: bool) -> Iterator[None]:
    """Draw initial weights inside: always the same ones when frozen, the loop's own when tuned.

    A frozen encoder is no part of a run's seed: with other weights in every run, the feature store would never hit.
    """
    if not frozen:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("random weights", encoder=encoder, model=model))
        yield
