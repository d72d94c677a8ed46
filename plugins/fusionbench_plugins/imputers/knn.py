"""Nearest neighbours: an absent modality becomes the mean over similar training rows that have it.

Method: Troyanskaya et al. 2001, Missing value estimation methods for DNA microarrays, Bioinformatics 17(6), with
distances over what two rows share, scaled up for what they do not::

    d(a, b) = sqrt(sum of squared differences over shared modalities * all features / shared features)

Features are standardised with the training rows. It works on inputs, once, before training. A training row is never
its own neighbour: it is asked for a modality that it lacks, and only rows that have the modality can answer.

Series of differing length share the steps that are valid in both. A filled series is as long as its neighbours are on
average (rounded), and each of its steps is the mean over the neighbours that reach it. Padding is never read.

Differs: whole modalities are absent, so a neighbour must share at least one with the row. On embeddings of a trained
encoder it is not offered, since they move; those of a frozen encoder are inputs here, and are filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from fusionbench import Batch, FusionSpec, Imputer, Provenance, Trial, hookimpl
from fusionbench.errors import DataError
from fusionbench.hookspecs import Register

QUERIES_AT_ONCE = 256  # bounds memory (queries x training rows), changes no number


class Rows(NamedTuple):
    """One modality of some rows.

    Args:
        values: Standardised features, float ``[rows, features]``; zeros where not known.
        known: Bool ``[rows, 1]``, True = present; or ``[rows, steps]`` for series of differing length, True = present
            and within the row's length.
    """

    values: Tensor
    known: Tensor

    def at(self, index: Tensor) -> Rows:
        """Return the rows at ``index``."""
        return Rows(self.values[index], self.known[index])


class Knn(Imputer):
    """Fills absent inputs with the mean over the ``k`` nearest training rows that have them.

    With fewer such rows all of them are used; where none shares a modality with the row, the mean over all rows
    that have the modality; zeros where no training row has it.

    Args:
        spec: Widths, outputs and target kind.
        k: How many neighbours.
        weights: Of the neighbours. ``uniform``: all alike; ``distance``: the nearer, the more (inverse distance).

    Shapes:
        Inputs of any shape ``[batch, ...]``, float or uint8 (the mean is then rounded). Filled rows of a series with
        ``batch.lengths`` get lengths of their own, at least 1, and zeros behind them.
    """

    level: ClassVar[Literal["embedding", "input"]] = "input"
    stackable: bool = False  # it looks up rows; and it is applied before training
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Troyanskaya et al. 2001, Missing value estimation methods for DNA microarrays, Bioinformatics 17(6)",
        equations="weighted average over the K nearest neighbours",
        link="https://doi.org/10.1093/bioinformatics/17.6.520",
        code="none of this use",
        differs="whole modalities are absent; uniform weights by default; on encoder inputs only, not on embeddings that "
        "training moves; series are compared and averaged over valid steps",
    )

    def __init__(self, spec: FusionSpec, k: int = 5, weights: Literal["uniform", "distance"] = "uniform") -> None:
        super().__init__(spec)
        if k < 1:
            raise ValueError(f"k must be at least 1, found {k}")
        self.k, self.weights = k, weights

    def fit(self, batch: Batch) -> None:
        """Keep the training rows, and how their features are distributed.

        Raises:
            DataError: A modality is not made of numbers.
        """
        for name in batch.names:
            table, known = _table(name, batch.features[name]), _known(name, batch)
            counted = _entries(known, table)
            count = counted.sum(dim=0).clamp_min(1)
            mean = torch.where(counted, table, 0).sum(dim=0) / count
            spread = (torch.where(counted, table - mean, 0).square().sum(dim=0) / count).sqrt()
            self.register_buffer(f"known_{name}", known.clone())
            self.register_buffer(f"mean_{name}", mean)
            # the computed spread of equal values need not be 0, and dividing by it would make one column decide alone
            low, high = (torch.where(counted, table, far) for far in (torch.inf, -torch.inf))
            differs = high.amax(dim=0) > low.amin(dim=0)
            self.register_buffer(f"scale_{name}", torch.where(differs & (spread > 0), spread, 1))
            self.register_buffer(f"rows_{name}", self._standardised(name, table, known))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with every absent row filled."""
        rows = {n: self._rows(n, batch) for n in batch.names}
        found = {n: self._fill(n, rows, ~batch.present[n], batch.features[n]) for n in batch.names}
        filled = batch.filled({n: inputs for n, (inputs, _) in found.items()})
        lengths = {n: torch.where(batch.present[n], own, found[n][1]) for n, own in batch.lengths.items()}
        return replace(filled, lengths=lengths)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """How many neighbours: one, the default, or a crowd."""
        return {"k": trial.suggest_categorical("k", [1, 5, 25])}

    def _rows(self, name: str, batch: Batch) -> Rows:
        known = _known(name, batch)
        return Rows(self._standardised(name, _table(name, batch.features[name]), known), known)

    def _training_rows(self, name: str) -> Rows:
        return Rows(getattr(self, f"rows_{name}"), getattr(self, f"known_{name}"))

    def _standardised(self, name: str, table: Tensor, known: Tensor) -> Tensor:
        """Standardised features; zeros where not known."""
        values = (table - getattr(self, f"mean_{name}")) / getattr(self, f"scale_{name}")
        return torch.where(_entries(known, table), values, 0)

    def _fill(self, name: str, rows: Mapping[str, Rows], absent: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """A fill for every row of a modality, shaped and typed as its input, and its valid steps, int64 ``[batch]``."""
        filled = torch.zeros_like(rows[name].values)
        known = torch.ones_like(rows[name].known)
        for index in torch.split(absent.nonzero().squeeze(1), QUERIES_AT_ONCE):
            filled[index], known[index] = self._mean(name, {n: r.at(index) for n, r in rows.items() if n != name})
        inputs: Tensor = filled * getattr(self, f"scale_{name}") + getattr(self, f"mean_{name}")
        inputs = torch.where(_entries(known, inputs), inputs, 0)
        if not like.is_floating_point():
            inputs = inputs.round().clamp(0, 255)
        return inputs.reshape(like.shape).to(like.dtype), known.sum(dim=1)

    def _mean(self, name: str, queries: Mapping[str, Rows]) -> Rows:
        """Standardised mean over the nearest rows that have ``name``; 0, the training mean, where there are none."""
        training = self._training_rows(name)
        donors = training.known.any(dim=1).nonzero().squeeze(1)
        distances = self._distances(queries, donors)
        if distances is None or len(donors) == 0:
            return _typical(training, donors)
        nearest, index = distances.topk(min(self.k, len(donors)), dim=1, largest=False)
        shares = self._shares(nearest)
        neighbours = training.at(donors[index])
        if neighbours.known.shape[-1] == 1:
            return Rows(torch.einsum("qk,qkf->qf", shares, neighbours.values), neighbours.known[:, 0])
        return _mean_series(shares, neighbours, _typical(training, donors))

    def _shares(self, distances: Tensor) -> Tensor:
        """Weights of the neighbours, ``[queries, k]``, summing to 1; all 0 where none is within reach."""
        reached = torch.isfinite(distances)
        weights = reached.to(distances.dtype)
        if self.weights == "distance":
            tiny = torch.finfo(distances.dtype).eps
            weights = torch.where(reached, 1 / distances.clamp_min(tiny), 0)
        total = weights.sum(dim=1, keepdim=True)
        return weights / torch.where(total > 0, total, 1)

    def _distances(self, queries: Mapping[str, Rows], donors: Tensor) -> Tensor | None:
        """Distances ``[queries, donors]``; infinite where no modality is shared, None where there is no other."""
        parts = [_shared(rows, self._training_rows(n).at(donors)) for n, rows in queries.items()]
        if not parts:
            return None
        squared = torch.stack([s for s, _ in parts]).sum(dim=0)
        compared = torch.stack([c for _, c in parts]).sum(dim=0)
        # the number of all features is the same for every pair and drops out of order and weights
        return torch.where(compared > 0, (squared / compared.clamp_min(1)).sqrt(), torch.inf)


def _shared(queries: Rows, donors: Rows) -> tuple[Tensor, Tensor]:
    """Squared distance and number of features compared, ``[queries, donors]`` each."""
    steps, features = queries.known.shape[1], queries.values.shape[1]
    if steps == 1:
        both = queries.known & donors.known.T
        return torch.where(both, torch.cdist(queries.values, donors.values).square(), 0), both * features
    # values are zeros where not known, so that a row's own squares need the other's steps only
    own, other = (_step_squares(rows) for rows in (queries, donors))
    known, theirs = queries.known.to(own.dtype), donors.known.to(own.dtype)
    squared = own @ theirs.T + known @ other.T - 2 * queries.values @ donors.values.T
    return squared.clamp_min(0), known @ theirs.T * (features // steps)


def _step_squares(rows: Rows) -> Tensor:
    """Sum of squares in each step, ``[rows, steps]``."""
    return rows.values.square().reshape(*rows.known.shape, -1).sum(dim=-1)


def _mean_series(shares: Tensor, neighbours: Rows, typical: Rows) -> Rows:
    """Mean of series of differing length; ``typical`` where no neighbour is within reach.

    Args:
        shares: Float ``[queries, k]``, weights of the neighbours.
        neighbours: Values ``[queries, k, features]``, known ``[queries, k, steps]``.
        typical: Values ``[features]``, known ``[steps]``.
    """
    reaching = torch.einsum("qk,qks->qs", shares, neighbours.known.to(shares.dtype))
    totals = torch.einsum("qk,qkf->qf", shares, neighbours.values)
    values = (totals.reshape(*reaching.shape, -1) / torch.where(reaching > 0, reaching, 1).unsqueeze(-1)).flatten(1)
    found = shares.sum(dim=1, keepdim=True) > 0
    known = torch.where(found, _first_steps(reaching.sum(dim=1), reaching.shape[1]), typical.known)
    return Rows(torch.where(found, values, typical.values), known)


def _typical(training: Rows, donors: Tensor) -> Rows:
    """What stands in without neighbours, one row: the training mean (0), as long as the donors are on average."""
    lengths = training.known[donors].sum(dim=1).double()
    mean = lengths.mean() if len(lengths) else lengths.new_ones(())
    return Rows(training.values.new_zeros(training.values.shape[1]), _first_steps(mean, training.known.shape[1]))


def _first_steps(lengths: Tensor, steps: int) -> Tensor:
    """Bool ``[..., steps]``: True up to the rounded length, in the first step at least."""
    rounded = lengths.round().clamp_min(1).unsqueeze(-1)
    return torch.arange(steps, device=lengths.device) < rounded


def _known(name: str, batch: Batch) -> Tensor:
    """Which rows, or which steps of which rows, are known; see :class:`Rows`."""
    present = batch.present[name].unsqueeze(1)
    if name not in batch.lengths:
        return present
    steps = torch.arange(batch.features[name].shape[1], device=present.device)
    return present & (steps < batch.lengths[name].unsqueeze(1))


def _entries(known: Tensor, table: Tensor) -> Tensor:
    """Bool that broadcasts against ``table`` ``[rows, features]``, from steps or whole rows."""
    steps = known.shape[1]
    return known if steps == 1 else known.repeat_interleave(table.shape[1] // steps, dim=1)


def _table(name: str, inputs: Tensor) -> Tensor:
    """Inputs as float ``[rows, features]``."""
    if not (inputs.is_floating_point() or inputs.dtype == torch.uint8):
        raise DataError(
            f"imputer 'knn': modality '{name}' holds {str(inputs.dtype).removeprefix('torch.')} codes (a text, perhaps), "
            "which have no mean; it takes numbers. Use an imputer of embeddings, such as 'mean' or 'cra'"
        )
    return inputs.flatten(1) if inputs.is_floating_point() else inputs.flatten(1).float()


@hookimpl
def register_imputers(register: Register) -> None:
    """Register ``knn``."""
    register("knn", Knn)
