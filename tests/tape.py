"""A stand-in for a CUDA graph on a CPU: takes the operations of a call down, and does them again on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# what would wait for the device, or bring something from the host, in a step on a GPU
SYNCHRONISING = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::repeat_interleave.Tensor",
    "aten::equal",
    "aten::lift_fresh",
    "aten::bincount",
}


class CaptureError(RuntimeError):
    """An operation that cannot be captured."""


class Watch(TorchDispatchMode):
    """Notes every operation of a block; refuses those that would synchronise."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        refuse(operation, given)
        result = operation(*given, **(named or {}))
        self.done.append((operation, given, named or {}, result))
        return result


def refuse(operation: Any, given: Any) -> None:
    """Raise where an operation would wait for the device, or read the host."""
    name = operation._schema.name
    full = f"{name}.{operation._overloadname}" if operation._overloadname != "default" else name
    by_mask = name in ("aten::index", "aten::index_put", "aten::index_put_") and any(
        isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in given[1]
    )
    if full in SYNCHRONISING or name in SYNCHRONISING or by_mask:
        raise CaptureError(f"operation not permitted when stream is capturing: {full}")


class Tape:
    """Records as a CUDA graph does: by place in memory, with every decision of Python taken once.

    A graph is captured without being done, then launched. Here recording does it, and the first replay nothing.
    """

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.replays = 0

    def warm_up(self, call: Callable[[], Tensor]) -> Tensor:
        """Do it."""
        return call()

    def record(self, call: Callable[[], Tensor]) -> Tensor:
        """Do it, and note how."""
        with Watch() as self.watch:
            return call()

    def replay(self) -> None:
        """Do every operation again, into the tensors that the recorded one left."""
        assert self.watch is not None
        self.replays += 1
        if self.replays == 1:
            return
        with torch.no_grad():
            for operation, given, named, results in self.watch.done:
                found = operation(*given, **named)
                for kind, new, old in zip(operation._schema.returns, _each(found), _each(results), strict=True):
                    if kind.alias_info is None:  # else it lies where an argument lies
                        _refill(old, new)


def _refill(old: Any, new: Any) -> None:
    for kept, value in zip(tree_leaves(old), tree_leaves(new), strict=True):
        if isinstance(kept, Tensor):
            kept.copy_(value)


def _each(results: Any) -> tuple[Any, ...]:
    """What an operation returned, one for each entry of its schema."""
    return results if isinstance(results, tuple) else () if results is None else (results,)
