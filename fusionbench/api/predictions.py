"""The stored predictions of a run as a table: one row for each test row, model and condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.calibration import probabilities_of
from fusionbench.api.memory import TASK
from fusionbench.commands.stored_runs import StoredRun
from fusionbench.data.preparation import prepare_task
from fusionbench.data.splits import Fold, make_folds
from fusionbench.errors import ConfigError, DataError, did_you_mean
from fusionbench.plan.lines import Line
from fusionbench.plan.parts import Part
from fusionbench.plugins.catalogue import Plugins
from fusionbench.progress import SilentProgress
from fusionbench.store.results import Store
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.contract.data import Dataset


def predictions_of(
    run: StoredRun, dataset: Dataset | None, plugins: Sequence[str], strategy: str | None
) -> pd.DataFrame:
    """Return what the stored models of a run predicted of their test rows; see :meth:`Results.predictions`.

    Raises:
        ConfigError: No line has this strategy.
        DataError: The predictions are not there, or the data are other ones by now.
    """
    import pandas as pd

    if run.workspace is None:
        raise DataError(
            f"{run.folder} has been taken out of its workspace: the predictions are in the result store there"
        )
    known = list(dict.fromkeys(line.strategy for line in run.fits))
    if strategy is not None and strategy not in known:
        raise ConfigError(
            f"strategy: no line is called '{strategy}'{did_you_mean(strategy, known)}; there are {', '.join(known)}"
        )
    data = dataset if dataset is not None else _prepared(run, plugins)
    if data.digest != run.record["data"]:
        raise DataError("the data are not those of the run any more, so its predictions are of other rows")
    splits = run.benchmark.splits.model_copy(update={"use": None})
    folds = {fold.index: fold for fold in make_folds(data, splits)}
    store = Store(run.workspace.results.root)
    lines = {line: fits for line, fits in run.fits.items() if strategy in (None, line.strategy)}
    parts = [part for line, fits in lines.items() for fit in fits for part in _of_fit(line, fit, store, data, folds)]
    columns = ["strategy", "imputer", "trained_at", "pattern", "rate", "fold", "seed", "row", "target", "probability"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _prepared(run: StoredRun, plugins: Sequence[str]) -> Dataset:
    assert run.workspace is not None
    task = run.benchmark.task
    if task.name == TASK:
        raise DataError("the run was given its data in memory: give them again, predictions(dataset=...)")
    found = Plugins(plugins).require_extra()
    return prepare_task(Part(found.get("tasks", task.name), task.options, "task"), run.workspace.root, SilentProgress())


def _of_fit(
    line: Line, fit: Mapping[str, Any], store: Store, data: Dataset, folds: Mapping[int, Fold]
) -> Iterator[pd.DataFrame]:
    import pandas as pd

    result = store.load(fit["key"])
    if result is None:
        return  # it failed, or was not reached
    fold = folds[fit["fold"]]
    rows = fold.test.open(result.study)
    head = {"strategy": line.strategy, "imputer": line.imputer, "trained_at": line.variant}
    target = data.target[rows]
    for pattern, rate, label in fit["points"]:
        if label not in result.logits:
            continue
        said = probabilities_of(result, label, data, fold).calibrated
        columns: dict[str, Any] = {
            **head,
            "pattern": pattern,
            "rate": rate,
            "fold": fit["fold"],
            "seed": fit["seed"],
            "row": rows,
        }
        if data.kind is TargetKind.BINARY:
            columns |= {"target": target, "probability": said[:, 0]}
        elif data.kind is TargetKind.MULTICLASS:
            columns |= {"target": [data.outputs[t] for t in target]}
            columns |= {f"probability_{name}": said[:, i] for i, name in enumerate(data.outputs)}
        else:
            columns |= {f"target_{name}": target[:, i] for i, name in enumerate(data.outputs)}
            columns |= {f"probability_{name}": said[:, i] for i, name in enumerate(data.outputs)}
        yield pd.DataFrame(columns)
