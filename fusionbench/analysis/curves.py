"""Every model's metrics with intervals, from one bootstrap for each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.cells import Evaluation, Scored, with_intervals
from fusionbench.analysis.leaderboard import areas_of
from fusionbench.analysis.modalities import MODALITY_COLUMNS, NOBODY, modality_table, subset_table
from fusionbench.config.sections import CEILING
from fusionbench.metrics.intervals import Bootstrap, ScoredFold
from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.resampling import bootstrap_blocks
from fusionbench.missingness.conditions import COMPLETE, Condition, condition_label
from fusionbench.missingness.subsets import NOTHING, is_subset, prevalence_of
from fusionbench.plan.lines import Line, Model, lines_by_row, lines_of, model_of
from fusionbench.seeding import numpy_generator

if TYPE_CHECKING:
    from fusionbench.contract.data import Dataset
    from fusionbench.plan.jobs import FitJob
    from fusionbench.progress import ProgressStage


BEST = Line(CEILING, "")
"""The best possible prediction."""


class Curves(NamedTuple):
    """What one bootstrap gives."""

    curves: pd.DataFrame
    subsets: pd.DataFrame
    modalities: pd.DataFrame
    areas: Mapping[Line, Any]


def complete_models(scored: Sequence[Scored], planned: Sequence[FitJob], where: str) -> list[Model]:
    """Models that have every fold and seed, in the order of the plan."""
    wanted: dict[Model, set[tuple[int, int]]] = {}
    for job in planned:
        for condition in job.scored:
            wanted.setdefault(model_of(job, condition, where), set()).add((job.fold, job.seed))
    found: dict[Model, set[tuple[int, int]]] = {}
    for s in scored:
        found.setdefault(s.model, set()).add((s.job.fold, s.job.seed))
    return [m for m, blocks in wanted.items() if found.get(m) == blocks]


def _blocks(
    scored: Sequence[Scored], models: Sequence[Model], study: Evaluation
) -> tuple[list[ScoredFold], list[Model]]:
    """One block for each fold and seed: the models' predictions, then the ceiling's at every point."""
    points = list(dict.fromkeys(m.point for m in models))
    ceilings = [Model(BEST, p) for p in points] if study.dataset.ceiling is not None else []
    nothing = [Model(NOBODY, NOTHING)] if any(is_subset(p) for p in points) else []
    by_place: dict[tuple[int, int], dict[Model, Scored]] = {}
    for s in scored:
        by_place.setdefault((s.job.fold, s.job.seed), {})[s.model] = s
    blocks = []
    for (fold, seed), found in sorted(by_place.items()):
        if not all(m in found for m in models):
            continue
        rows = study.folds[fold].test.open(next(iter(found.values())).result.study)
        scores = [found[m].probabilities for m in models]
        for point in points if ceilings else ():
            seen = COMPLETE if study.where == "train" and not is_subset(point) else point
            scores.append(_ceiling_scores(study.dataset, study.seen(seen, seed, fold), rows))
        if nothing:
            prevalence = prevalence_of(study.dataset, study.folds[fold].development.train)
            scores.append(np.broadcast_to(prevalence, (len(rows), len(prevalence))))
        blocks.append(ScoredFold(np.stack(scores), study.dataset.target[rows], study.dataset.groups[rows], fold))
    return blocks, [*models, *ceilings, *nothing]


def _ceiling_scores(dataset: Dataset, present: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    assert dataset.ceiling is not None
    code = present[rows] @ (1 << np.arange(present.shape[1]))
    return dataset.ceiling[rows, code].astype(np.float32)[:, None]


def curve_tables(scored: Sequence[Scored], models: Sequence[Model], study: Evaluation, stage: ProgressStage) -> Curves:
    """Every model's metrics with intervals, and each line's area."""
    if not models:
        stage.skip(len(with_intervals(study.metric, study.dataset.kind)))
        nothing = pd.DataFrame(columns=["strategy", "imputer", "variant", "pattern", "rate"])
        return Curves(nothing, subset_table(nothing), pd.DataFrame(columns=MODALITY_COLUMNS), {})
    blocks, lines = _blocks(scored, models, study)
    frame = pd.DataFrame(
        {
            "strategy": [m.line.strategy for m in lines],
            "imputer": [m.line.imputer for m in lines],
            "variant": [m.line.variant for m in lines],
            "pattern": [m.point.pattern for m in lines],
            "rate": [m.point.rate for m in lines],
        }
    )
    primary: Bootstrap | None = None
    for name in with_intervals(study.metric, study.dataset.kind):
        stage.working(1, 0.0, name)
        found = bootstrap_blocks(
            blocks, name, study.evaluation.resamples, numpy_generator("bootstrap", metric=name), kind=study.dataset.kind
        )
        intervals = found.intervals(study.evaluation.confidence)
        frame[name] = [i.value for i in intervals]
        frame[f"{name}_low"] = [i.low for i in intervals]
        frame[f"{name}_high"] = [i.high for i in intervals]
        primary = found if name == study.metric else primary
        stage.advance(1)
    assert primary is not None
    if study.dataset.ceiling is not None:
        frame = _with_regret(frame, lines, primary, study)
    frame = frame[frame["pattern"] != NOTHING.pattern]
    on_curves = frame[~frame["pattern"].map(lambda p: is_subset(Condition(p, 0.0)))]
    curves = _spread_rate_zero(on_curves.reset_index(drop=True), study)
    return Curves(curves, subset_table(frame), _modalities(lines, primary, study), areas_of(lines, primary, study))


def _modalities(lines: Sequence[Model], found: Bootstrap, study: Evaluation) -> pd.DataFrame:
    positions = {m: i for i, m in enumerate(lines)}
    ours = [line for line in dict.fromkeys(m.line for m in lines) if line != NOBODY]
    # in a grid the line that is read is the one that was trained with everything
    variant = condition_label(COMPLETE) if study.where == "grid" else ""
    reads = {line: study.reads.get(line[:2], tuple(study.names)) for line in ours}
    alone: dict[str, Model] = {}
    for arm, read in study.reads.items():
        if len(read) == 1:  # the first of those that read nothing else
            alone.setdefault(read[0], Model(Line(*arm, variant), COMPLETE))
    return modality_table(
        reads, positions, found, study.names, COMPLETE, alone, study.metric, study.evaluation.confidence
    )


def _with_regret(frame: pd.DataFrame, lines: Sequence[Model], found: Bootstrap, study: Evaluation) -> pd.DataFrame:
    """Add the ceiling at each point and how far below it a model is, with the interval of the difference."""
    position = {m: i for i, m in enumerate(lines)}
    own = list(range(len(lines)))
    ceilings = [position.get(Model(BEST, m.point), i) for i, m in zip(own, lines, strict=True)]
    weights = np.zeros((len(lines), len(lines)))
    weights[np.arange(len(lines)), ceilings] += 1
    weights[np.arange(len(lines)), np.arange(len(lines))] -= 1
    if not METRICS[study.metric].higher_is_better:
        weights = -weights
    regrets = found.contrast(weights).intervals(study.evaluation.confidence)
    return frame.assign(
        ceiling=found.point[ceilings],
        regret=[r.value for r in regrets],
        regret_low=[r.low for r in regrets],
        regret_high=[r.high for r in regrets],
    )


def _spread_rate_zero(frame: pd.DataFrame, study: Evaluation) -> pd.DataFrame:
    """Complete data are the first point of every pattern's curve."""
    complete = frame[frame["pattern"] == COMPLETE.pattern]
    starts = [complete.assign(pattern=pattern) for pattern in study.patterns]
    others = frame[frame["pattern"] != COMPLETE.pattern]
    whole = pd.concat([*starts, others], ignore_index=True)
    order = {pattern: i for i, pattern in enumerate(study.patterns)}
    places = {line: i for i, line in enumerate(lines_of(frame))}
    whole = whole.assign(_line=[places[line] for line in lines_by_row(whole)], _pattern=whole["pattern"].map(order))
    return whole.sort_values(["_line", "_pattern", "rate"], ignore_index=True).drop(columns=["_line", "_pattern"])
