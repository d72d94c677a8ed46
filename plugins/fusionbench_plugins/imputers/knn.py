"""Nearest neighbours: an absent modality becomes the mean over similar training rows that have it.

Method: Troyanskaya et al. 2001, Missing value estimation methods for DNA microarrays, Bioinformatics 17(6), with
distances over what two rows share, scaled up for what they do not::

    d(a, b) = sqrt(sum of squared differences over shared modalities * all features / shared features)

Features are standardised with the training rows. It works on inputs, once, before training. A training row is never
its own neighbour: it is asked for a modality that it lacks, and only rows that have the modality can answer.

Differs: whole modalities are absent, so a neighbour must share at least one with the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionbench import Batch, FusionSpec, Imputer, Provenance, hookimpl
from fusionbench.errors import DataError
from fusionbench.hookspecs import Register

QUERIES_AT_ONCE = 256  # bounds memory (queries x training rows), changes no number


class Knn(Imputer):
    """Fills absent inputs with the mean over the ``k`` nearest training rows that have them.

    With fewer such rows all of them are used; where none shares a modality with the row, the mean over all rows
    that have the modality; zeros where no training row has it.

    Args:
        spec: Widths, outputs and target kind.
        k: How many neighbours.
        weights: ``uniform``, or ``distance``: the nearer, the more (inverse distance).

    Shapes:
        Inputs of any shape ``[batch, ...]``, float or uint8 (the mean is then rounded).
    """

    level: ClassVar[Literal["embedding", "input"]] = "input"
    stackable: bool = False  # it looks up rows; and it is applied before training
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Troyanskaya et al. 2001, Missing value estimation methods for DNA microarrays, Bioinformatics 17(6)",
        equations="weighted average over the K nearest neighbours",
        differs="whole modalities are absent; uniform weights by default",
    )

    def __init__(self, spec: FusionSpec, k: int = 5, weights: Literal["uniform", "distance"] = "uniform") -> None:
        super().__init__(spec)
        if k < 1:
            raise ValueError(f"k must be at least 1, found {k}")
        if weights not in ("uniform", "distance"):
            raise ValueError(f"weights must be 'uniform' or 'distance', found {weights!r}")
        self.k, self.weights = k, weights

    def fit(self, batch: Batch) -> None:
        """Keep the training rows, and how their features are distributed.

        Raises:
            DataError: A modality is not made of numbers.
        """
        for name in batch.names:
            table, present = _table(name, batch.features[name]), batch.present[name]
            count = present.sum().clamp_min(1)
            mean = torch.where(present[:, None], table, 0).sum(dim=0) / count
            spread = (torch.where(present[:, None], table - mean, 0).square().sum(dim=0) / count).sqrt()
            self.register_buffer(f"present_{name}", present.clone())
            self.register_buffer(f"mean_{name}", mean)
            self.register_buffer(f"scale_{name}", torch.where(spread > 0, spread, 1))
            self.register_buffer(f"rows_{name}", self._standardised(name, table, present))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with every absent row filled."""
        present = {n: batch.present[n] for n in batch.names}
        values = {n: self._standardised(n, _table(n, batch.features[n]), present[n]) for n in batch.names}
        fills = {n: self._fill(n, values, present, batch.features[n]) for n in batch.names}
        return batch.filled(fills)

    def _standardised(self, name: str, table: Tensor, present: Tensor) -> Tensor:
        """Standardised features; zeros where absent."""
        values = (table - getattr(self, f"mean_{name}")) / getattr(self, f"scale_{name}")
        return torch.where(present[:, None], values, 0)

    def _fill(self, name: str, values: Mapping[str, Tensor], present: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """A fill for every row of a modality, shaped and typed as its input; zeros where it is present."""
        filled = torch.zeros_like(values[name])
        for rows in torch.split((~present[name]).nonzero().squeeze(1), QUERIES_AT_ONCE):
            queries = {n: (v[rows], present[n][rows]) for n, v in values.items() if n != name}
            filled[rows] = self._neighbour_mean(name, queries)
        inputs: Tensor = filled * getattr(self, f"scale_{name}") + getattr(self, f"mean_{name}")
        if not like.is_floating_point():
            inputs = inputs.round().clamp(0, 255)
        return inputs.reshape(like.shape).to(like.dtype)

    def _neighbour_mean(self, name: str, queries: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Standardised mean over the nearest rows that have ``name``; 0, the training mean, where there are none."""
        donors = getattr(self, f"present_{name}").nonzero().squeeze(1)
        distances = self._distances(queries, donors)
        if distances is None or len(donors) == 0:
            return torch.zeros_like(getattr(self, f"mean_{name}"))
        nearest, index = distances.topk(min(self.k, len(donors)), dim=1, largest=False)
        reached = torch.isfinite(nearest)
        weights = reached.to(nearest.dtype)
        if self.weights == "distance":
            tiny = torch.finfo(nearest.dtype).eps
            weights = torch.where(reached, 1 / nearest.clamp_min(tiny), 0)
        total = weights.sum(dim=1, keepdim=True)
        shares = weights / torch.where(total > 0, total, 1)
        return torch.einsum("qk,qkf->qf", shares, getattr(self, f"rows_{name}")[donors[index]])

    def _distances(self, queries: Mapping[str, tuple[Tensor, Tensor]], donors: Tensor) -> Tensor | None:
        """Distances ``[queries, donors]``; infinite where no modality is shared, None where there is no other."""
        parts = list(self._shared(queries, donors))
        if not parts:
            return None
        squared = torch.stack([s for s, _ in parts]).sum(dim=0)
        compared = torch.stack([c for _, c in parts]).sum(dim=0)
        # the number of all features is the same for every pair and drops out of order and weights
        return torch.where(compared > 0, (squared / compared.clamp_min(1)).sqrt(), torch.inf)

    def _shared(self, queries: Mapping[str, tuple[Tensor, Tensor]], donors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Squared distance and number of features compared, for each modality that both may have."""
        for name, (values, present) in queries.items():
            both = present[:, None] & getattr(self, f"present_{name}")[donors]
            squared = torch.cdist(values, getattr(self, f"rows_{name}")[donors]).square()
            yield torch.where(both, squared, 0), both * values.shape[1]


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
