"""How often the rule calls groups of seeds of one trained strategy different: real networks, where nothing differs.

    python benchmarks/statistics/networks.py --workspace runs-networks
    python benchmarks/statistics/networks.py --cohort planted --seeds 20

Trains every strategy with many seeds through the door of every benchmark (what is stored is not trained again). Then the seeds of
ONE strategy are dealt out at random to lines that are equal by construction, many times, and every board is judged. Deals use
the same trained models, so shares scatter more than their number of pairs suggests: only pairs of one deal that share no line
may be counted on for a standard error. Lines have seeds of their own, and so masks of their own: on complete data there are
none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, from anywhere

from benchmarks.oracles.differences import done, predicted
from fusionbench.analysis.ranking.scores import PredictedFold, ScoredFold, scored_fold
from fusionbench.missingness.conditions import condition_label
from fusionbench.seeding import numpy_generator
from fusionbench.statistics.components import PatientCovariance, components
from fusionbench.statistics.pairs import pairs_of
from fusionbench.statistics.verdict import verdict_of

if TYPE_CHECKING:
    from fusionbench.plan.parts import Arm
    from fusionbench.run.runner import Run

LEVEL = 0.05
STRATEGIES = ("concat", "sum", "lmf", "medfuse")
BENCHMARKS = Path(__file__).resolve().parents[1]
SAME = ["observers=[]", "tuning.trials=0", "evaluation.subsets=false", "imputers=[zero]"]
NETWORKS = [f"strategies=[{', '.join(STRATEGIES)}]", "missingness.patterns=[random]", "missingness.rates=[0, 0.5]"]
HEAD = """| strategy | condition | lines x seeds | different: rule | patients only | some line out of group 1 |
|---|---|---|---|---|---|
"""
COHORTS = {
    "demo": (BENCHMARKS / "mimic_ihm.yaml", ["task.root="]),
    "planted": (
        BENCHMARKS / "oracle_noise.yaml",
        [
            "task.rows=20000",
            "task.dials.strong=0.5",
            "task.dials.weak=0.4",
            "training.batch_size=256",
            "training.epochs=15",
        ],
    ),
}
"""By name: a benchmark file, and what is changed in it."""


class Share(NamedTuple):
    """Of the pairs of lines that are one strategy, how many are called different.

    Args:
        again: By the rule: if trained again.
        these: By patients only: of these models.
        out: Share of boards on which some line is out of group 1; NaN where none was simulated.
        pairs: Pairs over all deals.
        apart: Pairs of one deal that share no line: what a standard error may count on.
    """

    again: float
    these: float
    out: float
    pairs: int
    apart: int


def scores_of(run: Run, arm: Arm, condition: str) -> list[ScoredFold]:
    """Scores of an arm's models under a condition: for each fold ``[seeds, 1]``, with what each patient contributes.

    Args:
        run: A run that is done.
        arm: One of its arms.
        condition: Its label, as ``complete@0``.
    """
    seeds = list(run.benchmark.splits.seeds)
    folds = []
    for fold in run.folds:
        said = [predicted(run, arm, fold, seed, condition) for seed in seeds]
        rows = run.folds[fold].test.open(said[0][0])
        given = PredictedFold(lambda s, _m, said=said: said[s][1], run.dataset.target[rows], run.dataset.groups[rows])
        draw = numpy_generator("networks", fold=fold)
        folds.append(scored_fold(given, 1, len(seeds), run.metric, run.dataset.kind, 1000, draw))
    return folds


def deals(seeds: int, lines: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Deal seeds out to lines at random, for ever: int64 ``[seeds a line, lines]``."""
    each = seeds // lines
    while True:
        yield generator.permutation(seeds)[: each * lines].reshape(each, lines)


def share_of(folds: Sequence[ScoredFold], lines: int, divisions: int, simulated: int = 0) -> Share:
    """Deal the seeds of one strategy out to lines, and judge every board.

    Args:
        folds: Of :func:`scores_of`.
        lines: How many; each has the same number of seeds.
        divisions: How many times the seeds are dealt.
        simulated: Of how many deals groups are made, too.
    """
    seeds = len(folds[0].values)
    theta = np.stack([f.values[:, 0] for f in folds])
    generator = numpy_generator("networks deals", lines=lines)
    again, these, out = [], [], []
    for number, dealt in enumerate(islice(deals(seeds, lines, generator), divisions)):
        patients = PatientCovariance.of_influence([f.influence[:, 0][dealt] for f in folds], sum(f.df for f in folds))
        if number < simulated:
            verdict = verdict_of(theta[:, dealt], patients, unit=True, draws=2000)
            pairs = verdict.pairs
            assert verdict.groups is not None
            out.append(bool((verdict.groups.group > 1).any()))
        else:
            pairs = pairs_of(components(theta[:, dealt], patients))
        again += list(pairs.p < LEVEL)
        these += list(pairs.p_these_models < LEVEL)
    groups = float(np.mean(out)) if out else float("nan")
    return Share(float(np.mean(again)), float(np.mean(these)), groups, len(again), lines // 2)


def standard_error(pairs: int) -> float:
    """Of a share that is .05 in truth, were it made of so many independent pairs."""
    return float(np.sqrt(LEVEL * (1 - LEVEL) / pairs))


def trained(cohort: str, workspace: Path, seeds: int, assignments: Sequence[str] = ()) -> Run:
    """Train every strategy with every seed, or load what is stored."""
    path, mine = COHORTS[cohort]
    return done(path, workspace, [*SAME, *NETWORKS, *mine, f"splits.seeds={list(range(seeds))}", *assignments])


def main() -> None:
    """Print one row for each strategy, condition and design."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cohort", choices=tuple(COHORTS), action="append")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--divisions", type=int, default=200)
    parser.add_argument("--workspace", type=Path, default=Path("runs"))
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    for cohort in given.cohort or COHORTS:
        run = trained(cohort, given.workspace, given.seeds, given.assignments)
        rows, folds = len(run.dataset.target), len(run.folds)
        sys.stdout.write(f"\n{cohort}: {rows:,} rows, {folds} folds, {given.seeds} seeds, {given.divisions} deals\n\n")
        sys.stdout.write(HEAD)
        for line in _rows(run, given.seeds, given.divisions):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _rows(run: Run, seeds: int, divisions: int) -> Iterator[str]:
    labels = sorted({condition_label(c) for f in run.plan.fits for c in f.scored})
    found: dict[tuple[str, int], list[Share]] = {}
    for arm in run.resolved.arms:
        for condition in labels:
            folds = scores_of(run, arm, condition)
            for lines in [n for n in (4, 10, seeds) if n <= seeds]:
                share = share_of(folds, lines, divisions if lines < seeds else 1, min(divisions, 30))
                found.setdefault((condition, lines), []).append(share)
                yield _row(arm.title, condition, f"{lines} x {seeds // lines}", share)
    for (condition, lines), shares in found.items():
        whole = Share(*(float(np.mean([s[i] for s in shares])) for i in range(3)), 0, 0)
        yield _row("**all**", condition, f"{lines} x {seeds // lines}", whole)


def _row(strategy: str, condition: str, design: str, share: Share) -> str:
    return f"| {strategy} | {condition} | {design} | {share.again:.3f} | {share.these:.3f} | {share.out:.2f} |"


if __name__ == "__main__":
    main()
