"""What the search of common hyper-parameters should be allowed to do, measured without a test row.

Of each data set the development rows of its first fold are taken: they are a data set of their own, with folds of their own.
Every search runs on them as a benchmark does (trials compared on validation rows), and the score on the inner folds' held-out
rows says what the search is worth. The test rows of the first fold are never predicted.

    python benchmarks/tuning/search_ranges.py FOLDER_OF_TABLES... [--trials 8] [--strategies concat late_average dwfuse]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from fusionbench import Dataset
from fusionbench.config.sections import Benchmark
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.run.runner import Run

RATE = {"low": 1e-4, "high": 1e-2, "log": True}
SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "decay to .1": {"learning_rate": RATE, "weight_decay": {"low": 1e-4, "high": 0.1, "log": True}},
    "decay to 30": {"learning_rate": RATE, "weight_decay": {"low": 1e-2, "high": 30, "log": True}},
    "decay to 30, dropout": {
        "learning_rate": RATE,
        "weight_decay": {"low": 1e-2, "high": 30, "log": True},
        "dropout": {"low": 0, "high": 0.5},
    },
    "decay to 30, dropout, depth": {
        "learning_rate": RATE,
        "weight_decay": {"low": 1e-2, "high": 30, "log": True},
        "dropout": {"low": 0, "high": 0.5},
        "encoder_depth": {"low": 0, "high": 1},
    },
}


def benchmark_of(task: Mapping[str, Any], names: list[str], options: argparse.Namespace, **more: Any) -> Benchmark:
    """Return a small benchmark: complete data only, linear projections, every strategy the same."""
    document = {
        "name": "search_ranges",
        "task": task,
        "encoders": dict.fromkeys(names, "identity"),
        "model": {"width": 32},
        "strategies": options.strategies,
        "missingness": {"rates": [0]},
        "splits": {"folds": options.folds, "validation": 0.2},
        "training": {
            "epochs": 60,
            "batch_size": 32,
            "patience": 15,
            "population": 16,
            "workers": 1,
            "keep_weights": False,
            **dict(pair.split("=") for pair in options.training),
        },
        "evaluation": {"resamples": 100, "subsets": False},
        "observers": ["files"],
    }
    return Benchmark.model_validate({**document, **more})


def run_of(benchmark: Benchmark, workspace: Path, dataset: Dataset | None = None) -> Run:
    """Return a prepared run, on a data set of ours where one is given."""
    resolved = resolve(benchmark, Plugins([]), lambda location: f"{location}: ")
    if dataset is not None:
        task = SimpleNamespace(
            registration=SimpleNamespace(name="given"),
            identity={"name": "given", "distribution": "", "version": "", "source": ""},
            build=lambda: SimpleNamespace(prepare=lambda *_: dataset),
        )
        resolved = replace(resolved, task=task)  # type: ignore[arg-type]
    run = Run(benchmark, resolved, workspace, torch.device("cpu"), SilentProgress())
    run.prepare()
    return run


def development_of(run: Run) -> Dataset:
    """Return the development rows of the first fold as a data set of their own."""
    rows = run.folds[0].development
    chosen = np.sort(np.concatenate([rows.train, rows.validation]))
    whole = run.dataset
    modalities = {}
    for name, m in whole.modalities.items():
        changed: dict[str, Any] = {"values": np.asarray(m.values)[chosen]}
        if getattr(m, "lengths", None) is not None:
            changed["lengths"] = np.asarray(m.lengths)[chosen]
        modalities[name] = replace(m, **changed)
    return replace(
        whole,
        modalities=modalities,
        available=whole.available[chosen],
        target=whole.target[chosen],
        groups=whole.groups[chosen],
        digest=f"development of {whole.digest}",
        split=None,
        folds=None,
        ceiling=None,
    )


def main() -> None:
    """Print one line for each data set, search and strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--strategies", nargs="+", default=["concat", "late_average", "dwfuse"])
    parser.add_argument("--searches", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    parser.add_argument("--training", nargs="*", default=[], help="keys of the training section: least_steps=0")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("data,rows,search,strategy,validation,inner test,seconds", flush=True)
    for folder in options.folders:
        with tempfile.TemporaryDirectory() as place:
            names = filled(folder, Path(place) / "table")
            task = {"name": "table", "root": str(Path(place) / "table"), "modalities": names}
            inner = development_of(run_of(benchmark_of(task, names, options), Path(place) / "outer"))
            for search in options.searches:
                start = time.perf_counter()
                tuning = {"trials": options.trials, "batch": 4, "own": False, "common": SEARCHES[search]}
                run = run_of(benchmark_of(task, names, options, tuning=tuning), Path(place) / search, inner)
                summary = run.execute()
                cells = summary.tables.cells
                seconds = time.perf_counter() - start
                for strategy, own in cells.groupby("strategy", sort=False):
                    print(
                        f'{folder.name},{len(inner)},"{search}",{strategy},{own["validation"].mean():.4f},'
                        f"{own[inner.metric].mean():.4f},{seconds:.0f}",
                        flush=True,
                    )


def filled(folder: Path, copy: Path) -> list[str]:
    """Copy the labelled rows of a table, with medians where a present row holds NaN, and return the names of its modalities."""
    copy.mkdir()
    names = []
    manifest = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    labelled = (manifest["label"] != "").to_numpy()
    manifest[labelled].to_csv(copy / "manifest.csv", index=False)
    for path in folder.iterdir():
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)[labelled]
            if values.dtype.kind == "f" and values.ndim == 2:
                present = ~np.isnan(values).all(axis=1)
                medians = np.nan_to_num(np.nanmedian(values[present], axis=0))
                values[present] = np.where(np.isnan(values[present]), medians, values[present])
            np.save(copy / path.name, values)
            names.append(path.stem)
        elif path.is_file() and path.suffix in (".csv", ".json") and path.name != "manifest.csv":
            shutil.copy(path, copy / path.name)
    return sorted(names)


if __name__ == "__main__":
    main()
