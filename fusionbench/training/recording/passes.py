"""What is done to a list of operators before it is run again, one small pass at a time.

A pass changes the graph of a recording in place. Values stay what they are, to the last bit, but where a library adds the
terms of a matrix product in another order than those of its transpose (``turn_gradients``). Nothing is assumed of
operators: which of them go element by element, which write, and which have a variant that writes where it is told, torch
itself says of each.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from fusionbench.training.recording.tape import PLACE, Place, Recording, place_of

aten: Final = torch.ops.aten

_BY_ONE: Final = (aten.mul.Scalar, aten.div.Scalar, aten.mul.Tensor, aten.div.Tensor)
_FILLED: Final = {
    aten.ones_like.default,
    aten.zeros_like.default,
    aten.full_like.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
}
"""Their result depends on what the tensor is, not on its numbers."""


# ---------------------------------------------------------------------------------------------- passes


def drop_idle(recording: Recording) -> None:
    """Take out views that show a tensor as it lies, and multiplications and divisions by 1."""
    for node in calls(recording):
        first = next(iter(node.all_input_nodes), None)
        if first is not None and (_same_view(node, first) or _by_one(recording, node)):
            _replace(node, first)


def drop_dead(recording: Recording) -> None:
    """Take out what nobody reads."""
    for node in reversed(list(calls(recording))):
        if not node.users and not writes(node):
            recording.graph.erase_node(node)


def share_equal(recording: Recording) -> None:
    """Compute once what is computed twice from the same tensors."""
    seen: dict[Any, fx.Node] = {}
    for node in calls(recording):
        if _touches_written(recording, node):
            continue
        key = (node.target, _hashable(node.args), _hashable(node.kwargs))
        if key in seen:
            _replace(node, seen[key])
        else:
            seen[key] = node


def fold_constants(recording: Recording) -> None:
    """Compute for good what does not depend on any input."""
    constant = set(placeholders(recording)[recording.inputs :])
    for node in calls(recording):
        depends = [n for n in node.all_input_nodes if n not in constant]
        made_new = not node.all_input_nodes or node.target in _FILLED or not depends
        if (depends and node.target not in _FILLED) or not made_new or _touches_written(recording, node):
            continue
        if _draws_memory_only(node) or any(n.op != "placeholder" for n in node.all_input_nodes if n in constant):
            continue
        value = _filled(node) if node.target in _FILLED else _value(recording, node)
        if isinstance(value, Tensor):
            constant.add(_as_constant(recording, node, value))


def turn_gradients(recording: Recording) -> None:
    """Make the transposed product of matrices directly: the gradient of a weight then lies as the weight does."""
    for node in calls(recording):
        product = _transposed(node)
        if product is None or product.target is not aten.bmm.default or len(product.users) > 1:
            continue
        left, right = product.args
        with recording.graph.inserting_before(node):
            turned = recording.graph.call_function(
                aten.bmm.default, (_turned(recording.graph, right), _turned(recording.graph, left))
            )
        _replace(node, turned)


def reuse_memory(recording: Recording, consumed: Sequence[int] = ()) -> None:
    """Let an operator that goes element by element overwrite a tensor that nobody reads after it.

    Args:
        recording: With the places of its tensors as they are now (:func:`annotate`).
        consumed: Numbers of inputs that may be overwritten too.
    """
    lies = _Memory(recording, consumed)
    for position, node in enumerate(list(recording.graph.nodes)):
        variant = _writing_variant(node.target) if _is_pointwise(node) else None
        given = None if variant is None else lies.overwritable(node, position)
        if variant is not None and given is not None:
            name = next(a.name for a in variant._schema.arguments if a.alias_info is not None)
            node.target = variant
            node.kwargs = {**node.kwargs, name: given}
            lies.moved(node, given)


def write_into(recording: Recording, outputs: Sequence[int]) -> None:
    """Add an input for each of these outputs: memory that the output is written to. They are outputs no more."""
    end = next(iter(reversed(recording.graph.nodes)))
    results = list(end.args[0])
    last = placeholders(recording)[-1]
    for number in outputs:
        with recording.graph.inserting_after(last):
            last = recording.graph.placeholder(f"into_{number}")
        made = results[number]
        if made.target is aten.bmm.default and len(made.users) == 1:
            made.target, made.kwargs = aten.bmm.out, {"out": last}
        else:
            with recording.graph.inserting_before(end):
                recording.graph.call_function(aten.copy_.default, (last, made))
    end.args = ([r for i, r in enumerate(results) if i not in set(outputs)],)


# ---------------------------------------------------------------------------------------------- what passes ask


def annotate(recording: Recording, inputs: Sequence[Tensor]) -> None:
    """Run the graph once and note where every tensor lies; for the passes that ask for it after others changed it."""
    values: dict[fx.Node, Any] = {}
    given = iter([*inputs, *recording.constants])
    with torch.no_grad():
        for node in recording.graph.nodes:
            if node.op == "placeholder":
                values[node] = next(given)
            elif node.op == "call_function":
                arguments = map_arg((node.args, dict(node.kwargs)), values.__getitem__)
                values[node] = node.target(*arguments[0], **arguments[1])
            if isinstance(values.get(node), Tensor):
                node.meta[PLACE] = place_of(values[node])


def calls(recording: Recording) -> Iterator[fx.Node]:
    """Yield the calls of a recording as they stand now."""
    return iter([n for n in recording.graph.nodes if n.op == "call_function"])


def placeholders(recording: Recording) -> list[fx.Node]:
    """Return inputs, then constants."""
    return [n for n in recording.graph.nodes if n.op == "placeholder"]


class _Memory:
    """Who lies where, and for how long it is read."""

    def __init__(self, recording: Recording, consumed: Sequence[int]) -> None:
        self._root: dict[int, int] = {}
        self._last: dict[int, int] = {}
        kept = [n for i, n in enumerate(placeholders(recording)) if i not in set(consumed)]
        end = next(iter(reversed(recording.graph.nodes)))
        self._protected = {p.storage for n in (*kept, *end.all_input_nodes) if (p := n.meta.get(PLACE))}
        self._protected |= recording.written
        for position, node in enumerate(recording.graph.nodes):
            for used in node.all_input_nodes:
                if (place := used.meta.get(PLACE)) is not None:
                    self._last[place.storage] = position

    def _of(self, node: fx.Node) -> int:
        storage = node.meta[PLACE].storage
        return int(self._root.get(storage, storage))

    def overwritable(self, node: fx.Node, position: int) -> fx.Node | None:
        """Return an argument whose memory the result may take."""
        if PLACE not in node.meta or node.kwargs:
            return None
        place: Place = node.meta[PLACE]
        tensors = [n for n in node.all_input_nodes if PLACE in n.meta]
        for given in tensors:
            own: Place = given.meta[PLACE]
            fits = own.alike(place) and own.whole and self._last.get(self._of(given)) == position
            alone = all(n is given or self._of(n) != self._of(given) for n in tensors)
            if fits and alone and self._of(given) not in self._protected and own.storage not in self._protected:
                return given
        return None

    def moved(self, node: fx.Node, given: fx.Node) -> None:
        """Note that the result of a node lies where an argument lay."""
        storage, root = node.meta[PLACE].storage, self._of(given)
        self._root[storage] = root
        self._last[root] = self._last.get(storage, -1)
        if storage in self._protected:
            self._protected.add(root)


@cache
def _writing_variant(target: Any) -> Any:
    """Return the overload of an operator that writes its result to a tensor it is given; None where torch has no real one."""
    if not isinstance(target, torch._ops.OpOverload):
        return None
    wanted = [(a.name, str(a.type)) for a in target._schema.arguments]
    packet = target.overloadpacket
    for name in packet.overloads():
        other = getattr(packet, name)
        free = [(a.name, str(a.type)) for a in other._schema.arguments if a.alias_info is None]
        written = [a for a in other._schema.arguments if a.alias_info is not None]
        # what torch generates computes elsewhere and copies
        if len(written) == 1 and written[0].kwarg_only and free == wanted and torch.Tag.generated not in other.tags:
            return other
    return None


def _is_pointwise(node: fx.Node) -> bool:
    return torch.Tag.pointwise in getattr(node.target, "tags", ())


def writes(node: fx.Node) -> bool:
    """Whether an operator writes to something that it is given."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _touches_written(recording: Recording, node: fx.Node) -> bool:
    places = [n.meta[PLACE].storage for n in (node, *node.all_input_nodes) if PLACE in n.meta]
    return writes(node) or any(s in recording.written for s in places)


def _place(node: fx.Node) -> Place:
    place: Place = node.meta[PLACE]
    return place


def _same_view(node: fx.Node, first: fx.Node) -> bool:
    if PLACE not in node.meta or PLACE not in first.meta or writes(node):
        return False
    # how it lies counts, not where: what it shows may have been replaced by something equal that lies elsewhere
    return _is_view(node) and node.meta[PLACE][1:] == first.meta[PLACE][1:]


def _is_view(node: fx.Node) -> bool:
    if node.target is aten._unsafe_view.default:  # torch calls it unsafe since it says nothing of what it does
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(r.alias_info is not None for r in schema.returns)


def _by_one(recording: Recording, node: fx.Node) -> bool:
    by_one = node.target in _BY_ONE and not isinstance(node.args[1], (fx.Node, bool)) and node.args[1] == 1
    if not by_one or node.kwargs or _touches_written(recording, node):
        return False
    first = node.args[0]
    return isinstance(first, fx.Node) and _place(first).alike(_place(node))


def _transposed(node: fx.Node) -> fx.Node | None:
    """Return what a node shows with its last two of three dimensions exchanged; None where it does something else."""
    if node.target is aten.transpose.int:
        source, first, second = node.args
        turned = len(_place(node).shape) == 3 and {first, second} in ({1, 2}, {-2, 2}, {-1, 1}, {-2, -1})
    elif node.target is aten.permute.default:
        source, turned = node.args[0], list(node.args[1]) == [0, 2, 1]  # type: ignore[arg-type]
    else:
        return None
    return source if turned and isinstance(source, fx.Node) else None


def _turned(graph: fx.Graph, node: Any) -> fx.Node:
    source = _transposed(node)
    return graph.call_function(aten.transpose.int, (node, 1, 2)) if source is None else source


def _replace(node: fx.Node, by: fx.Node) -> None:
    if PLACE in node.meta and PLACE not in by.meta:
        by.meta[PLACE] = node.meta[PLACE]
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)


def _hashable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(v) for v in value)
    if isinstance(value, dict):
        return tuple((k, _hashable(v)) for k, v in value.items())
    return (type(value), repr(value)) if isinstance(value, float) else (type(value), value)


def _draws_memory_only(node: fx.Node) -> bool:
    return "empty" in getattr(node.target, "__name__", "")


def _filled(node: fx.Node) -> Tensor:
    place = _place(node)
    rest = node.args[1:]
    like = torch.empty_strided(place.shape, place.stride, dtype=place.dtype, device=place.device)
    if node.target in (aten.ones_like.default, aten.new_ones.default):
        return like.fill_(1)
    if node.target in (aten.full_like.default, aten.new_full.default):
        return like.fill_(rest[-1])  # type: ignore[arg-type]
    return like.zero_()


def _value(recording: Recording, node: fx.Node) -> Any:
    known = dict(zip(placeholders(recording)[recording.inputs :], recording.constants, strict=True))
    if any(n not in known for n in node.all_input_nodes) or node.target is operator.getitem:
        return None
    arguments = map_arg((node.args, dict(node.kwargs)), known.__getitem__)
    with torch.no_grad():
        return node.target(*arguments[0], **arguments[1])  # type: ignore[operator]


def _as_constant(recording: Recording, node: fx.Node, value: Tensor) -> fx.Node:
    last = placeholders(recording)[-1:]
    point = recording.graph.inserting_after(last[0]) if last else recording.graph.inserting_before(node)
    with point:
        constant = recording.graph.placeholder(f"constant_{len(recording.constants)}")
    constant.meta[PLACE] = place_of(value)
    recording.constants.append(value)
    _replace(node, constant)
    return constant
