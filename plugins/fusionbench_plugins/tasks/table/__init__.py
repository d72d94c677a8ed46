"""Any prediction problem given as tables: a manifest with one row per sample, and one file of features per modality.

``docs/table-task.md`` describes the files. Nothing is copied to the cache: files are read as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fusionbench import Dataset, Findings, Modality, TargetKind, Task, hookimpl
from fusionbench.errors import DataError
from fusionbench.hookspecs import Register
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.table.content import Content, Options, read
from fusionbench_plugins.tasks.table.findings import findings
from fusionbench_plugins.tasks.table.manifest import PRESENCE

SUFFIXES = (".npy", ".csv", ".parquet")
"""Of files of features."""


class TableTask(Task):
    """Feature tables and a manifest in one folder.

    Args:
        root: The folder.
        modalities: Names of the modalities, in order; None: those with a column ``has_<name>``.
        manifest: File name of the manifest, CSV or Parquet.
        target: Column of the label; a list of columns of 0 and 1 for multi-label.
        kind: ``binary``, ``multiclass`` or ``multilabel``; None: several columns are multi-label, a column of 0
            and 1 is binary, any other is multi-class.
        positive: Of a label with two classes, the one that is 1; the target is binary then.
        group: Column of the patient; None: every row is a patient of its own.
        split: Column of ``train``, ``validation``, ``test``, used where it is there; null to leave it aside.
        folds: Column of fold numbers, used where it is there and ``split`` is not; rows with -1 are left out then.
        metric: The number by which models are ranked; None: accuracy for multi-class, else auroc.
        description: One sentence about the data, for reports.

    Raises:
        ValueError: All options that are not valid, one line each.
    """

    def __init__(
        self,
        root: str | None = None,
        modalities: Sequence[str] | None = None,
        manifest: str = "manifest.csv",
        target: str | Sequence[str] = "label",
        kind: Literal["binary", "multiclass", "multilabel"] | None = None,
        group: str | None = None,
        split: str | None = "split",
        folds: str | None = "fold",
        metric: str | None = None,
        description: str = "",
        positive: str | float | None = None,
    ) -> None:
        targets = tuple(target) if isinstance(target, Sequence) and not isinstance(target, str) else (target,)
        problems = [
            *_problems(root, modalities, manifest, targets, kind),
            *_positive_problems(positive, kind, targets),
            *_twice(targets, {"group": group, "split": split, "folds": folds}),
            *_text_problems(
                {"group": group, "split": split, "folds": folds, "metric": metric, "description": description}
            ),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        self.options = Options(
            root=Path(str(root)).expanduser(),
            modalities=None if modalities is None else tuple(modalities),
            manifest=manifest,
            target=targets,
            kind=None if kind is None else TargetKind(kind),
            group=group,
            split=split,
            folds=folds,
            positive=None if positive is None else str(positive),
        )
        self.metric, self.description = metric, description

    def prepare(self, cache: Path, progress: Progress) -> Dataset:
        """Read the folder.

        Raises:
            DataError: Everything that is wrong with the files, one line each.
            ConfigError: The metric is not defined for this kind of target.
        """
        from fusionbench.metrics.scores import primary

        with progress.stage("reading tables", 1) as stage:
            content, problems = read(self.options)
            stage.advance()
        if content is None:
            raise DataError(f"table in {self.options.root}:\n" + "\n".join(f"  {p}" for p in problems))
        kind = content.target.kind
        metric = primary(self.metric or ("accuracy" if kind is TargetKind.MULTICLASS else "auroc"), kind).name
        return Dataset(
            modalities={name: _modality(content, name) for name in content.blocks},
            available=content.available,
            target=content.target.values,
            kind=kind,
            outputs=content.target.outputs,
            groups=content.groups,
            digest=content.digest(metric),
            metric=metric,
            split=content.split,
            folds=content.folds,
            funnel=content.funnel,
            warnings=content.notes,
            description=self.description,
        )

    def check(self, cache: Path, progress: Progress) -> Findings:
        """Say what is in the folder; lines that begin with ``problem:`` stop a run, ``warning:`` should be read."""
        content, problems = read(self.options)
        if content is None:
            return Findings([f"problem: {p}" for p in problems])
        return Findings(findings(content))

    @classmethod
    def recognises(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return the options for a folder with a manifest; where it does not say who has what, the files name the modalities."""
        names = [name for name in ("manifest.csv", "manifest.parquet") if (folder / name).is_file()]
        if not names:
            return None
        options = {"root": str(folder), "manifest": names[0]}
        if any(column.startswith(PRESENCE) for column in _columns(folder / names[0])):
            return options
        found = sorted({p.stem for p in folder.iterdir() if p.suffix in SUFFIXES and p.stem != "manifest"})
        return {**options, "modalities": found} if found else options


def _columns(path: Path) -> list[str]:
    """The header of a manifest; nothing where it cannot be read, which reading it says better."""
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            return list(pyarrow.parquet.read_schema(path).names)
        with path.open(encoding="utf-8-sig") as file:
            return [cell.strip().strip('"') for cell in file.readline().split(",")]
    except (OSError, ValueError):
        return []


def _problems(root: Any, modalities: Any, manifest: Any, targets: tuple[Any, ...], kind: Any) -> list[str]:
    found = []
    if not isinstance(root, str | Path) or not str(root) or "\0" in str(root):
        found.append("root must name the folder of the tables")
    if modalities is not None and not _names(modalities):
        found.append("modalities must be a list of names without repeats")
    if not _names(targets):
        found.append("target must be a column, or a list of columns without repeats")
    if not isinstance(manifest, str) or not manifest.endswith((".csv", ".parquet")):
        found.append(f"manifest must be a .csv or .parquet file in root, found {manifest!r}")
    if kind in (TargetKind.BINARY, TargetKind.MULTICLASS) and len(targets) > 1:
        found.append(f"kind {kind} has one target column, found {len(targets)}")
    return found


def _positive_problems(positive: Any, kind: Any, targets: tuple[Any, ...]) -> list[str]:
    if positive is None:
        return []
    if not isinstance(positive, str | int | float) or str(positive) in ("", "nan", "inf", "-inf"):
        return [f"positive must be one of the two classes, as text or number, found {positive!r}"]
    if len(targets) > 1 or kind in (TargetKind.MULTICLASS, TargetKind.MULTILABEL):
        return ["positive is for a target of one column with two classes; leave out 'kind'"]
    return []


def _twice(targets: tuple[Any, ...], columns: Mapping[str, Any]) -> list[str]:
    """Say which columns are to be the label and something else."""
    return [
        f"{name} must not be a column of the target, found {column!r}"
        for name, column in columns.items()
        if column in targets
    ]


def _text_problems(options: Mapping[str, Any]) -> list[str]:
    """Say which options are not text: YAML reads 3, true and 2020-01-01 as something else."""
    columns = ("group", "split", "folds")
    return [
        f"{name} must be {'the name of a column, as text' if name in columns else 'text'}, or null; found {value!r}"
        for name, value in options.items()
        if value is not None and (not isinstance(value, str) or (name in columns and not value))
    ]


def _names(values: Any) -> bool:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        return False
    return all(isinstance(v, str) and v for v in values) and len(set(values)) == len(values)


def _modality(content: Content, name: str) -> Modality:
    block = content.blocks[name]
    everything = np.ones(block.values.shape[1], dtype=np.bool_)
    return Modality("vector", content.values(name), standardise=everything, columns=block.columns)


@hookimpl
def register_tasks(register: Register) -> None:
    """Register ``table``."""
    register("table", TableTask)
