"""Losses and gradients of a step: from its rows to what the optimiser takes, as the models say or from a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fusionbench.training.population import Encoded, Population
from fusionbench.training.recording.recorded import Programs, Recorded, tensors_of
from fusionbench.training.stages.order import EpochRows

Tensors = dict[str, Tensor]
Change = Literal["none", "gradients", "later"]
"""What the strategy changes in a step: nothing, the gradients, or something that is made of them later."""


class Differentiated(NamedTuple):
    """What a step leaves.

    Args:
        losses: Float ``[models]``.
        gradients: By name of the parameter, ``[models, ...]``; of those that the loss depends on.
        modulate: Lets the strategy change tensors like the gradients, after what it saw of this step.
    """

    losses: Tensor
    gradients: Tensors
    modulate: Callable[[Tensors], Tensors]


class Differentiation:
    """Differentiates the losses of a population.

    Args:
        population: What is trained.
        trained: Names of the parameters.
        programs: Where lists of operators are kept.
    """

    def __init__(self, population: Population, trained: Sequence[str], programs: Programs) -> None:
        self._population, self._trained = population, list(trained)
        self._zero = population.zero_inputs()
        self._apart = population.apart
        names = tuple(trained)
        self._recorded = {
            change: Recorded("the step of training", partial(self._differentiate, change), programs, (change, names))
            for change in ("none", "gradients", "later")
        }

    def __call__(
        self,
        rows: EpochRows,
        noise: Tensors,
        change: Change,
        into: Mapping[str, Tensor] | None = None,
        *,
        alike: bool = False,
    ) -> Differentiated:
        """Differentiate the losses of a step.

        Args:
            rows: Of the step.
            noise: By parameter, for what the strategy changes; empty where it wants none.
            change: What it changes.
            into: Where gradients are to lie.
            alike: Whether every model sees the same rows.
        """
        population = self._population
        gathered, zero = population.gather(rows.rows, alike=alike), self._zero
        encoded = population.encode_apart(gathered, zero)
        # the gradients of encoders that run one by one are not there yet when the rest is differentiated
        inside: Change = "later" if change == "gradients" and self._apart else change
        target = population.table.target[rows.rows]
        inputs = {
            "gathered": {n: g for n, g in gathered.items() if n not in self._apart},
            "zero": {n: z for n, z in zero.items() if n not in self._apart},
            "encoded": tree_map(_leaf, encoded) if self._apart else encoded,
            "present": rows.shown,
            "available": rows.present,
            "target": target,
            "noise": noise if inside == "gradients" else {},
        }
        gradients, rest = self._recorded[inside]((population.parameters, population.buffers), inputs, into)
        gradients |= self._of_encoders(encoded, rest["encoded"])
        modulate = partial(self._modulate, rest, target, noise)
        if change == "gradients" and inside == "later":
            gradients = modulate(gradients)
        return Differentiated(rest["losses"], gradients, modulate)

    def _differentiate(self, change: Change, state: Any, inputs: Any) -> tuple[Tensors, Any]:
        population, (parameters, buffers) = self._population, state
        with torch.enable_grad(), population.holding(parameters, buffers):
            view = population.encode(
                inputs["gathered"], inputs["present"], inputs["available"], inputs["zero"], inputs["encoded"]
            )
            learned = population.learn(view, inputs["target"])
            trained = {n: parameters[n] for n in self._trained}
            encodings = [e for e in tensors_of(inputs["encoded"]) if e.requires_grad]
            found = torch.autograd.grad(learned.loss.sum(), [*trained.values(), *encodings], allow_unused=True)
        gradients = {n: g for n, g in zip(trained, found, strict=False) if g is not None}
        rest: dict[str, Any] = {"losses": learned.loss.detach(), "encoded": list(found[len(trained) :])}
        rest["encoded"] = [
            torch.zeros_like(e) if g is None else g for e, g in zip(encodings, rest["encoded"], strict=True)
        ]
        seen = tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, (learned.output, learned.batch))
        if change == "gradients":
            with torch.no_grad(), population.holding(parameters, buffers):
                gradients = self._changed(gradients, seen, inputs["target"], inputs["noise"])
        return gradients, {**rest, "seen": seen if change == "later" else ()}

    def _of_encoders(self, encoded: Encoded, found: Sequence[Tensor]) -> Tensors:
        """Return the gradients of encoders that ran one by one, from those of their encodings."""
        results = [e for e in tensors_of(encoded) if e.requires_grad]
        if not results:
            return {}
        own = [n for n in self._trained if n.startswith(tuple(f"encoder.{m}." for m in self._apart))]
        parameters = [self._population.parameters[n] for n in own]
        gradients = torch.autograd.grad(results, parameters, list(found), allow_unused=True)
        return {n: g for n, g in zip(own, gradients, strict=True) if g is not None}

    def _modulate(self, rest: Any, target: Tensor, noise: Tensors, values: Tensors) -> Tensors:
        with torch.no_grad():
            return self._changed(values, rest["seen"], target, noise)

    def _changed(self, values: Tensors, seen: Any, target: Tensor, noise: Tensors) -> Tensors:
        output, batch = seen
        own = {n: noise[n].to(v.dtype) for n, v in values.items()} if noise else {}
        changed: Tensors = self._population.each("modulate", values, output, batch, target, own)
        return changed


def _leaf(encoded: Tensor) -> Tensor:
    return encoded.detach().requires_grad_(encoded.requires_grad)
