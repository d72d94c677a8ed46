"""The check that the order of modalities decides nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fusionbench.testing.assertions import expect
from fusionbench.testing.batches import Case
from fusionbench.testing.subjects import CheckSkippedError, Subject


def check_modality_order_does_not_matter(subject: Subject) -> None:
    """The order of modalities in a benchmark file should not decide a comparison.

    The plugin is built for another order and given the same parameters: by name, with axes and list
    entries that run over modalities moved along. Where the order is part of the method, declare
    ``expected_failures = {"modality_order_does_not_matter": reason}``.

    Mend: keep parameters by modality name, or lay blocks side by side in the order of ``spec.dims``; make what is computed
    from several modalities symmetric: a sum, a product, a mean, a maximum.
    """
    for case in _cases_for_order(subject.cases):
        _check_order(subject, case)


def _check_order(subject: Subject, case: Case) -> None:
    names = case.spec.names
    order = [*range(1, len(names)), 0]
    moved = _reordered(case, [names[i] for i in order])
    part, other = subject.trained(case), subject.trained(moved, seed=1)
    wanted = subject.predict(part, case.batch)
    shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
    for state in _relabelled(part.state_dict(), case.spec.dims, order):
        if {name: tensor.shape for name, tensor in state.items()} == shapes:
            other.load_state_dict(state)
            if _same(subject.predict(other, moved.batch), wanted):
                return
    expect(condition=False, case=case, message="the answer depends on the order of the modalities")


def _relabelled(
    state: Mapping[str, Tensor], dims: Mapping[str, int], order: Sequence[int]
) -> Iterator[dict[str, Tensor]]:
    """Yield the parameters for the new order, in every way they may be laid out.

    An axis of length M may run over modalities or by chance have that length; so each kind of axis of each
    kind of tensor is tried moved and unmoved, and so are lists with M entries.
    """
    moves = _axis_moves(dims, order)
    for entries in (state, _move_entries(state, order)):
        places = sorted({(_role(n, dims), size) for n, t in entries.items() for size in t.shape if size in moves})
        if len(places) > MOST_PLACES:  # too many to try one by one: equal lengths mean the same
            places = [("", size) for size in moves]
        for chosen in itertools.product((True, False), repeat=len(places)):
            kept = set(itertools.compress(places, chosen))
            yield {
                name: _move_axes(t, {s: m for s, m in moves.items() if kept & {("", s), (_role(name, dims), s)}})
                for name, t in entries.items()
            }


MOST_PLACES = 9


def _role(name: str, dims: Mapping[str, int]) -> str:
    """A parameter's name without what tells modalities and list entries apart."""
    return ".".join(p for p in name.split(".") if p not in dims and not p.isdigit())


def _same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    return set(found) == set(wanted) and all(_close(found[name], wanted[name]) for name in wanted)


def _close(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found.double(), wanted.double(), rtol=1e-9, atol=1e-9)


def _cases_for_order(cases: Sequence[Case]) -> list[Case]:
    """Every number of modalities with every kind of target, some of them absent; or whatever there is of several."""
    several = [c for c in cases if len(c.spec.names) > 1]
    if not several:
        raise CheckSkippedError("no case has more than one modality")
    return [c for c in several if "random" in c.name] or several


def _reordered(case: Case, names: Sequence[str]) -> Case:
    """Return the case with its modalities in another order."""

    def each(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensors[name] for name in names if name in tensors}

    b = case.batch
    masks = {"present": each(b.present), "available": each(b.available), "imputed": each(b.imputed)}
    moved = case.with_batch(features=each(b.features), zero_input=each(b.zero_input), **masks)
    return replace(moved, spec=replace(case.spec, dims={name: case.spec.dims[name] for name in names}))


def _axis_moves(dims: Mapping[str, int], order: Sequence[int]) -> dict[int, Tensor]:
    """Return the new order of entries for each length that an axis over modalities or channels can have."""
    count, total = len(dims), sum(dims.values())
    blocks = torch.split(torch.arange(total), list(dims.values()))
    channels = torch.cat([blocks[i] for i in order])
    flags = torch.tensor(order)
    return {
        count: flags,
        count + 1: torch.cat([flags, torch.tensor([count])]),
        total: channels,
        total + count: torch.cat([channels, total + flags]),
    }


def _move_axes(tensor: Tensor, moves: Mapping[int, Tensor]) -> Tensor:
    """Move the entries of every axis whose length is in ``moves``."""
    for axis, size in enumerate(tensor.shape):
        if size in moves:
            tensor = tensor.index_select(axis, moves[size])
    return tensor


def _move_entries(state: Mapping[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
    """Renumber lists that have one entry per modality: ``heads.0.weight`` and the like."""
    lists: dict[str, set[int]] = {}
    for key in state:
        pieces = key.split(".")
        for i, piece in enumerate(pieces):
            if piece.isdigit():
                lists.setdefault(".".join(pieces[:i]), set()).add(int(piece))
    moved = {}
    for key, value in state.items():
        pieces = key.split(".")
        for i, piece in enumerate(pieces):
            if piece.isdigit() and lists[".".join(pieces[:i])] == set(range(len(order))):
                pieces[i] = str(list(order).index(int(piece)))
        moved[".".join(pieces)] = value
    return moved
