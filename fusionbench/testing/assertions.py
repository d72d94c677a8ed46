"""What checks say when they fail, and what several of them compute."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from fusionbench.contract.stages import TrainingClock
from fusionbench.testing.batches import Case
from fusionbench.testing.subjects import Subject

TOLERANCE = 1e-10


class Named(Protocol):
    """A case of any kind of plugin."""

    @property
    def name(self) -> str:
        """What is special about it."""


def expect(condition: bool | Tensor, case: Named, message: str) -> None:
    """Fail with the case's name and the message unless the condition holds."""
    if not bool(condition):
        raise AssertionError(f"{case.name}: {message}")


def expect_equal(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], case: Named, message: str) -> None:
    """Fail unless both hold the same tensors, to rounding in float64; NaN equals nothing."""
    expect(set(found) == set(wanted), case, f"{message}: {sorted(found)} against {sorted(wanted)}")
    for name, tensor in found.items():
        same = tensor.shape == wanted[name].shape and torch.allclose(
            tensor.double(), wanted[name].double(), rtol=TOLERANCE, atol=TOLERANCE
        )
        expect(same, case, f"{message} ({name})")


def expect_finite(tensors: Mapping[str, Tensor], case: Named, message: str) -> None:
    """Fail unless every entry of every tensor is finite."""
    for name, tensor in tensors.items():
        expect(torch.isfinite(tensor).all(), case, f"{message} ({name})")


def loss_and_gradients(subject: Subject, part: nn.Module, case: Case) -> dict[str, Tensor]:
    """Return the loss and its gradients with respect to parameters and features; zero where there is none."""
    features = {n: f.detach().clone().requires_grad_() for n, f in case.batch.features.items()}
    batch = case.with_batch(features=features).batch
    loss = subject.loss(part, subject.call(part, batch), batch, case.target)
    leaves = {n: p for n, p in part.named_parameters() if p.requires_grad} | {
        f"features of {n}": f for n, f in features.items()
    }
    expect(loss.ndim == 0, case, f"the loss must be a scalar, found shape {tuple(loss.shape)}")
    if not loss.requires_grad:
        return {"loss": loss, **{name: torch.zeros_like(leaf) for name, leaf in leaves.items()}}
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return {"loss": loss.detach(), **dict(zip(leaves, gradients, strict=True))}


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Copy every parameter and buffer."""
    tensors = itertools.chain(module.named_parameters(), module.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors}


def updated(subject: Subject, part: nn.Module, case: Case) -> dict[str, Tensor]:
    """Return new buffer values after one pass over the case."""
    with torch.no_grad():
        sums = subject.statistics(part, case.batch, case.target)
        return dict(part.update(sums, TrainingClock(1, 4)))  # type: ignore[operator]
