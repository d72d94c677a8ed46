"""What a modality costs: strategies that a benchmark lists twice, with all modalities and with some, on the same rows.

    python benchmarks/oracles/differences.py benchmarks/oracle_noise.yaml

Runs the benchmark (what is stored is not trained again) and prints, for complete data, the metric with all modalities
minus the metric without some, by the rule that decides leaderboards: with interval and p if everything were trained again, and
with p of these trained models.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fusionbench.analysis.calibration import probabilities_of
from fusionbench.analysis.ranking.scores import PredictedFold, ScoreTable, scored_fold
from fusionbench.config.reading import load_benchmark
from fusionbench.missingness.conditions import COMPLETE, condition_label
from fusionbench.plan.lines import Line, Model
from fusionbench.plan.parts import Arm
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.run.runner import Run
from fusionbench.seeding import numpy_generator
from fusionbench.statistics.pairs import pairs_of as compared_pairs

RESAMPLES = 2000  # for metrics of which nothing else tells how certain they are


class Pair(NamedTuple):
    """A strategy with all modalities and with some."""

    every: Arm
    some: Arm


def pairs_of(arms: tuple[Arm, ...]) -> list[Pair]:
    """Arms that agree in everything but the modalities; titles end in `` on a+b`` where there are fewer."""
    every = {(a.title, a.imputer_name): a for a in arms if a.modalities is None}
    some = [a for a in arms if a.modalities is not None]
    keyed = [((a.title.removesuffix(f" on {'+'.join(a.modalities or ())}"), a.imputer_name), a) for a in some]
    return [Pair(every[key], arm) for key, arm in keyed if key in every]


class Compared(NamedTuple):
    """The metric with all modalities, and how much it is above that with some: by the rule that decides leaderboards."""

    value: float
    difference: float
    low: float
    high: float
    p: float
    p_these_models: float


def differences(run: Run, pairs: list[Pair]) -> list[Compared]:
    """Compare the arms of each pair on complete data.

    Args:
        run: A run that is done.
        pairs: What to compare.

    Raises:
        ValueError: A model of a pair is not stored.
    """
    arms = [arm for pair in pairs for arm in pair]
    seeds = list(run.benchmark.splits.seeds)
    folds = []
    for fold in run.folds:
        loaded = [[predicted(run, arm, fold, seed) for arm in arms] for seed in seeds]
        rows = run.folds[fold].test.open(loaded[0][0][0])
        given = PredictedFold(
            lambda s, m, loaded=loaded: loaded[s][m][1], run.dataset.target[rows], run.dataset.groups[rows]
        )
        draw = numpy_generator("differences", fold=fold)
        folds.append(scored_fold(given, len(arms), len(seeds), run.metric, run.dataset.kind, RESAMPLES, draw))
    table = ScoreTable(run.metric, [Model(Line(arm.title, arm.imputer_name), COMPLETE) for arm in arms], folds)
    parts = table.components([{i: 1.0} for i in range(len(arms))])
    found, sign = compared_pairs(parts), table.sign
    mine = np.flatnonzero((found.first % 2 == 0) & (found.second == found.first + 1))
    again = len(folds) * len(seeds) > 1
    return [
        Compared(
            float(sign * parts.value[2 * i]),
            float(sign * found.difference[k]),
            float(min(sign * found.low[k], sign * found.high[k])),
            float(max(sign * found.low[k], sign * found.high[k])),
            float(found.p[k]) if again else math.nan,
            float(found.p_these_models[k]),
        )
        for i, k in enumerate(mine)
    ]


def predicted(
    run: Run, arm: Arm, fold: int, seed: int, condition: str = "complete@0"
) -> tuple[str, NDArray[np.float64]]:
    """Digest of the study that opens the test rows, and the calibrated predictions under a condition."""
    (job,) = [f for f in run.plan.fits if f.arm is arm and (f.fold, f.seed) == (fold, seed)]
    result = run.store.load(job.key)
    place = [condition_label(c) for c in job.scored].index(condition)
    if result is None or job.labels[place] not in result.logits:
        raise ValueError(f"{arm.label}, fold {fold}, seed {seed} is not stored")
    said = probabilities_of(result, job.labels[place], run.dataset, run.folds[fold])
    return result.study, said.calibrated


def done(path: Path, workspace: Path, assignments: list[str]) -> Run:
    """Run a benchmark, and return it with everything stored."""
    benchmark = load_benchmark(path, assignments)
    plugins = Plugins()
    resolved = resolve(benchmark, plugins, lambda location: f"{path}: {'.'.join(map(str, location))}: ")
    run = Run(benchmark, resolved, workspace, torch.device("cpu"), SilentProgress())
    run.prepare()
    run.execute()
    return run


def main() -> None:
    """Print one line for each pair, the largest loss first."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--workspace", type=Path, default=Path("runs"))
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    run = done(given.benchmark, given.workspace, given.assignments)
    pairs = pairs_of(run.resolved.arms)
    lines = sorted(zip(pairs, differences(run, pairs), strict=True), key=lambda line: line[1].difference)
    sys.stdout.write(
        f"{'strategy':<32} {run.metric}  difference [95 % if trained again]  p, trained again  p, these models\n"
    )
    for pair, found in lines:
        verdict = "  below its interval" if found.high < 0 else ""
        interval = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        sys.stdout.write(
            f"{pair.every.title:<32} {found.value:.4f}  {interval}  {found.p:.2f}  {found.p_these_models:.2f}{verdict}\n"
        )


if __name__ == "__main__":
    main()
