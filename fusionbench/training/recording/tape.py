"""Takes down what a function of tensors does, operator by operator, below autograd and vmap.

The list is a ``torch.fx`` graph: one placeholder for each tensor that goes in, one call for each operator of torch, and what
comes out. Tensors that the function takes from elsewhere are held as constants.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map

MOST_OPERATORS: Final = 20_000
"""More are not taken down: Python's share of such a step is small, or the step is no step."""
PLACE: Final = "place"
"""Key of a node's :class:`Place` in its ``meta``."""

_SAME: Final = {"aten::detach", "aten::alias", "aten::lift_fresh"}  # another name for the same tensor
_REFUSED: Final = {
    torch.Tag.data_dependent_output: "asks for a number",
    torch.Tag.dynamic_output_shape: "makes a tensor whose shape depends on numbers",
    torch.Tag.nondeterministic_seeded: "draws random numbers",
}


class Place(NamedTuple):
    """How a tensor lies in memory.

    Args:
        storage: Equal for tensors that share memory.
        offset: Of its first number in the storage, in numbers.
        shape: Of the tensor.
        stride: In numbers.
        dtype: Of the tensor.
        device: Of the tensor.
        whole: Whether it is all of its storage, without gaps: who writes to it writes to nothing else.
    """

    storage: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    whole: bool

    def alike(self, other: Place) -> bool:
        """Whether the two have shape, stride, type and device in common, wherever they lie."""
        return self[2:6] == other[2:6]


@dataclass
class Recording:
    """What a function did.

    Args:
        graph: Placeholders for the inputs in their order, then for ``constants``; calls; one output, a list.
        inputs: How many placeholders are inputs.
        constants: Tensors that the function took from elsewhere.
        outputs: Structure of the result; its leaves are the output's list.
        written: Storages (:attr:`Place.storage`) that some operator wrote to.
    """

    graph: fx.Graph
    inputs: int
    constants: list[Tensor]
    outputs: TreeSpec
    written: set[int] = field(default_factory=set)


class CannotRecordError(Exception):
    """Why a function is not taken down, as the end of a sentence that begins with what the function is."""


def record(function: Callable[..., Any], inputs: Sequence[Tensor]) -> tuple[Recording, Any]:
    """Call a function and take down what it does.

    Args:
        function: Takes the inputs one by one, and returns a tree of tensors. It must decide nothing by their values.
        inputs: Different tensors that share no memory.

    Returns:
        The recording, and what the function returned.

    Raises:
        CannotRecordError: The function asks for a number, makes shapes of numbers, draws random numbers, or does too much.
    """
    tape = _Tape(inputs)
    with tape:
        result = function(*inputs)
    return tape.finish(result), result


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operator; what cannot be taken down is remembered, and the function goes on undisturbed."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.reason: str | None = None
        self._count = 0
        self._alive: list[Tensor] = []  # a tensor that is gone would leave its id to another
        self._nodes: dict[int, fx.Node] = {}
        self._constants: list[Tensor] = []
        self._written: set[int] = set()
        for number, tensor in enumerate(inputs):
            self._name(tensor, self.graph.placeholder(f"input_{number}"))
        self._inputs = len(inputs)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return (
            False  # torch's door for those who are not compiled; else the first call imports the compiler, for a second
        )

    def __torch_dispatch__(self, called: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        named = named or {}
        result = called(*given, **named)
        self._count += 1
        if self.reason is None:
            self.reason = _refusal(called, given, self._count)
        if self.reason is None:
            self._note(called, given, named, result)
        return result

    def _note(self, called: Any, given: Any, named: Any, result: Any) -> None:
        schema = called._schema
        if schema.name in _SAME and isinstance(result, Tensor):
            self._alive.append(result)
            self._nodes[id(result)] = self._node(given[0])
            return
        node = self.graph.call_function(called, *tree_map(self._mapped, (tuple(given), dict(named))))
        self._note_writes(schema, given, named)
        if isinstance(result, Tensor):
            self._name_new(result, node)
        elif isinstance(result, (tuple, list)):
            for i, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._name_new(part, self.graph.call_function(operator.getitem, (node, i)))

    def _note_writes(self, schema: Any, given: Any, named: Any) -> None:
        for argument, value in zip(schema.arguments, given, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._written.update(_storage(t) for t in tree_flatten(value)[0] if isinstance(t, Tensor))
        for argument in schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write and argument.name in named:
                self._written.update(_storage(t) for t in tree_flatten(named[argument.name])[0])

    def _mapped(self, value: Any) -> Any:
        return self._node(value) if isinstance(value, Tensor) else value

    def _node(self, tensor: Tensor) -> fx.Node:
        if id(tensor) not in self._nodes:
            with self.graph.inserting_before(self._first_call()):
                node = self.graph.placeholder(f"constant_{len(self._constants)}")
            self._constants.append(tensor)
            self._name(tensor, node)
        return self._nodes[id(tensor)]

    def _first_call(self) -> fx.Node:
        return next((n for n in self.graph.nodes if n.op != "placeholder"), self.graph._root)

    def _name_new(self, tensor: Tensor, node: fx.Node) -> None:
        if id(tensor) not in self._nodes:  # an operator that writes returns what it wrote to
            self._name(tensor, node)

    def _name(self, tensor: Tensor, node: fx.Node) -> None:
        self._alive.append(tensor)
        self._nodes[id(tensor)] = node
        node.meta[PLACE] = place_of(tensor)

    def finish(self, result: Any) -> Recording:
        """Return what was taken down.

        Raises:
            CannotRecordError: Something was not.
        """
        leaves, structure = tree_flatten(result)
        if self.reason is None and not all(isinstance(leaf, Tensor) for leaf in leaves):
            self.reason = "returns something that is not a tensor"
        if self.reason is not None:
            raise CannotRecordError(self.reason)
        self.graph.output([self._node(leaf) for leaf in leaves])
        return Recording(self.graph, self._inputs, self._constants, structure, self._written)


def place_of(tensor: Tensor) -> Place:
    """Return how a tensor lies in memory."""
    whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes() and _dense(tensor)
    offset, shape = tensor.storage_offset(), tuple(tensor.shape)
    return Place(_storage(tensor), int(offset), shape, tensor.stride(), tensor.dtype, tensor.device, whole)


def _dense(tensor: Tensor) -> bool:
    return bool(torch.ops.aten.is_non_overlapping_and_dense.default(tensor))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _refusal(called: Any, given: Any, count: int) -> str | None:
    if count > MOST_OPERATORS:
        return f"does more than {MOST_OPERATORS:,} operators"
    if called is torch.ops.aten.index.Tensor and not any(
        isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in given[1]
    ):
        return None  # of whole numbers: the shape does not depend on them
    return next((f"{why} ({called._schema.name})" for tag, why in _REFUSED.items() if tag in called.tags), None)
