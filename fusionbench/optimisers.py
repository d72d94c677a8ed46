"""Optimisers on stacked tensors: one call steps every model, each with its own learning rate.

``torch.optim`` takes one learning rate for a tensor; here every tensor holds many models. The
arithmetic is that of ``torch.optim.AdamW`` and ``torch.optim.SGD``, tested against them.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


class Optimiser(Protocol):
    """Turns gradients into updates; the caller adds the updates to the parameters."""

    def updates(self, parameters: Tensors, gradients: Tensors) -> Tensors:
        """Return what to add to each parameter, valid until the next call. All tensors are ``[models, ...]``."""


class AdamW:
    """Adam with decoupled weight decay.

    Args:
        learning_rate: Float ``[models]``.
        weight_decay: Float ``[models]``.
        betas: Decay of the first and second moment.
        eps: Added to the root of the second moment.
    """

    def __init__(
        self,
        learning_rate: Tensor,
        weight_decay: Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self._rate, self._decay, self._betas, self._eps = learning_rate, weight_decay, betas, eps
        self._first: Tensors = {}
        self._second: Tensors = {}
        self._update: Tensors = {}  # kept: a new large tensor costs more than the arithmetic on it
        self._decayed: Tensors = {}
        self._steps = 0

    def updates(self, parameters: Tensors, gradients: Tensors) -> Tensors:
        """Return the step of every model."""
        self._steps += 1
        beta1, beta2 = self._betas
        correction1, correction2 = 1 - beta1**self._steps, 1 - beta2**self._steps
        for name, gradient in gradients.items():
            if name not in self._first:
                for kept in (self._first, self._second, self._update, self._decayed):
                    kept[name] = torch.zeros_like(gradient)
            first = self._first[name].lerp_(gradient, 1 - beta1)
            second = self._second[name].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            rate = _per_model(self._rate, gradient)
            update, decayed = self._update[name], self._decayed[name]
            torch.sqrt(second, out=update).div_(correction2**0.5).add_(self._eps)
            torch.div(first, update, out=update).mul_(rate / -correction1)
            update.sub_(torch.mul(parameters[name], rate * _per_model(self._decay, gradient), out=decayed))
        return {name: self._update[name] for name in gradients}


class Sgd:
    """Stochastic gradient descent with momentum and (coupled) weight decay.

    Args:
        learning_rate: Float ``[models]``.
        weight_decay: Float ``[models]``.
        momentum: Decay of the velocity.
    """

    def __init__(self, learning_rate: Tensor, weight_decay: Tensor, momentum: float = 0.9) -> None:
        self._rate, self._decay, self._momentum = learning_rate, weight_decay, momentum
        self._velocity: Tensors = {}

    def updates(self, parameters: Tensors, gradients: Tensors) -> Tensors:
        """Return the step of every model."""
        result = {}
        for name, gradient in gradients.items():
            decayed = gradient + parameters[name] * _per_model(self._decay, gradient)
            if name in self._velocity:
                self._velocity[name].mul_(self._momentum).add_(decayed)
            else:
                self._velocity[name] = decayed.clone()
            result[name] = self._velocity[name] * -_per_model(self._rate, gradient)
        return result


def _per_model(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
