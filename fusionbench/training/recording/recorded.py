"""Functions that are taken down when they are first called, looked at, and from then on run from the list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from fusionbench.training.recording.program import Program, Run
from fusionbench.training.recording.tape import CannotRecordError, record

Function = Callable[[Any, Any], tuple[dict[str, Tensor], Any]]
"""Of a tree that keeps its place and a tree of other inputs, to tensors by name and a tree of more."""
CLOSE: Final = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""How far a first run may be from the function itself, as a share of the largest number: sums add up in another order."""


@dataclass
class Programs:
    """What was taken down, for everything that does the same operations: models of one architecture, of any seed.

    Args:
        wanted: False: nothing is taken down.
        reasons: Why something was not, by what it is.
    """

    wanted: bool = True
    reasons: dict[str, str] = field(default_factory=dict)
    _known: dict[Any, Program | None] = field(default_factory=dict)

    def find(self, key: Any, name: str, make: Callable[[], Program]) -> Program | None:
        """Return a program, or None where there can be none."""
        if key not in self._known:
            try:
                self._known[key] = make()
            except CannotRecordError as problem:
                self._known[key] = None
                self.reasons[name] = str(problem)
        return self._known[key]


class Recorded:
    """A function of tensors that runs from a list of its operators.

    Args:
        name: What it is, for the reason why it is not recorded.
        function: Takes a tree of tensors that keep their place and a tree of others, none of which it writes to, and
            decides nothing by their values. What it returns by name can be written to memory of the caller's.
        programs: Where lists are kept.
        decided: What else decides which operators it does.
    """

    def __init__(self, name: str, function: Function, programs: Programs, decided: Any = None) -> None:
        self._name, self._function, self._programs, self._decided = name, function, programs, decided
        self._bound: _Bound | None = None

    def __call__(
        self, kept: Any, inputs: Any, into: Mapping[str, Tensor] | None = None
    ) -> tuple[dict[str, Tensor], Any]:
        """Do it.

        Args:
            kept: Tensors in the same place at every call, and perhaps with other values.
            inputs: Other tensors.
            into: Where what is returned by name is written, if it is there; its tensors keep their place too.

        Returns:
            Tensors by name, those of ``into`` where they were written to, and a tree of more; valid until the next call.
        """
        into = {} if into is None else into
        if self._programs.wanted:
            others = tensors_of(inputs)
            if self._bound is None or not self._bound.fits(tensors_of(kept), others):
                self._bound = self._bind(_Flat(kept), _Flat(inputs), into)
            if self._bound.run is not None:
                return self._bound(others)
        named, rest = self._function(kept, inputs)
        own = [n for n in named if n in into]
        if own:
            with torch.no_grad():
                torch._foreach_copy_([into[n] for n in own], [named[n] for n in own])
        return {n: into.get(n, t) for n, t in named.items()}, rest

    def _bind(self, kept: _Flat, inputs: _Flat, into: Mapping[str, Tensor]) -> _Bound:
        shapes = tuple(_lies(t) for t in (*kept.tensors, *inputs.tensors))
        key = (self._name, self._decided, kept.structure, inputs.structure, shapes, tuple(into))
        number = len(kept.tensors)

        def flat(*given: Tensor) -> tuple[dict[str, Tensor], Any]:
            return self._function(kept.tree(given[:number]), inputs.tree(given[number:]))

        program = self._programs.find(key, self._name, lambda: _taken_down(flat, kept.tensors, inputs.tensors, into))
        return _Bound(program, kept.tensors, inputs.tensors, into)


def tensors_of(tree: Any) -> list[Tensor]:
    """Return the tensors of a tree of mappings and sequences in torch's order, in a tenth of its time."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (tuple, list)) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


class _Flat:
    """A tree's tensors in a row, and what else there is to it."""

    def __init__(self, tree: Any) -> None:
        leaves, spec = tree_flatten(tree)
        self.tensors: list[Tensor] = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        self.structure = (spec, tuple(None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves))

    def tree(self, tensors: Sequence[Tensor]) -> Any:
        """Return the tree with other tensors."""
        left, (spec, leaves) = iter(tensors), self.structure
        return tree_unflatten([next(left) if leaf is None else leaf[0] for leaf in leaves], spec)


class _Bound:
    """A program for tensors that keep their place."""

    def __init__(
        self, program: Program | None, kept: list[Tensor], inputs: list[Tensor], into: Mapping[str, Tensor]
    ) -> None:
        self._kept, self._inputs = kept, [_lies(t) for t in inputs]
        self.run: Run | None = None
        if program is not None:
            self._names, self._rest = _halves(program.outputs)
            self._written = {n: into[n] for n in self._names if n in into}
            self.run = program.bind(kept, list(self._written.values()))

    def fits(self, kept: Sequence[Tensor], inputs: Sequence[Tensor]) -> bool:
        """Whether it was made for these."""
        same = len(kept) == len(self._kept) and all(a is b for a, b in zip(kept, self._kept, strict=True))
        return same and len(inputs) == len(self._inputs) and all(map(_lies_as, inputs, self._inputs))

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[dict[str, Tensor], Any]:
        assert self.run is not None
        found = iter(self.run(*inputs))
        named = {n: self._written[n] if n in self._written else next(found) for n in self._names}
        return named, tree_unflatten(list(found), self._rest)


def _halves(outputs: TreeSpec) -> tuple[list[str], TreeSpec]:
    """Names of the first part of a result, and the structure of the rest."""
    named, rest = outputs.children()
    return list(named.context), rest


def _taken_down(
    function: Callable[..., Any], kept: Sequence[Tensor], inputs: Sequence[Tensor], into: Mapping[str, Tensor]
) -> Program:
    """Record a function and compare the first run of the list with the function itself, on other numbers.

    Raises:
        CannotRecordError: It cannot be recorded, or does something else the second time.
    """
    given = [*map(_copy, kept), *map(_copy, inputs)]
    recording, _ = record(function, given)
    named, _ = _halves(recording.outputs)
    if any(t.untyped_storage()._cdata in recording.written for t in given[len(kept) :]):
        raise CannotRecordError("writes to what it is given")
    places = [i for i, n in enumerate(named) if n in into]
    program = Program(recording, given, len(kept), places)
    # other numbers everywhere: what the tape did not see is then another number too
    other = [*(_changed(t) for t in kept), *(_turned(t) for t in inputs)]
    wanted_state = [_copy(t) for t in other]
    wanted = [t.detach() for t in tree_flatten(function(*wanted_state))[0]]
    written = [torch.empty_like(t) for t in wanted[: len(named)]]
    run = program.bind(other[: len(kept)], [written[i] for i in places])
    left = iter(run(*other[len(kept) :]))
    found = [written[i] if i in places else next(left) for i in range(len(wanted))]
    changed = [t.detach() for t in (*other[: len(kept)], *wanted_state[: len(kept)])]
    if not _close([*found, *changed[: len(kept)]], [*wanted, *changed[len(kept) :]]):
        raise CannotRecordError("does something else from call to call")
    return program


def _close(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    return all(map(_alike, found, wanted))


def _alike(found: Tensor, wanted: Tensor) -> bool:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if not wanted.is_floating_point():
        return bool(torch.equal(found, wanted))
    finite = wanted[torch.isfinite(wanted)].abs().double()
    largest = float(finite.max()) if finite.numel() else 0.0
    return bool(torch.allclose(found, wanted, rtol=0, atol=CLOSE[wanted.dtype] * largest + 1e-12, equal_nan=True))


def _lies(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype


def _lies_as(tensor: Tensor, lies: tuple[Any, ...]) -> bool:
    return bool(tensor.shape == lies[0] and tensor.stride() == lies[1] and tensor.dtype == lies[2])


def _copy(tensor: Tensor) -> Tensor:
    """Copy with gaps and repetitions as they are; wants gradients as the tensor does."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    extent = last + 1 if tensor.numel() else 0
    with torch.no_grad():
        memory = torch.as_strided(tensor.detach(), (extent,), (1,)).clone()
        copied = memory.as_strided(tensor.shape, tensor.stride(), 0)
    return copied.requires_grad_(tensor.requires_grad)


def _changed(tensor: Tensor) -> Tensor:
    """Copy with other numbers: of parameters and buffers."""
    copied = _copy(tensor)
    if copied.is_floating_point() and copied.numel():
        with torch.no_grad():
            copied.mul_(1.03125)  # exact in every type
    return copied


def _turned(tensor: Tensor) -> Tensor:
    """Copy with the rows of a batch ``[models, rows, ...]`` in reverse order."""
    copied = _copy(tensor)
    if tensor.ndim > 1 and all(tensor.stride()[:2]):
        with torch.no_grad():
            copied.copy_(tensor.flip(1))
    return copied
