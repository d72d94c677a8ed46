"""What a run found, for Python: every table as a DataFrame, the answer, a picture, the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.columns import compared, ledger_of
from fusionbench.analysis.sheets import Marks, flat_names, sheet
from fusionbench.api.predictions import predictions_of
from fusionbench.api.shown import as_html, drawn
from fusionbench.commands.stored_runs import StoredRun
from fusionbench.errors import ConfigError, DataError
from fusionbench.metrics.registry import METRICS
from fusionbench.records import Tables
from fusionbench.report.page import PAGE
from fusionbench.report.record import record as record_of
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from fusionbench.contract.data import Dataset
    from fusionbench.records import RunSummary

LINE = ["strategy", "imputer"]
AREA = "area"
LEDGER = "ledger"


class Results:
    """What a run of one benchmark found. :func:`fusionbench.run` and :func:`fusionbench.load` return it.

    In a notebook it shows the question, the answer in three sentences, and the decision table. Tables have the columns of the
    files of the same name (``leaderboard.csv``): flat names, and ``synthetic`` as a column.
    """

    def __init__(
        self,
        run: StoredRun,
        tables: Mapping[str, pd.DataFrame],
        failures: Mapping[str, str],
        dataset: Dataset | None = None,
    ) -> None:
        self._run, self._tables, self._dataset = run, dict(tables), dataset
        self.failures: dict[str, str] = dict(failures)
        """By name, the models that could not be trained, and why; known right after a run only."""

    @classmethod
    def of(cls, summary: RunSummary) -> Results:
        """Return what a run has just found."""
        plan = summary.plan
        marks = Marks.of(plan)
        found = {f.name: getattr(summary.tables, f.name) for f in fields(Tables)}
        board = found["leaderboard"]
        found |= {"leaderboard": compared(board), LEDGER: ledger_of(board)}
        tables = {name: sheet(table, marks) for name, table in found.items()}
        run = StoredRun(plan.folders.report(plan.benchmark.name), record_of(summary))
        return cls(run, tables, dict(summary.failures), plan.dataset)

    @classmethod
    def stored(cls, run: StoredRun) -> Results:
        """Return what a run has left in its folder.

        Raises:
            DataError: Its tables are not there.
        """
        import pandas as pd

        names = [*(f.name for f in fields(Tables)), LEDGER]
        paths = {name: run.folder / f"{name}.parquet" for name in names}
        if missing := [path.name for path in paths.values() if not path.is_file()]:
            raise DataError(
                f"{run.folder}: no {', '.join(missing)}, which the observer 'files' writes; run the benchmark again, with it "
                "among its observers"
            )
        return cls(run, {name: pd.read_parquet(path) for name, path in paths.items()}, {})

    # ---------------------------------------------------------------- what was run

    @property
    def name(self) -> str:
        """Of the benchmark."""
        return str(self._run.record["configuration"]["name"])

    @property
    def metric(self) -> str:
        """What lines are ranked by."""
        return str(self._run.record["metric"])

    @property
    def folder(self) -> Path:
        """Where the files of the run lie: tables, pictures, the page."""
        return self._run.folder

    @property
    def workspace(self) -> Path:
        """Where the folder, the trained models and the data of the run lie."""
        return Workspace.of_report(self._run.folder).root

    @property
    def record(self) -> Mapping[str, Any]:
        """Everything that the run was made of, and what it said: what ``record.json`` holds."""
        return self._run.record

    @property
    def answer(self) -> tuple[str, str, str] | None:
        """The three sentences; None where nothing could be scored."""
        found = self._run.record.get("answer")
        return None if found is None else (found["average"], found["missing"], found["cost"])

    @property
    def notes(self) -> list[str]:
        """What weakens the numbers, to be read before them."""
        return list(self._run.record["notes"])

    # ---------------------------------------------------------------- tables

    def _table(self, name: str) -> pd.DataFrame:
        return self._tables[name].copy()

    @property
    def leaderboard(self) -> pd.DataFrame:
        """One row for each line, the best first: its mean over curves with intervals, its group, its marks."""
        return self._table("leaderboard")

    @property
    def curves(self) -> pd.DataFrame:
        """One row for each line, pattern and rate: every metric with its interval."""
        return self._table("curves")

    @property
    def cells(self) -> pd.DataFrame:
        """One row for each trained model under each condition."""
        return self._table("cells")

    @property
    def differences(self) -> pd.DataFrame:
        """One row for each line, pattern and rate, and for its mean: the difference to the baseline."""
        return self._table("differences")

    @property
    def comparisons(self) -> pd.DataFrame:
        """One row for each pair of lines."""
        return self._table("comparisons")

    @property
    def subsets(self) -> pd.DataFrame:
        """One row for each line and subset of the modalities."""
        return self._table("subsets")

    @property
    def modalities(self) -> pd.DataFrame:
        """One row for each line and modality: what it is worth."""
        return self._table("modalities")

    @property
    def calibration(self) -> pd.DataFrame:
        """One row for each line and bin of predictions."""
        return self._table("calibration")

    @property
    def trials(self) -> pd.DataFrame:
        """One row for each trial of tuning."""
        return self._table("trials")

    @property
    def ledger(self) -> pd.DataFrame:
        """One row for each line: what it cost."""
        return self._table(LEDGER)

    @property
    def design(self) -> pd.DataFrame:
        """One row: what was compared, and the smallest difference that shows."""
        return self._table("design")

    def best(self, rate: float | None = None, pattern: str | None = None) -> pd.DataFrame:
        """Return the lines that could be the best if everything were trained again, the highest first.

        Args:
            rate: At this nominal rate of missing modalities, 0 to 1; None: on average over all patterns and rates.
            pattern: For this pattern; None: the first one of the benchmark.

        Returns:
            One row for each line. Where nothing is known of other trainings (one fold and one seed) all lines, with
            ``could_be_best`` False.

        Raises:
            ConfigError: There is no such pattern or rate.
        """
        found = self._at(rate, pattern)
        ascending = not METRICS[self.metric].higher_is_better
        ordered = found.sort_values("value", ascending=ascending, kind="stable")
        could = ordered["could_be_best"]
        kept: pd.DataFrame = ordered[could] if could.any() else ordered
        return kept.reset_index(drop=True)

    def _at(self, rate: float | None, pattern: str | None) -> pd.DataFrame:
        differences = self._table("differences")
        if rate is None:
            board = self._table("leaderboard").rename(columns={AREA: "value", "area_low": "low", "area_high": "high"})
            board = board[~board["strategy"].isin(self._references())]
            return board.assign(could_be_best=board["group"] == 1)[
                [*LINE, "trained_at", "value", "low", "high", "could_be_best"]
            ]
        curves = self._table("curves")
        curves = curves[~curves["strategy"].isin(self._references())]
        patterns, rates = list(dict.fromkeys(curves["pattern"])), sorted(set(curves["rate"]))
        chosen = patterns[0] if pattern is None and patterns else pattern
        if chosen not in patterns:
            raise ConfigError(f"pattern: {pattern!r} was not run; this benchmark has {', '.join(patterns)}")
        near = [r for r in rates if abs(r - rate) < 1e-9]
        if not near:
            raise ConfigError(f"rate: {rate:g} was not run; this benchmark has {', '.join(f'{r:g}' for r in rates)}")
        (metric,) = flat_names([self.metric])
        mine = curves[(curves["pattern"] == chosen) & (curves["rate"] == near[0])]
        mine = mine.rename(columns={metric: "value", f"{metric}_low": "low", f"{metric}_high": "high"})
        there = differences[(differences["pattern"] == chosen) & (differences["rate"] == near[0])]
        keys = [*LINE, "variant"]
        joined = mine[[*keys, "pattern", "rate", "achieved", "value", "low", "high"]].merge(
            there[[*keys, "difference", "p_adjusted", "possible_best"]], on=keys, how="left"
        )
        could = joined.pop("possible_best").astype("boolean").fillna(value=False).astype(bool)
        named: pd.DataFrame = joined.rename(columns={"variant": "trained_at"}).assign(could_be_best=could)
        return named

    @staticmethod
    def _references() -> tuple[str, ...]:
        from fusionbench.config.sections import REFERENCES

        return tuple(REFERENCES)

    def predictions(
        self, strategy: str | None = None, dataset: Dataset | None = None, plugins: tuple[str, ...] = ()
    ) -> pd.DataFrame:
        """Return the prediction of every test row by every model under every condition.

        These are data about people: keep them where the data themselves may lie.

        Args:
            strategy: Of this strategy only.
            dataset: The data in memory that the run was given; None: those of the run, or its task prepares them again.
            plugins: Files and modules of the task, where it is a guest.

        Returns:
            ``strategy``, ``imputer``, ``trained_at``, ``pattern``, ``rate``, ``fold``, ``seed``, ``row`` (its
            number in the data), ``target``, and the recalibrated ``probability``: of several classes or labels one column each.

        Raises:
            DataError: The data are not those of the run any more.
        """
        given = dataset if dataset is not None else self._dataset
        marks = self._table("design").iloc[0]
        found = predictions_of(self._run, given, plugins, strategy)
        return sheet(found, Marks(bool(marks["synthetic"]), bool(marks["random_weights"])))

    # ---------------------------------------------------------------- pictures and the page

    def plot(self, pattern: str | None = None) -> Figure:
        """Return a picture of the curves: one panel for each pattern, the metric as more is missing.

        Args:
            pattern: Of this pattern only.

        Raises:
            ConfigError: There is no such pattern.
        """
        curves = self._table("curves")
        patterns = list(dict.fromkeys(curves["pattern"]))
        if pattern is not None and pattern not in patterns:
            raise ConfigError(f"pattern: {pattern!r} was not run; this benchmark has {', '.join(patterns)}")
        return drawn(curves, self.metric, [pattern] if pattern else patterns, self._run.record)

    def report(self) -> Path:
        """Return the page of the run, which opens in a browser without a network.

        Raises:
            DataError: There is none: the observer ``html`` makes it.
        """
        path = self.folder / PAGE
        if not path.is_file():
            raise DataError(f"{path}: no such page; the observer 'html' writes it, or 'fusionbench report'")
        return path

    def _repr_html_(self) -> str:
        page = self.folder / PAGE
        return as_html(self._run.record, self.failures, page if page.is_file() else None)

    def __repr__(self) -> str:
        said = self.answer
        lines = [f"<Results of {self.name}: {len(self._tables['leaderboard'])} lines, {self.metric}>"]
        lines += list(self._run.record["ribbons"])
        lines += list(said) if said is not None else ["nothing could be scored"]
        lines += [f"failed: {name}: {reason}" for name, reason in self.failures.items()]
        return "\n".join(lines)
