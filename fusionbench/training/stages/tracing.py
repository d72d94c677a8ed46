"""What is drawn over epochs: what parts of a model say of themselves, and how well imputers imagine what is hidden."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fusionbench.training.imputation import TRACE, ErrorSums, error_sums
from fusionbench.training.members import Fit, MemberRows
from fusionbench.training.population import Population
from fusionbench.training.prediction import bounded
from fusionbench.training.stages.order import EpochOrder

Traces = dict[str, list[float]]
"""By name, one value for each model."""


class Tracing:
    """Looks at a population once an epoch, and changes nothing.

    Args:
        population: The models.
        order: The rows that they are trained on.
        held: The rows that judge them.
    """

    def __init__(self, population: Population, order: EpochOrder, held: MemberRows) -> None:
        self._population, self._order, self._held = population, order, held
        self._imputes = len(population.template.modalities) > 1  # until the first pass has shown whether it does

    def of_parts(self, epoch: int) -> Traces:
        """Return means over the epoch's batches of what the parts want drawn; with the epoch's own buffers."""
        if not self._population.template.has_traces:
            return {}
        sums: dict[str, Tensor] = {}
        with self._population.evaluating():
            for rows, present, shown in self._order.batches(epoch):
                view = self._population.view(rows, shown, present)
                found = self._population.each("traces", view, self._population.table.target[rows])
                sums = {n: sums.get(n, 0) + value.double() for n, value in found.items()}
        return {n: (total / self._order.steps).tolist() for n, total in sums.items()}

    def of_imputation(self) -> Traces:
        """Return the relative error of imputed embeddings on validation rows, each modality hidden in turn.

        The state is the one that the epoch is judged by: means and the like have been taken again.
        """
        if not self._imputes:
            return {}
        held, sums = self._held, dict[str, ErrorSums]()
        with self._population.evaluating():
            for r, p, counted in bounded(held.rows, held.present, held.counted):
                for name, found in self._population.each("imagined", self._population.view(r, p)).items():
                    more = error_sums(found, counted)
                    sums[name] = sums[name].plus(more) if name in sums else more
        self._imputes = bool(sums)
        return {f"{TRACE}.{name}": found.relative_error().tolist() for name, found in sums.items()}


def add_to(fit: Fit, traces: Mapping[str, list[float]], model: int) -> None:
    """Append one model's values of an epoch to its fit."""
    fit.traces = {} if fit.traces is None else fit.traces
    for name, values in traces.items():
        fit.traces.setdefault(name, []).append(values[model])
