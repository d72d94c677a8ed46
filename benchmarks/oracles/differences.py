"""What a modality costs: strategies that a benchmark lists twice, with all modalities and with some, on the same rows.

    python benchmarks/oracles/differences.py benchmarks/oracle_noise.yaml

Runs the benchmark (what is stored is not trained again) and prints, for complete data, the metric with all modalities
minus the metric without some: with the paired 95 % bootstrap interval over test rows, which takes the trained models
as given, and with p of the corrected t test over folds and seeds, which does not.
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
from fusionbench.config.reading import load_benchmark
from fusionbench.metrics.intervals import Bootstrap, Difference, ScoredFold
from fusionbench.metrics.resampling import bootstrap_blocks
from fusionbench.metrics.statistics import corrected_resampled_t
from fusionbench.missingness.conditions import condition_label
from fusionbench.plan.parts import Arm
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.run.runner import Run
from fusionbench.seeding import numpy_generator

RESAMPLES = 2000


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
    """The metric with all modalities, how much it is above that with some, and p over folds and seeds (NaN for one)."""

    value: float
    difference: Difference
    p: float


def differences(run: Run, pairs: list[Pair]) -> list[Compared]:
    """Compare the arms of each pair.

    Args:
        run: A run that is done.
        pairs: What to compare.

    Raises:
        ValueError: A model of a pair is not stored.
    """
    arms = [arm for pair in pairs for arm in pair]
    places = sorted({(f.fold, f.seed) for f in run.plan.fits})
    blocks = []
    for fold, seed in places:
        loaded = [_predicted(run, arm, fold, seed) for arm in arms]
        rows = run.folds[fold].test.open(loaded[0][0])
        scores = np.stack([p for _, p in loaded])
        blocks.append(ScoredFold(scores, run.dataset.target[rows], run.dataset.groups[rows], fold))
    found = _bootstrap(run, blocks, RESAMPLES)
    alone = np.stack([_bootstrap(run, [block], 1).point for block in blocks], axis=1)
    train, test = len(next(iter(run.folds.values())).development.train), len(blocks[0].target)
    return [
        Compared(
            float(found.point[2 * i]),
            found.difference(2 * i, 2 * i + 1),
            corrected_resampled_t(*alone[[2 * i, 2 * i + 1]], train, test).p_value if len(blocks) > 1 else math.nan,
        )
        for i in range(len(pairs))
    ]


def _bootstrap(run: Run, blocks: list[ScoredFold], resamples: int) -> Bootstrap:
    return bootstrap_blocks(blocks, run.metric, resamples, numpy_generator("differences"), kind=run.dataset.kind)


def _predicted(run: Run, arm: Arm, fold: int, seed: int) -> tuple[str, NDArray[np.float64]]:
    """Digest of the study that opens the test rows, and the predictions on complete data."""
    (job,) = [f for f in run.plan.fits if f.arm is arm and (f.fold, f.seed) == (fold, seed)]
    result = run.store.load(job.key)
    place = [condition_label(c) for c in job.scored].index("complete@0")
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
    lines = sorted(zip(pairs, differences(run, pairs), strict=True), key=lambda line: line[1].difference.value)
    sys.stdout.write(f"{'strategy':<32} {run.metric}  difference [95 % over rows]    p over folds x seeds\n")
    for pair, (value, d, p) in lines:
        verdict = "  below its interval" if d.high < 0 else ""
        sys.stdout.write(
            f"{pair.every.title:<32} {value:.4f}  {d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]  {p:.2f}{verdict}\n"
        )


if __name__ == "__main__":
    main()
