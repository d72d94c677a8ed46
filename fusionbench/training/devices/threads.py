"""Several models at a time on a CPU, each on a share of its cores.

What cannot be stacked runs model by model. A network of small products, an LSTM above all, leaves cores waiting for each
other when they share each product; a model for each core does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

Call = Callable[[nn.Module, Any], Tensor]
"""A module and one model's tensors, as a tree, to one tensor."""


def side_by_side(call: Call, modules: Sequence[nn.Module], stacked: Any) -> Tensor:
    """Call a module for every model, as many models at a time as there are modules; differentiable once.

    Models that are left over when all modules are busy run after the others, on all cores.

    Args:
        call: Runs in a thread of its own: it sees neither the caller's autocast nor its gradient mode, but gradients are
            kept where the caller keeps them.
        modules: Alike, two or more. A functional call puts a model's tensors into one for a while.
        stacked: A tree of tensors, ``[models, ...]`` each.

    Returns:
        ``[models, ...]``.
    """
    leaves, structure = tree_flatten(stacked)
    work = _Work(call, modules, structure, learning=torch.is_grad_enabled())
    result: Tensor = _SideBySide.apply(work, *leaves)
    return result


def at_once(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Return as many of these modules as can run at a time on a CPU: no more than cores, and none that shares a part."""
    chosen: list[nn.Module] = []
    parts: set[int] = set()
    for module in modules:
        own = {id(part) for part in module.modules()}
        if len(chosen) < torch.get_num_threads() and not own & parts:
            chosen.append(module)
            parts |= own
    return chosen


class _Work:
    """One module's call for every model."""

    def __init__(self, call: Call, modules: Sequence[nn.Module], structure: TreeSpec, learning: bool) -> None:
        self._call, self._modules, self._structure = call, modules, structure
        self.learning = learning

    def forward(self, stacked: Sequence[Tensor], wanted: Sequence[bool]) -> list[tuple[list[Tensor], Tensor]]:
        """Return for each model the tensors whose gradients are wanted, and the result."""

        def one(module: nn.Module, model: int) -> tuple[list[Tensor], Tensor]:
            own = [s[model].detach().requires_grad_(w) for s, w in zip(stacked, wanted, strict=True)]
            with torch.set_grad_enabled(any(wanted)):
                result = self._call(module, tree_unflatten(own, self._structure))
            return [o for o, w in zip(own, wanted, strict=True) if w], result

        return self._each(one, len(stacked[0]))

    def backward(self, kept: list[tuple[list[Tensor], Tensor]], gradient: Tensor) -> list[Tensor | None]:
        """Return the gradients that are wanted, ``[models, ...]``; None where no model's result depends on the tensor."""

        def one(_: nn.Module, model: int) -> tuple[Tensor | None, ...]:
            own, result = kept[model]
            return torch.autograd.grad(result, own, gradient[model], allow_unused=True)

        found = self._each(one, len(gradient))
        return [_stack(column) for column in zip(*found, strict=True)]

    def _each(self, one: Callable[[nn.Module, int], Any], models: int) -> list[Any]:
        size = len(self._modules)
        whole = models - models % size

        def some(number: int) -> list[Any]:
            return [one(self._modules[number], model) for model in range(number, whole, size)]

        rounds = zip(*pool(size).map(some, range(size)), strict=True)
        found = [result for together in rounds for result in together]
        return found + [one(self._modules[0], model) for model in range(whole, models)]


class _SideBySide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, work: _Work, *stacked: Tensor) -> Tensor:
        ctx.work, ctx.wanted = work, [n and work.learning for n in ctx.needs_input_grad[1:]]
        found = work.forward(stacked, ctx.wanted)
        ctx.kept = found if any(ctx.wanted) else None
        return torch.stack([result.detach() for _, result in found])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept, ctx.kept = ctx.kept, None
        found = iter(ctx.work.backward(kept, gradient))
        return (None, *(next(found) if wanted else None for wanted in ctx.wanted))


def _stack(gradients: Sequence[Tensor | None]) -> Tensor | None:
    some = next((g for g in gradients if g is not None), None)
    if some is None:
        return None
    return torch.stack([torch.zeros_like(some) if g is None else g for g in gradients])


@cache
def pool(size: int) -> ThreadPoolExecutor:
    """Return threads that share the cores, for the rest of the process."""
    cores = torch.get_num_threads()
    ready = Barrier(size)

    def begin() -> None:
        torch.get_num_threads()  # or a thread's first operation would set the number that holds for all
        torch.set_num_threads(max(1, cores // size))  # of this thread only
        ready.wait()

    threads = ThreadPoolExecutor(size, "fusionbench", initializer=begin)
    for waiting in [threads.submit(int) for _ in range(size)]:
        waiting.result()
    torch.set_num_threads(cores)  # torch also remembers the last number for threads that are still to come
    return threads
