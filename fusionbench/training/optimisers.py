"""Optimisers on stacked tensors: one call steps every model, each with its own learning rate.

``torch.optim`` takes one learning rate for a tensor; here every tensor holds many models. The
arithmetic is that of ``torch.optim.AdamW`` and ``torch.optim.SGD``, tested against them.

:class:`FusedAdamW` is for the CPU, where a step is as long as its passes over memory. :class:`AdamW` is for GPUs, where
one launch serves all models, and for strategies that change the update before it is applied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, islice
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw

Tensors = dict[str, Tensor]

CACHE_LINE: Final = 64
"""Bytes. torch's fused kernels divide a tensor at multiples of it, and round in another way behind the last one."""


class Optimiser(Protocol):
    """Turns gradients into updates; the caller adds the updates to the parameters."""

    def updates(self, parameters: Tensors, gradients: Tensors) -> Tensors:
        """Return what to add to each parameter, valid until the next call. All tensors are ``[models, ...]``."""


class FusedAdamW:
    """AdamW in one pass over memory: torch's fused kernel on the models' slices of the stacked tensors, in place.

    Neighbours with the same learning rate and decay are stepped by one call, where no model's last numbers would be
    rounded otherwise for it.

    Args:
        learning_rate: One for each model.
        weight_decay: One for each model.
        betas: Decay of the first and second moment.
        eps: Added to the root of the second moment.
    """

    def __init__(
        self,
        learning_rate: Sequence[float],
        weight_decay: Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self._own = list(zip(learning_rate, weight_decay, strict=True))
        self._betas, self._eps = betas, eps
        self._first: Tensors = {}
        self._second: Tensors = {}
        self._steps = 0
        self._state: list[Tensor] = []  # what was divided, and how; it keeps its place from step to step
        self._lengths: list[int] = []
        self._pieces: list[list[list[Tensor]]] = []

    def step(self, parameters: Tensors, gradients: Tensors, running: Sequence[bool]) -> None:
        """Step the models that are running.

        Args:
            parameters: ``[models, ...]``, contiguous, on the CPU; changed in place.
            gradients: Of some or all of them.
            running: One for each model, True = it is stepped; one that has stopped does not start again.
        """
        for name in gradients.keys() - self._first.keys():
            self._first[name], self._second[name] = (torch.zeros_like(parameters[name]) for _ in range(2))
        alike = [(*key, len(list(run))) for key, run in groupby(zip(running, self._own, strict=True))]
        lengths = [length for *_, length in alike]
        state = [kept[n] for kept in (parameters, self._first, self._second) for n in gradients]
        pieces = [*self._divide_once(state, lengths), *(_divided(g, lengths) for g in gradients.values())]
        size = len(gradients)
        for i, (runs, (rate, decay), _) in enumerate(alike):
            if runs:
                kept = [[piece for run in pieces[k : k + size] for piece in run[i]] for k in range(0, 4 * size, size)]
                self._call(kept, rate, decay)
        self._steps += 1

    def _divide_once(self, state: list[Tensor], lengths: list[int]) -> list[list[list[Tensor]]]:
        alike = len(state) == len(self._state) and all(new is old for new, old in zip(state, self._state, strict=True))
        if not alike or lengths != self._lengths:
            self._state, self._lengths = state, lengths
            self._pieces = [_divided(s.detach(), lengths) for s in state]
        return self._pieces

    def _call(self, pieces: Sequence[list[Tensor]], rate: float, decay: float) -> None:
        parameters, first, second, gradients = pieces
        adamw(
            parameters,
            gradients,
            first,
            second,
            [],
            list(torch.full((len(parameters),), float(self._steps)).unbind()),
            fused=True,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=rate,
            weight_decay=decay,
            eps=self._eps,
            maximize=False,
        )


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
        self._rate, self._decay, self._betas, self._eps = learning_rate, weight_decay, betas, eps
        self._first: Tensors = {}
        self._second: Tensors = {}
        self._update: Tensors = {}  # kept: a new large tensor costs more than the arithmetic on it
        self._decayed: Tensors = {}
        self._steps = torch.zeros_like(learning_rate[0])  # on the device, so that a captured step counts

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


def _divided(tensor: Tensor, lengths: Sequence[int]) -> list[list[Tensor]]:
    """Divide ``[models, ...]`` into runs of models: each run as one view, or as one view for each model."""
    tensor = tensor.contiguous()
    if tensor[0].numel() * tensor.element_size() % CACHE_LINE == 0:
        return [[piece] for piece in torch.split(tensor, list(lengths))]
    each = iter(tensor.unbind())
    return [list(islice(each, length)) for length in lengths]


def _per_model(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
