"""From a trained model and test rows to maps of its imputed embeddings: each modality is hidden in turn, and imputed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fusionbench.analysis.embedding_maps import EmbeddingMap, map_embeddings
from fusionbench.data.completion import complete_table
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.plan.jobs import FitJob
from fusionbench.run.rows import ModelRows
from fusionbench.training.model import Imagined
from fusionbench.training.population import Population
from fusionbench.training.prediction import EVALUATION_ROWS


def map_member(
    population: Population, member: int, fit: FitJob, tests: Tensor, rows: ModelRows
) -> dict[str, EmbeddingMap]:
    """Return a map for each modality that the model's imputer fills, and that enough rows have; rows lack what they lack.

    Args:
        population: Trained models.
        member: Which of them.
        fit: What it was trained for, with its arm as tuned.
        tests: Int64 ``[n]``, its test rows.
        rows: The rows of the run.
    """
    fills_inputs = rows.blueprint.input_imputer(fit.arm) is not None
    with population.evaluating():
        if not fills_inputs:
            found = _imagined(population, member, tests, rows.shown(COMPLETE, fit.seed, fit.fold, fit.arm)[tests])
        else:
            found = _filled_before(population, member, fit, tests, rows)
    maps = {name: _compared(one) for name, one in found.items()}
    return {name: made for name, made in maps.items() if made is not None}


def _compared(found: Imagined) -> EmbeddingMap | None:
    true, filled = (t[found.rows].float().cpu().numpy() for t in (found.true, found.filled))
    return map_embeddings(true, filled)


def _imagined(population: Population, member: int, tests: Tensor, present: Tensor) -> dict[str, Imagined]:
    parts = []
    for r, p in zip(*(torch.split(t, EVALUATION_ROWS) for t in (tests, present)), strict=True):
        view = population.view(_for_all(r, population), _for_all(p, population))
        parts.append(_of_member(population.each("imagined", view), member))
    return {n: Imagined(*(torch.cat(t) for t in zip(*(p[n] for p in parts), strict=True))) for n in parts[0]}


def _of_member(found: Mapping[str, Imagined], member: int) -> dict[str, Imagined]:
    return {n: Imagined(*(t[member] for t in one)) for n, one in found.items()}


def _for_all(tensor: Tensor, population: Population) -> Tensor:
    return tensor.expand(population.size, *tensor.shape)


def _filled_before(
    population: Population, member: int, fit: FitJob, tests: Tensor, rows: ModelRows
) -> dict[str, Imagined]:
    """The same for an imputer of inputs: it fills the table, and what it filled in is encoded as the true inputs are."""
    shown = rows.shown(COMPLETE, fit.seed, fit.fold, fit.arm)
    fitted = rows.fitted(fit.arm, fit.fold, fit.seed, fit.condition)
    before, found = population.table, {}
    try:
        population.table = rows.table
        true = _embeddings(population, member, tests, shown[tests])
        for name in population.template.modalities:
            column = rows.table.names.index(name)
            hidden = shown.clone()
            hidden[:, column] = False
            population.table, present = complete_table(rows.table, fitted, hidden)
            filled = _embeddings(population, member, tests, present[tests])[name]
            found[name] = Imagined(true[name], filled, shown[tests, column] & hidden[tests].any(dim=1))
    finally:
        population.table = before
    return found


def _embeddings(population: Population, member: int, tests: Tensor, present: Tensor) -> dict[str, Tensor]:
    parts = []
    for r, p in zip(*(torch.split(t, EVALUATION_ROWS) for t in (tests, present)), strict=True):
        found = population.each("embeddings", population.view(_for_all(r, population), _for_all(p, population)))
        parts.append({n: t[member] for n, t in found.items()})
    return {n: torch.cat([p[n] for p in parts]) for n in parts[0]}
