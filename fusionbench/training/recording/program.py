"""A cleaned list of operators that can be run again, on any tensors that lie as those of the recording did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import TreeSpec

from fusionbench.training.recording import passes
from fusionbench.training.recording.tape import PLACE, Recording

Run = Callable[..., list[Tensor]]


class Program:
    """What a recording does, ready to be run.

    Args:
        recording: Is taken over and changed.
        inputs: As it was recorded with.
        kept: How many of the first inputs keep their place from run to run: what is only a view of them is made once.
        into: Numbers of outputs that are written to memory which is bound too.
        consumed: Numbers of inputs that a run may overwrite.
    """

    def __init__(
        self,
        recording: Recording,
        inputs: Sequence[Tensor],
        kept: int = 0,
        into: Sequence[int] = (),
        consumed: Sequence[int] = (),
    ) -> None:
        self.outputs: TreeSpec = recording.outputs
        clean(recording, inputs, into, consumed)
        self._constants = recording.constants
        self._ahead, self._body = _divided(recording, kept)
        self.size = len(list(passes.calls(recording)))
        """How many operators it has."""

    def bind(self, kept: Sequence[Tensor], into: Sequence[Tensor] = ()) -> Run:
        """Return a function of the other inputs, for tensors that keep their place.

        Args:
            kept: The first inputs.
            into: Where the outputs go that are written.
        """
        with torch.no_grad():
            ahead = self._ahead(*kept, *self._constants)
        body = self._body

        def run(*inputs: Tensor) -> list[Tensor]:
            with torch.no_grad():
                found: list[Tensor] = body(*kept, *inputs, *self._constants, *into, *ahead)
                return found

        return run


def clean(
    recording: Recording, inputs: Sequence[Tensor], into: Sequence[int] = (), consumed: Sequence[int] = ()
) -> None:
    """Do every pass, in the order in which they serve each other."""
    passes.drop_dead(recording)
    passes.drop_idle(recording)
    passes.share_equal(recording)
    passes.fold_constants(recording)
    passes.share_equal(recording)
    passes.turn_gradients(recording)
    passes.drop_dead(recording)
    passes.annotate(recording, [t.clone() for t in inputs])
    passes.reuse_memory(recording, consumed)
    passes.write_into(recording, into)
    passes.drop_dead(recording)


def _divided(recording: Recording, kept: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Divide into what is only a view of tensors that keep their place, and the rest."""
    given = passes.placeholders(recording)
    constants = given[recording.inputs : recording.inputs + len(recording.constants)]
    stays = {*given[:kept], *constants}
    for node in passes.calls(recording):
        sources = node.all_input_nodes
        if sources and all(n in stays for n in sources) and _only_view(node, sources[0]):
            stays.add(node)
    made = [n for n in passes.calls(recording) if n in stays]
    wanted = [n for n in made if any(u not in stays for u in n.users)]
    ahead = _copied([*given[:kept], *constants], made, wanted)
    rest = [n for n in passes.calls(recording) if n not in stays]
    end = next(iter(reversed(recording.graph.nodes)))
    body = _copied([*given, *wanted], rest, list(end.args[0]))
    return ahead, body


def _only_view(node: fx.Node, source: fx.Node) -> bool:
    place, own = node.meta.get(PLACE), source.meta.get(PLACE)
    return place is not None and own is not None and place.storage == own.storage and not passes.writes(node)


def _copied(given: Sequence[fx.Node], nodes: Sequence[fx.Node], results: Sequence[fx.Node]) -> Callable[..., Any]:
    """Return a function of some nodes' values that computes others."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for number, node in enumerate(given):
        copies[node] = graph.placeholder(f"given_{number}")
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output([copies[n] for n in results])
    function: Callable[..., Any] = fx.GraphModule(nn.Module(), graph).forward
    return function
