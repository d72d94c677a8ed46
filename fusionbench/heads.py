"""Small building blocks that several fusion strategies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from fusionbench.contract.batch import Batch, FusionSpec, HeadSpec
from fusionbench.contract.learners import start_head_at
from fusionbench.targets import TargetKind, masked_mean, row_losses

__all__ = [
    "follows_head",
    "head",
    "logits_of_states",
    "lstm_cell",
    "mlp_head",
    "one_hot_states",
    "start_head_at",
    "unimodal_aux",
    "unimodal_heads",
    "unimodal_logits",
    "unimodal_losses",
]


def mlp_head(width: int, num_outputs: int, hidden: int = 0) -> nn.Module:
    """Return a linear head, or with ``hidden`` > 0 one hidden layer of that many rectified units."""
    if hidden < 0:
        raise ValueError(f"head_hidden must be 0 (a linear head) or a number of units, found {hidden}")
    if hidden == 0:
        return nn.Linear(width, num_outputs)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, num_outputs))


def head(spec: FusionSpec, width: int, num_outputs: int | None = None, hidden: int | None = None) -> nn.Module:
    """Return the head that the benchmark gives every strategy (``model.head``): linear, or with hidden layers.

    Args:
        spec: Says how deep and how wide.
        width: Of what the head reads.
        num_outputs: None: as many as the spec says.
        hidden: The strategy's own option, which wins: 0 a linear head, more one hidden layer of so many units; None: the spec.
    """
    outputs = spec.num_outputs if num_outputs is None else num_outputs
    if hidden is not None:
        return mlp_head(width, outputs, hidden)
    units = max(spec.dims.values()) if spec.head.width is None else spec.head.width
    layers: list[nn.Module] = []
    for _ in range(spec.head.depth):
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    last = nn.Linear(width, outputs)
    return nn.Sequential(*layers, last) if layers else last


def unimodal_heads(spec: FusionSpec, num_outputs: int | None = None, hidden: int | None = None) -> nn.ModuleDict:
    """Return one :func:`head` per modality, by name; ``num_outputs`` defaults to the spec's."""
    return nn.ModuleDict({name: head(spec, dim, num_outputs, hidden) for name, dim in spec.dims.items()})


def follows_head(build: Callable[[FusionSpec], nn.Module], spec: FusionSpec) -> bool:
    """Whether what is built has other parameters when the benchmark gives another head: its depth is that of ``model.head``."""
    linear, deep = ({n: p.shape for n, p in build(replace(spec, head=h)).named_parameters()} for h in _TWO_HEADS)
    return linear != deep


_TWO_HEADS = (HeadSpec(), HeadSpec(depth=2, width=3))


def unimodal_aux(logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return logits by modality under the names that ``FusionOutput.aux`` gives them."""
    return {f"unimodal.{name}": value for name, value in logits.items()}


def unimodal_logits(aux: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the unimodal logits in ``FusionOutput.aux`` by modality: the inverse of :func:`unimodal_aux`."""
    return {key.removeprefix("unimodal."): value for key, value in aux.items() if key.startswith("unimodal.")}


def unimodal_losses(logits: Mapping[str, Tensor], batch: Batch, target: Tensor, kind: TargetKind) -> dict[str, Tensor]:
    """Return each modality's mean task loss over the rows where it is usable, by name.

    Args:
        logits: Float ``[batch, outputs]`` by modality.
        batch: Says which rows count.
        target: Labels.
        kind: What the target means.
    """
    return {name: masked_mean(row_losses(z, target, kind), batch.usable(name)) for name, z in logits.items()}


def logits_of_states(log_states: Tensor, kind: TargetKind) -> Tensor:
    """Turn log-probabilities of states, up to a constant per row (and label), into logits.

    The inverse of :func:`fusionbench.targets.state_log_probabilities`, without leaving log space.

    Args:
        log_states: Float ``[batch, classes]`` for multi-class, else ``[batch, outputs, 2]``.
        kind: What the states mean.

    Returns:
        Float ``[batch, outputs]``.
    """
    if kind is TargetKind.MULTICLASS:
        return torch.log_softmax(log_states, dim=-1)
    return log_states[..., 1] - log_states[..., 0]


def one_hot_states(target: Tensor, num_outputs: int, kind: TargetKind) -> Tensor:
    """Return int64 0/1 targets on the state axis: ``[batch, classes]``, else ``[batch, outputs, 2]``."""
    if kind is TargetKind.MULTICLASS:
        # a comparison, not functional.one_hot: that one checks the values, which breaks under vmap
        return (target.unsqueeze(-1) == torch.arange(num_outputs, device=target.device)).long()
    columns = target if kind is TargetKind.MULTILABEL else target.unsqueeze(-1)
    return torch.stack([1 - columns, columns], dim=-1)


def lstm_cell(driven: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Return hidden and cell state of an LSTM after one step, by plain operations: they stack, the library's kernel does not.

    Args:
        driven: ``[..., 4 hidden]``, what input and hidden state say, biases added; gates in the order input, forget, cell,
            output, as in ``nn.LSTM``.
        memory: Cell state ``[..., hidden]`` before the step.
    """
    enter, keep, candidate, leave = driven.chunk(4, dim=-1)
    memory = keep.sigmoid() * memory + enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * memory.tanh(), memory
