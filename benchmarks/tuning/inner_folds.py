"""Whether trials should be compared over several inner folds, measured without a test row.

Real sets: the development rows of the first fold are a data set of their own, in five folds, drawn anew for each repetition; the
test rows of the first fold are never predicted. Made-up sets (``made-up-200``: 200 rows to learn from) have as many held-out rows
as one likes, so little chance is left in what a choice is worth.

Every trial is trained on five splits of a fold's rows, as ``tuning.inner_folds: 5`` does it. The model of the first split is what
would be refitted if the trial won: it alone predicts the held-out rows. So what 1, 2, ... 5 inner folds would have chosen is read
from one set of models, and their difference is that of the choice and of nothing else.

    python benchmarks/tuning/inner_folds.py measure RESULTS.csv SETS... [--repetitions 3]
    python benchmarks/tuning/inner_folds.py table RESULTS.csv

``measure`` adds what the file lacks; each set is a folder of tables or ``made-up-ROWS``.
"""

from __future__ import annotations

import argparse
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from search_ranges import RATE, benchmark_of, development_of, filled, run_of

from fusionbench import Dataset, Modality, TargetKind
from fusionbench.data.inner_folds import rarest
from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.scores import score
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.progress import SilentStage
from fusionbench.run.execution import Job, train_jobs
from fusionbench.run.runner import Run
from fusionbench.run.searching import common_of, first_trial, sampler
from fusionbench.training.population import Population
from fusionbench.training.prediction import as_probabilities, predict_conditions

SPLITS: Final = 5
TRIALS: Final = 8
SEARCH: Final = {
    "learning_rate": RATE,
    "weight_decay": {"low": 1e-2, "high": 30, "log": True},
    "dropout": {"low": 0, "high": 0.5},
}
SAME_COST: Final = 4  # inner folds whose trials are as many fewer: as many models as one inner fold with all trials
HELD_OUT: Final = 4000  # rows of a made-up set


def made_up(rows: int, repetition: int) -> Dataset:
    """Return three modalities of 20 columns, two of which say something; one row in four is a case."""
    draw = np.random.default_rng([rows, repetition])
    size = rows + HELD_OUT
    target = (draw.random(size) < 0.25).astype(np.int64)
    modalities = {}
    for name, effect in (("a", 0.9), ("b", 0.6), ("c", 0.0)):
        direction = draw.normal(size=20)
        values = draw.normal(size=(size, 20)) + effect * np.outer(target, direction / np.linalg.norm(direction))
        modalities[name] = Modality("vector", values.astype(np.float32), standardise=np.ones(20, bool))
    return Dataset(
        modalities=modalities,
        available=np.ones((size, 3), bool),
        target=target,
        kind=TargetKind.BINARY,
        outputs=("case",),
        groups=np.arange(size),
        digest=f"made up {rows} {repetition}",
        split=np.array(["train"] * rows + ["test"] * HELD_OUT),
    )


def runs_of(name: str, options: Namespace, place: Path) -> Iterator[tuple[str, int, Run]]:
    """Yield a prepared run for each strategy and repetition that is not done yet."""
    inner = None
    for repetition in range(options.repetitions):
        for strategy in options.strategies:
            if (name, strategy, repetition) in options.done:
                continue
            settings = Namespace(**{**vars(options), "strategies": [strategy]})
            splits: dict[str, Any] = {"folds": 5, "seeds": [repetition], "salt": f"inner {repetition}"}
            if Path(name).name.startswith("made-up"):
                dataset = made_up(int(name.rpartition("-")[2]), repetition)
                names, splits["source"] = list(dataset.modalities), "task"
                task: dict[str, Any] = {"name": "table", "root": "unused"}
            else:
                if inner is None:
                    names = filled(Path(name), place / "table")
                    task = {"name": "table", "root": str(place / "table"), "modalities": names}
                    inner = development_of(run_of(benchmark_of(task, names, settings), place / "outer"))
                dataset = inner
            tuning = {"trials": TRIALS, "own": False, "common": SEARCH, "inner_folds": SPLITS}
            benchmark = benchmark_of(task, names, settings, tuning=tuning, splits=splits)
            yield strategy, repetition, run_of(benchmark, place / f"{strategy} {repetition}", dataset)


def suggestions(run: Run, fold: int, seed: int) -> list[dict[str, Any]]:
    """Return what the product suggests before it knows any score."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler(1000 * seed + fold), direction="maximize")
    study.enqueue_trial(first_trial(run.benchmark))
    return [common_of(study.ask(), run.benchmark) for _ in range(TRIALS)]


def trained(run: Run) -> list[dict[str, Any]]:
    """Train every trial of every fold on every inner fold, and return a row for each trial."""
    (arm,), (seed,) = run.resolved.arms, run.benchmark.splits.seeds
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    jobs = []
    for fold in run.folds:
        few = rarest(run.dataset, run.folds[fold].development.validation)
        for trial, common in enumerate(suggestions(run, fold, seed)):
            rows[fold, trial] = {"fold": fold, "trial": trial, "rarer": few}
            jobs += [run.rows.job(arm, fold, seed, COMPLETE, common, {}, (fold, trial, k), k) for k in range(SPLITS)]

    def held_out(chosen: Sequence[Job], population: Population) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for i, job in enumerate(chosen):
            fold, _, split = job.owner
            found.append({"held out": _score(run, population, i, fold)} if split == 0 else {})
        return found

    metric = run.metric
    for done in train_jobs(jobs, run.benchmark.training, metric, SilentStage(), held_out):
        for job, fit, scores in zip(done.jobs, done.fits, done.scores, strict=True):
            fold, trial, split = job.owner
            row = rows[fold, trial]
            row[f"score{split}"], row[f"loss{split}"] = fit.score, fit.loss
            row.update(scores)
    return list(rows.values())


def _score(run: Run, population: Population, member: int, fold: int) -> float:
    """The metric of one model on the fold's held-out rows; higher is better."""
    test = torch.as_tensor(run.folds[fold].test.open("measured"))
    rows = test.expand(population.size, -1)
    shown = run.rows.shown(COMPLETE, run.benchmark.splits.seeds[0], fold, run.resolved.arms[0])
    logits = predict_conditions(population, rows, shown[rows][None])[0, member]
    target = torch.as_tensor(run.dataset.target)[test]
    counted = torch.ones(len(test), dtype=torch.float64)
    found = float(score(run.metric, as_probabilities(logits, run.dataset.kind), target, run.dataset.kind, counted))
    return found if METRICS[run.metric].higher_is_better else -found


def measure(options: Namespace) -> None:
    """Add what the file lacks."""
    known = pd.read_csv(options.results) if options.results.exists() else pd.DataFrame()
    keys = ["path", "strategy", "repetition"]
    options.done = set(known[keys].itertuples(index=False, name=None)) if len(known) else set()
    for name in options.sets:
        with tempfile.TemporaryDirectory() as place:
            for strategy, repetition, run in runs_of(name, options, Path(place)):
                rows = len(run.dataset) - (HELD_OUT if Path(name).name.startswith("made-up") else 0)
                about = {
                    "path": name,
                    "data": Path(name).name,
                    "rows": rows,
                    "strategy": strategy,
                    "repetition": repetition,
                }
                found = pd.DataFrame([{**about, **row} for row in trained(run)])
                found.to_csv(options.results, mode="a", header=not options.results.exists(), index=False)
                print(name, strategy, repetition, flush=True)


# --------------------------------------------------------------------------------------------
# what was chosen


def chosen(trials: pd.DataFrame, folds: int) -> pd.Series:
    """Return the trial that so many inner folds choose: the best mean score, of equal ones the lowest mean loss."""
    scores = trials[[f"score{k}" for k in range(folds)]].mean(axis=1, skipna=False)
    losses = trials[[f"loss{k}" for k in range(folds)]].mean(axis=1, skipna=False)
    order = pd.DataFrame({"score": -scores.round(12), "loss": losses, "trial": trials["trial"]})
    return trials.loc[order.sort_values(["score", "loss", "trial"]).index[0]]


def table(options: Namespace) -> None:
    """Print, by set and over all, the held-out score of what 1 to 5 inner folds choose."""
    known = pd.read_csv(options.results)
    lines = []
    for key, trials in known.groupby(["data", "rows", "strategy", "repetition", "fold"], sort=False):
        picked = {k: chosen(trials, k)["held out"] for k in range(1, SPLITS + 1)}
        same_cost = chosen(trials[trials["trial"] < TRIALS // SAME_COST], SAME_COST)["held out"]
        default = trials.loc[trials["trial"] == 0, "held out"].item()
        best = trials["held out"].max()
        lines.append((*key, trials["rarer"].iloc[0], default, best, same_cost, *picked.values()))
    about = ["data", "rows", "strategy", "repetition", "fold", "rarer"]
    names = [*about, "defaults", "best", "same cost", *range(1, SPLITS + 1)]
    frame = pd.DataFrame(lines, columns=names)
    titles = [
        "data (rows)",
        "rarer class in validation",
        "studies",
        "defaults",
        "1",
        "2",
        "3",
        "5",
        "3 minus 1",
        "5 minus 1",
    ]
    titles += [f"{SAME_COST} with {TRIALS // SAME_COST} trials minus 1", "best trial"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for (data, rows, strategy), own in frame.groupby(["data", "rows", "strategy"], sort=False):
        print(_line(f"{data} ({rows}), {strategy}", own))
    print(_line("all", frame))
    print(_line("all real", frame[~frame["data"].str.startswith("made-up")]))
    print(_line("all made up", frame[frame["data"].str.startswith("made-up")]))


def _line(name: str, own: pd.DataFrame) -> str:
    """One line of the table; the spread of a difference is its standard error over repetitions, each a mean over folds."""
    cells = [name, f"{own['rarer'].mean():.0f}", f"{len(own)}", f"{own['defaults'].mean():.4f}"]
    cells += [f"{own[k].mean():.4f}" for k in (1, 2, 3, 5)]
    for k in (3, 5, "same cost"):
        gains = (own[k] - own[1]).groupby([own["data"], own["strategy"], own["repetition"]]).mean()
        error = gains.std() / np.sqrt(len(gains))
        cells.append(f"{gains.mean():+.4f} ({error:.4f})")
    cells.append(f"{own['best'].mean():.4f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "table"])
    parser.add_argument("results", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--strategies", nargs="+", default=["concat", "late_average"])
    options = parser.parse_args()
    options.folds, options.training = 5, []
    torch.set_num_threads(1)
    (measure if options.what == "measure" else table)(options)


if __name__ == "__main__":
    main()
