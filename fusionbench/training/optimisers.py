"""Optimisers on stacked tensors: one call steps every model, each with its own learning rate.

``torch.optim`` takes one learning rate for a tensor; here every tensor holds many models. The
arithmetic is that of ``torch.optim.AdamW`` and ``torch.optim.SGD``, tested against them.

:class:`FusedAdamW` is for the CPU, where a step is as long as its passes over memory. :class:`AdamW` is for GPUs, where
one launch serves all models, and for strategies that change the update before it is applied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from fusionbench.training.packing import Packed

Tensors = dict[str, Tensor]


class Optimiser(Protocol):
    """Turns gradients into updates; the caller adds the updates to the parameters."""

    def updates(self, parameters: Tensors, gradients: Tensors) -> Tensors:
        """Return what to add to each parameter, valid until the next call. All tensors are ``[models, ...]``."""

    def pace(self, factors: Sequence[float]) -> None:
        """Multiply each model's learning rate by its factor from the next step on, until it is said again."""


class FusedAdamW:
    """AdamW in one pass over memory: torch's fused kernel on rows of packed tensors, in place.

    Neighbours with the same learning rate and decay are stepped by one call. Rates that differ cost a call each, and no
    call is for a single tensor.

    Args:
        parameters: What is stepped; gradients and moments lie as it does.
        learning_rate: One for each model.
        weight_decay: One for each model.
        betas: Decay of the first and second moment.
        eps: Added to the root of the second moment.

    Attributes:
        gradients: Where the gradients of a step are put, by name.
    """

    def __init__(
        self,
        parameters: Sequence[Packed],
        learning_rate: Sequence[float],
        weight_decay: Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self._own = list(zip(learning_rate, weight_decay, strict=True))
        self._betas, self._eps = betas, eps
        # parameters, first and second moments, gradients
        self._state = [(p, *(Packed(p.views) for _ in range(3))) for p in parameters]
        self.gradients = {n: t for *_, gradients in self._state for n, t in gradients.views.items()}
        self._steps = 0
        self._factors: tuple[float, ...] = (1.0,) * len(self._own)
        self._calls: dict[_Key, list[_Call]] = {}

    def pace(self, factors: Sequence[float]) -> None:
        """Multiply each model's learning rate by its factor from the next step on, until it is said again."""
        self._factors = tuple(factors)

    def step(self, names: Sequence[str], running: Sequence[bool]) -> None:
        """Step the models that are running.

        Args:
            names: Whose gradients were put where they belong; the other parameters stay as they are.
            running: One for each model, True = it is stepped; one that has stopped does not start again.
        """
        # where all have one factor, it comes with the call, and what is called stays as it is
        common = self._factors[0] if len(set(self._factors)) == 1 else 1.0
        key = (tuple(names), tuple(running), tuple(f / common for f in self._factors) if common == 1.0 else None)
        if key not in self._calls:
            own = [(r * f, d) for (r, d), f in zip(self._own, key[2] or [1.0] * len(self._own), strict=True)]
            self._calls = {key: self._divided(names, running, own)}
        self._steps += 1
        number = torch.tensor(float(self._steps))
        for (parameters, first, second, gradients), (rate, decay) in self._calls[key]:
            # what torch.optim calls in the end; what it does before takes longer than a small step
            torch._fused_adamw_(
                parameters,
                gradients,
                first,
                second,
                [],
                [number] * len(parameters),
                lr=rate * common,
                beta1=self._betas[0],
                beta2=self._betas[1],
                weight_decay=decay,
                eps=self._eps,
                amsgrad=False,
                maximize=False,
            )

    def _divided(
        self, names: Sequence[str], running: Sequence[bool], rates: Sequence[tuple[float, float]]
    ) -> list[_Call]:
        found, start = list[_Call](), 0
        for (runs, own), run in groupby(zip(running, rates, strict=True)):
            models = range(start, start + len(list(run)))
            start = models.stop
            for state in self._state if runs else ():
                if spans := state[0].spans(names):
                    parameters, first, second, gradients = (p.pieces(models, spans) for p in state)
                    found.append(((parameters, first, second, gradients), own))
        return found


_Key = tuple[tuple[str, ...], tuple[bool, ...], tuple[float, ...] | None]
"""Whose gradients are there, who is stepped, and the factors of rates where they differ between models."""
_Pieces = list[Tensor]
_Call = tuple[tuple[_Pieces, _Pieces, _Pieces, _Pieces], tuple[float, float]]
"""Pieces of parameters, moments and gradients, and the rate and decay that they are stepped with."""


class AdamW:
    """Adam with decoupled weight decay, on stacked tensors.

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
        self._own, self._rate, self._decay = learning_rate, learning_rate.clone(), weight_decay
        self._betas, self._eps = betas, eps
        self._first: Tensors = {}
        self._second: Tensors = {}
        self._update: Tensors = {}  # kept: a new large tensor costs more than the arithmetic on it
        self._decayed: Tensors = {}
        self._steps = torch.zeros_like(learning_rate[0])  # on the device, so that a captured step counts

    def pace(self, factors: Sequence[float]) -> None:
        """Multiply each model's learning rate by its factor from the next step on, until it is said again."""
        _paced(self._rate, self._own, factors)

    def updates(self, parameters: Tensors, gradients: Tensors) -> Tensors:
        """Return the step of every model."""
        self._steps.add_(1)
        beta1, beta2 = self._betas
        correction1, correction2 = (
            -torch.expm1(self._steps * math.log(beta)) for beta in self._betas
        )  # 1 - beta**steps
        for name, gradient in gradients.items():
            if name not in self._first:
                for kept in (self._first, self._second, self._update, self._decayed):
                    kept[name] = torch.zeros_like(gradient)
            first = self._first[name].lerp_(gradient, 1 - beta1)
            second = self._second[name].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            rate = _per_model(self._rate, gradient)
            update, decayed = self._update[name], self._decayed[name]
            torch.sqrt(second, out=update).div_(correction2.sqrt()).add_(self._eps)
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
        self._own, self._rate, self._decay = learning_rate, learning_rate.clone(), weight_decay
        self._momentum = momentum
        self._velocity: Tensors = {}

    def pace(self, factors: Sequence[float]) -> None:
        """Multiply each model's learning rate by its factor from the next step on, until it is said again."""
        _paced(self._rate, self._own, factors)

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


def _paced(rate: Tensor, own: Tensor, factors: Sequence[float]) -> None:
    # in place: a recorded step reads this very memory
    rate.copy_(own * torch.tensor(factors, dtype=own.dtype, device=own.device))


def _per_model(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
