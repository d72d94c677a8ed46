"""From stored predictions to tables: cells, curves with intervals, leaderboard, ledger.

Everything is paired: strategies are scored on the same rows, masks and resamples of patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.calibration import Predicted, calibration_table
from fusionbench.analysis.comparisons import comparison_table, repetition_areas
from fusionbench.analysis.modalities import MODALITY_COLUMNS, modality_table, subset_table
from fusionbench.keys import digest
from fusionbench.metrics.intervals import Block, Bootstrap
from fusionbench.metrics.resampling import bootstrap_blocks
from fusionbench.metrics.scores import METRICS
from fusionbench.metrics.statistics import area_weights, pairwise_p_values, tie_groups
from fusionbench.missingness.conditions import COMPLETE, Condition, condition_label
from fusionbench.missingness.masks import MASK_NAME, achieved_rate, mask_digest
from fusionbench.missingness.subsets import NOTHING, is_subset, prevalence_of, subset_mask, with_prevalence
from fusionbench.plan.lines import Model, model_of
from fusionbench.records import Tables
from fusionbench.seeding import numpy_generator
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from fusionbench.config.sections import EvaluationSection
    from fusionbench.contract.data import Dataset
    from fusionbench.data.splits import Fold
    from fusionbench.plan.jobs import FitJob
    from fusionbench.progress import Stage
    from fusionbench.store.results import FitResult, Store

CEILING = "ceiling"
WITH_INTERVALS = ("auroc", "auprc", "brier")
SIGNIFICANCE = 0.05

Mask = Callable[[Condition, int], NDArray[np.bool_]]


@dataclass(frozen=True)
class Scored:
    """One cell with its predictions."""

    model: Model
    job: FitJob
    result: FitResult
    condition: Condition
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Study:
    """All that tables are made from."""

    dataset: Dataset
    metric: str
    folds: Mapping[int, Fold]
    mask: Mask
    where: str
    evaluation: EvaluationSection
    patterns: Sequence[str]
    rates: Sequence[float]
    trials: int
    reads: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """By arm (strategy, imputer), the modalities that its models look at."""
    tuning: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """By key of a study, epochs and seconds that its trials spent."""

    @property
    def names(self) -> list[str]:
        """The modalities, in order."""
        return list(self.dataset.modalities)

    def seen(self, condition: Condition, seed: int) -> NDArray[np.bool_]:
        """Bool ``[rows, modalities]``: what is there under a condition; rows may have nothing of a subset."""
        if is_subset(condition):
            return subset_mask(self.dataset.available, self.names, condition)
        return self.mask(condition, seed)


class _Curves(NamedTuple):
    """What one bootstrap gives."""

    curves: pd.DataFrame
    subsets: pd.DataFrame
    modalities: pd.DataFrame
    areas: Mapping[tuple[str, str, str], Any]


def with_intervals(metric: str, kind: TargetKind) -> list[str]:
    """Return the metrics that get intervals: the task's own, and the usual ones that are defined for its targets."""
    return [n for n in dict.fromkeys((metric, *WITH_INTERVALS)) if kind in METRICS[n].kinds]


def tabulate(
    results: Sequence[tuple[FitJob, FitResult]], study: Study, planned: Sequence[FitJob], store: Store, stage: Stage
) -> Tables:
    """Make the tables, or read them back when nothing that decides them has changed.

    Args:
        results: What is stored, in the order of the plan.
        study: Data, folds, masks, settings.
        planned: Everything that was to be trained; arms with gaps get no intervals.
        store: Where finished tables are kept.
        stage: Advanced once for each metric with intervals.
    """
    key = digest(
        [
            [[f.key, f.labels, r.content] for f, r in results],
            [[f.arm.label, f.key] for f in planned],
            study.evaluation,
            [study.metric, study.where, list(study.patterns), list(study.rates), list(study.reads.items())],
        ]
    )
    known = _read_tables(store.folder / "tables" / key)
    if known is not None:
        stage.skip(len(with_intervals(study.metric, study.dataset.kind)))
        return known
    scored = [s for f, r in results for s in _scored(f, r, study)]
    cells = _cells([s for s in scored if not is_subset(s.condition)], study)
    complete = _complete_models(scored, planned, study.where)
    found = _curves(scored, complete, study, stage)
    leaderboard = _leaderboard(found.areas, found.curves, results, planned, study)
    comparisons = _comparisons(scored, cells, leaderboard, study)
    calibration = calibration_table(_on_complete_data(scored, study), study.dataset.kind)
    tables = Tables(cells, found.curves, leaderboard, found.subsets, found.modalities, comparisons, calibration)
    _write_tables(tables, store.folder / "tables" / key)
    return tables


# --------------------------------------------------------------------------------------------
# cells


def _scored(job: FitJob, result: FitResult, study: Study) -> list[Scored]:
    found = zip(job.scored, job.labels, strict=True)
    return [
        Scored(model_of(job, c, study.where), job, result, c, _predicted(job, result, c, label, study))
        for c, label in found
    ]


def _predicted(job: FitJob, result: FitResult, condition: Condition, label: str, study: Study) -> NDArray[np.float32]:
    """The predictions of test rows; rows that have nothing of a subset get the training prevalence."""
    predicted = result.probabilities[label]
    if not is_subset(condition):
        return predicted
    fold = study.folds[job.fold]
    seen = study.seen(condition, job.seed)[fold.test.open(result.study)]
    return with_prevalence(predicted, seen, prevalence_of(study.dataset, fold.development.train))


def _cells(scored: Sequence[Scored], study: Study) -> pd.DataFrame:
    import torch

    from fusionbench.metrics.scores import evaluate

    dataset, records = study.dataset, []
    masks: dict[tuple[Condition, int], str] = {}
    for s in scored:
        rows = study.folds[s.job.fold].test.open(s.result.study)
        present = study.mask(s.condition, s.job.seed)[rows]
        values = evaluate(
            torch.as_tensor(s.probabilities),
            torch.as_tensor(dataset.target[rows]),
            dataset.kind,
            outputs=dataset.outputs,
        )
        hidden = achieved_rate(dataset.available[rows], present)
        records.append(
            {
                "strategy": s.model.strategy,
                "imputer": s.model.imputer,
                "trained_at": condition_label(s.job.condition),
                "pattern": s.condition.pattern,
                "rate": s.condition.rate,
                "fold": s.job.fold,
                "seed": s.job.seed,
                **{name: float(v) for name, v in values.items()},
                **_among_those_who_have(s.probabilities, rows, study),
                **{f"hidden.{n}": float(h) for n, h in zip(dataset.modalities, hidden, strict=True)},
                "mask": _mask_name(s.condition, s.job.seed, study, masks),
                "test_rows": len(rows),
                "epochs": s.result.epochs,
                "best_epoch": s.result.best_epoch,
                "validation": s.result.score,
                "key": s.job.key,
            }
        )
    return pd.DataFrame(records)


def _on_complete_data(scored: Sequence[Scored], study: Study) -> list[Predicted]:
    complete = [s for s in scored if s.condition == COMPLETE == s.model.point]
    opened = [study.folds[s.job.fold].test.open(s.result.study) for s in complete]
    return [
        Predicted(s.model[:3], s.probabilities, study.dataset.target[rows], rows)
        for s, rows in zip(complete, opened, strict=True)
    ]


def _mask_name(condition: Condition, seed: int, study: Study, known: dict[tuple[Condition, int], str]) -> str:
    """The name of a mask of all rows, as the store keeps it."""
    if (condition, seed) not in known:
        known[condition, seed] = mask_digest(study.mask(condition, seed))[:MASK_NAME]
    return known[condition, seed]


def _among_those_who_have(
    probabilities: NDArray[np.float32], rows: NDArray[np.int64], study: Study
) -> dict[str, float]:
    """The metric over the test rows whose record has a modality, for each modality that some rows lack."""
    import torch

    from fusionbench.metrics.scores import score

    dataset = study.dataset
    found = {}
    for column, name in enumerate(dataset.modalities):
        has = dataset.available[rows, column]
        if not has.all():
            value = score(
                study.metric,
                torch.as_tensor(probabilities),
                torch.as_tensor(dataset.target[rows]),
                dataset.kind,
                torch.as_tensor(has),
            )
            found[f"{study.metric}.having_{name}"] = float(value)
    return found


# --------------------------------------------------------------------------------------------
# curves


def _complete_models(scored: Sequence[Scored], planned: Sequence[FitJob], where: str) -> list[Model]:
    """Models that have every fold and seed, in the order of the plan."""
    wanted: dict[Model, set[tuple[int, int]]] = {}
    for job in planned:
        for condition in job.scored:
            wanted.setdefault(model_of(job, condition, where), set()).add((job.fold, job.seed))
    found: dict[Model, set[tuple[int, int]]] = {}
    for s in scored:
        found.setdefault(s.model, set()).add((s.job.fold, s.job.seed))
    return [m for m, blocks in wanted.items() if found.get(m) == blocks]


def _blocks(scored: Sequence[Scored], models: Sequence[Model], study: Study) -> tuple[list[Block], list[Model]]:
    """One block for each fold and seed: the models' predictions, then the ceiling's at every point."""
    points = list(dict.fromkeys(m.point for m in models))
    ceilings = [Model(CEILING, "", "", p) for p in points] if study.dataset.ceiling is not None else []
    nothing = [Model("", "", "", NOTHING)] if any(is_subset(p) for p in points) else []
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
            scores.append(_ceiling_scores(study.dataset, study.seen(seen, seed), rows))
        if nothing:
            prevalence = prevalence_of(study.dataset, study.folds[fold].development.train)
            scores.append(np.broadcast_to(prevalence, (len(rows), len(prevalence))))
        blocks.append(Block(np.stack(scores), study.dataset.target[rows], study.dataset.groups[rows], fold))
    return blocks, [*models, *ceilings, *nothing]


def _ceiling_scores(dataset: Dataset, present: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    assert dataset.ceiling is not None
    code = present[rows] @ (1 << np.arange(present.shape[1]))
    return dataset.ceiling[rows, code].astype(np.float32)[:, None]


def _curves(scored: Sequence[Scored], models: Sequence[Model], study: Study, stage: Stage) -> _Curves:
    """Every model's metrics with intervals, and each arm's area."""
    if not models:
        stage.skip(len(with_intervals(study.metric, study.dataset.kind)))
        nothing = pd.DataFrame(columns=["strategy", "imputer", "variant", "pattern", "rate"])
        return _Curves(nothing, subset_table(nothing), pd.DataFrame(columns=MODALITY_COLUMNS), {})
    blocks, lines = _blocks(scored, models, study)
    frame = pd.DataFrame(
        {
            "strategy": [m.strategy for m in lines],
            "imputer": [m.imputer for m in lines],
            "variant": [m.variant for m in lines],
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
    return _Curves(curves, subset_table(frame), _modalities(lines, primary, study), _areas(lines, primary, study))


def _modalities(lines: Sequence[Model], found: Bootstrap, study: Study) -> pd.DataFrame:
    positions = {((m.strategy, m.imputer, m.variant), m.point): i for i, m in enumerate(lines)}
    arms = [a for a in dict.fromkeys(a for a, _ in positions) if any(a)]
    # in a grid the arm that is read is the one that was trained with everything
    variant = condition_label(COMPLETE) if study.where == "grid" else ""
    reads = {a: study.reads.get(a[:2], tuple(study.names)) for a in arms}
    alone: dict[str, tuple[tuple[str, str, str], Condition]] = {}
    for arm, read in study.reads.items():
        if len(read) == 1:  # the first of those that read nothing else
            alone.setdefault(read[0], ((*arm, variant), COMPLETE))
    return modality_table(
        reads, positions, found, study.names, COMPLETE, alone, study.metric, study.evaluation.confidence
    )


def _with_regret(frame: pd.DataFrame, lines: Sequence[Model], found: Bootstrap, study: Study) -> pd.DataFrame:
    """Add the ceiling at each point and how far below it a model is, with the interval of the difference."""
    position = {m: i for i, m in enumerate(lines)}
    own = list(range(len(lines)))
    ceilings = [position.get(Model(CEILING, "", "", m.point), i) for i, m in zip(own, lines, strict=True)]
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


def _spread_rate_zero(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Complete data are the first point of every pattern's curve."""
    complete = frame[frame["pattern"] == COMPLETE.pattern]
    starts = [complete.assign(pattern=pattern) for pattern in study.patterns]
    others = frame[frame["pattern"] != COMPLETE.pattern]
    whole = pd.concat([*starts, others], ignore_index=True)
    order = {pattern: i for i, pattern in enumerate(study.patterns)}
    arms = {
        a: i
        for i, a in enumerate(dict.fromkeys(zip(frame["strategy"], frame["imputer"], frame["variant"], strict=True)))
    }
    place = [arms[a] for a in zip(whole["strategy"], whole["imputer"], whole["variant"], strict=True)]
    whole = whole.assign(_arm=place, _pattern=whole["pattern"].map(order))
    return whole.sort_values(["_arm", "_pattern", "rate"], ignore_index=True).drop(columns=["_arm", "_pattern"])


# --------------------------------------------------------------------------------------------
# leaderboard


def _areas(lines: Sequence[Model], found: Bootstrap, study: Study) -> dict[tuple[str, str, str], Any]:
    """Mean height of each arm's curves over patterns: value, interval and tie group."""
    position = {m: i for i, m in enumerate(lines)}
    arms = list(dict.fromkeys((m.strategy, m.imputer, m.variant) for m in lines if m.strategy not in (CEILING, "")))
    usable, weights = [], []
    for arm in arms:
        row = _area_row(arm, position, study)
        if row is not None:
            usable.append(arm)
            weights.append(row)
    if not usable:
        return {}
    areas = found.contrast(np.stack(weights))
    intervals = areas.intervals(study.evaluation.confidence)
    better = METRICS[study.metric].higher_is_better
    groups = tie_groups(areas.point, pairwise_p_values(areas) < SIGNIFICANCE, higher_is_better=better)
    return {arm: (interval, int(group)) for arm, interval, group in zip(usable, intervals, groups, strict=True)}


def _area_row(arm: tuple[str, str, str], position: Mapping[Model, int], study: Study) -> NDArray[np.float64] | None:
    row = np.zeros(len(position))
    for pattern in study.patterns:
        points = [COMPLETE if r == 0 else Condition(pattern, r) for r in study.rates]
        models = [Model(*arm, p) for p in points]
        if not all(m in position for m in models):
            return None
        weights = area_weights(study.rates) if len(points) > 1 else np.ones(1)
        for m, w in zip(models, weights, strict=True):
            row[position[m]] += w / len(study.patterns)
    return row


def _leaderboard(
    areas: Mapping[tuple[str, str, str], Any],
    curves: pd.DataFrame,
    results: Sequence[tuple[FitJob, FitResult]],
    planned: Sequence[FitJob],
    study: Study,
) -> pd.DataFrame:
    records = []
    for arm in dict.fromkeys(
        (m.strategy, m.imputer, m.variant) for f in planned for m in [model_of(f, f.scored[0], study.where)]
    ):
        interval, group = areas.get(arm, ((np.nan, np.nan, np.nan), 0))
        records.append(
            {
                "strategy": arm[0],
                "imputer": arm[1],
                "trained_at": arm[2],
                "tie_group": group,
                "area": interval[0],
                "area_low": interval[1],
                "area_high": interval[2],
                **_ends(curves, arm, study),
                **_ledger(arm, results, planned, study),
            }
        )
    frame = pd.DataFrame(records)
    ascending = not METRICS[study.metric].higher_is_better
    frame = frame.sort_values("area", ascending=ascending, na_position="last", kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


def _comparisons(
    scored: Sequence[Scored], cells: pd.DataFrame, leaderboard: pd.DataFrame, study: Study
) -> pd.DataFrame:
    """Tests over folds and seeds, leader against each."""
    on_curves = [s.model for s in scored if not is_subset(s.condition)]
    if not on_curves:
        return comparison_table(pd.DataFrame(), [], 1, 1, higher_is_better=True)
    placed = cells.assign(
        variant=[m.variant for m in on_curves],
        point_pattern=[m.point.pattern for m in on_curves],
        point_rate=[m.point.rate for m in on_curves],
    )
    areas = repetition_areas(placed, study.metric, study.patterns, study.rates)
    order = list(zip(leaderboard["strategy"], leaderboard["imputer"], leaderboard["trained_at"], strict=True))
    train = np.mean([len(f.development.train) for f in study.folds.values()])
    test = float(cells["test_rows"].mean())
    better = METRICS[study.metric].higher_is_better
    return comparison_table(areas, order, float(train), test, better)


def _ends(curves: pd.DataFrame, arm: tuple[str, str, str], study: Study) -> dict[str, float]:
    """The metric at the lowest and the highest rate, means over patterns; regret over all points."""
    mine = (curves["strategy"] == arm[0]) & (curves["imputer"] == arm[1]) & (curves["variant"] == arm[2])
    found = curves[mine]
    low, high = (found[found["rate"] == r] for r in (study.rates[0], study.rates[-1]))
    names = [n for n in dict.fromkeys((study.metric, *WITH_INTERVALS)) if n in found]
    ends = {f"{n}@{study.rates[0]:g}": float(low[n].mean()) for n in names}
    ends[f"{study.metric}@{study.rates[-1]:g}"] = float(high[study.metric].mean()) if len(high) else np.nan
    if "regret" in found:
        ends["regret"] = float(found["regret"].mean())
    return ends


def _ledger(
    arm: tuple[str, str, str],
    results: Sequence[tuple[FitJob, FitResult]],
    planned: Sequence[FitJob],
    study: Study,
) -> dict[str, Any]:
    """What the arm cost: models done of those planned, trials, epochs, seconds, parameters."""

    def mine(job: FitJob) -> bool:
        return model_of(job, job.scored[0], study.where)[:3] == arm

    done = [r for f, r in results if mine(f)]
    spent = [study.tuning.get(key, (0, 0.0)) for key in {f.study for f in planned if mine(f)}]
    return {
        "models": len(done),
        "models_planned": sum(map(mine, planned)),
        "trials": study.trials,
        "epochs": int(sum(r.epochs for r in done)),
        "tuning_epochs": sum(epochs for epochs, _ in spent),
        "rows": int(sum(r.rows for r in done)),
        "parameters": max((r.parameters for r in done), default=0),
        "seconds": float(sum(r.seconds for r in done)),
        "tuning_seconds": sum(seconds for _, seconds in spent),
        "memory_mb": max((r.memory for r in done), default=0.0),
    }


# --------------------------------------------------------------------------------------------
# small things


def _read_tables(folder: Path) -> Tables | None:
    paths = [folder / f"{f.name}.parquet" for f in fields(Tables)]
    try:
        return Tables(*map(pd.read_parquet, paths))
    except (OSError, ValueError):  # not there, or damaged: they can be made again
        return None


def _write_tables(tables: Tables, folder: Path) -> None:
    from fusionbench.store.files import write_atomically

    for f in fields(Tables):
        write_atomically(folder / f"{f.name}.parquet", getattr(tables, f.name).to_parquet())
