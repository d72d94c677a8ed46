"""Every table as CSV and Parquet, the resolved configuration, pictures of curves and traces, counts of embedding maps."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from fusionbench import hookimpl
from fusionbench.analysis.sheets import Marks, as_csv, as_parquet, sheet
from fusionbench.config.sections import Benchmark
from fusionbench.errors import WorkspaceError, without_secrets
from fusionbench.hookspecs import Register
from fusionbench.store.files import write_atomically
from fusionbench.store.integrity import changed_files, hashes_of
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunSummary


class Files:
    """Writes ``reports/<benchmark>/`` in the workspace when a run ends.

    Args:
        config: The resolved configuration.
        workspace: Folder of the run.
    """

    def __init__(self, config: Benchmark, workspace: Path) -> None:
        folders = Workspace(workspace)
        self.folder, self._written = folders.report(config.name), folders.results.written
        self._config = config

    @hookimpl
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Write the tables, and the picture where a table has changed."""
        from fusionbench.analysis.columns import compared, ledger_of

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise WorkspaceError(f"{self.folder} cannot be made: {problem.strerror}") from problem
        tables = summary.tables
        found = {"leaderboard": compared(tables.leaderboard)}
        found |= {f.name: getattr(tables, f.name) for f in fields(tables) if f.name not in found}
        changed = [self._write_table(name, summary, table) for name, table in found.items()]
        self._write_table("ledger", summary, ledger_of(tables.leaderboard), listed=False)
        resolved = yaml.safe_dump(
            without_secrets(self._config.model_dump(mode="json")), sort_keys=False, allow_unicode=True
        )
        self._write("config.yaml", resolved.encode())
        self._write_traces(summary, changed=any(changed))
        self._write_maps(summary)
        self._write_robustness(summary)
        self._write_if_any("scores_by_epoch", summary, summary.scores)
        values = summary.published
        self._write_if_any("published", summary, values.iloc[:0] if values["ours"].isna().all() else values)
        pictures = [self.folder / "curves.png", self.folder / "curves.svg"]
        if len(tables.curves) == 0:  # no arm is complete: a picture of an earlier run would not be of this one
            for picture in pictures:
                picture.unlink(missing_ok=True)
            return
        if any(changed) or not self._intact(pictures):
            from fusionbench.report.charts.sheets import draw_curves

            draw_curves(summary, pictures)
            self._note(pictures)
        summary.files["curves.png"] = pictures[0]

    def _write_traces(self, summary: RunSummary, *, changed: bool) -> None:
        """Write what strategies recorded over epochs and its picture; what an earlier run left of it goes away."""
        pictures = [self.folder / "traces.png", self.folder / "traces.svg"]
        if len(summary.traces) == 0 or len(summary.tables.curves) == 0:
            self._remove("traces")
            for path in pictures:
                path.unlink(missing_ok=True)
            return
        changed |= self._write_table("traces", summary, summary.traces)
        if changed or not self._intact(pictures):
            from fusionbench.report.charts.sheets import draw_traces

            draw_traces(summary, pictures)
            self._note(pictures)
        summary.files[pictures[0].name] = pictures[0]

    def _write_maps(self, summary: RunSummary) -> None:
        """Write where imputed embeddings lie, as counts; what an earlier run left of it goes away."""
        tables = {"embedding_maps": summary.maps.numbers, "embedding_map_cells": summary.maps.cells}
        for name, table in tables.items():
            if len(summary.maps.numbers) == 0:
                self._remove(name)
            else:
                self._write_table(name, summary, table)

    def _write_robustness(self, summary: RunSummary) -> None:
        """Write every line under other settings, and how alike settings rank; what an earlier run left of it goes away."""
        for kind, table in summary.robustness._asdict().items():
            self._write_if_any("robustness" if kind == "lines" else f"robustness_{kind}", summary, table)

    def _write_if_any(self, name: str, summary: RunSummary, table: pd.DataFrame) -> None:
        """Write a table that a run may have; where it has none, what an earlier run left of it goes away."""
        if len(table) == 0:
            self._remove(name)
        else:
            self._write_table(name, summary, table)

    def _write_table(self, name: str, summary: RunSummary, table: pd.DataFrame, *, listed: bool = True) -> bool:
        """Write a table as CSV, and as Parquet beside it; return whether the CSV changed."""
        found = sheet(table, Marks.of(summary.plan))
        changed = self._write(f"{name}.csv", as_csv(found).encode())
        self._write(f"{name}.parquet", as_parquet(found))
        if listed:
            summary.files[f"{name}.csv"] = self.folder / f"{name}.csv"
        return changed

    def _remove(self, name: str) -> None:
        for ending in ("csv", "parquet"):
            (self.folder / f"{name}.{ending}").unlink(missing_ok=True)

    def _intact(self, pictures: list[Path]) -> bool:
        """Whether pictures are there as they were drawn; of those of earlier versions nobody noted how."""
        return all(p.exists() for p in pictures) and not changed_files(self.folder, self._listing(pictures))

    def _note(self, pictures: list[Path]) -> None:
        write_atomically(self._listing(pictures), hashes_of(self.folder, [p.name for p in pictures]))

    def _listing(self, pictures: list[Path]) -> Path:
        return self._written / f"{self.folder.name}.{pictures[0].stem}.json"

    def _write(self, name: str, content: bytes) -> bool:
        """Write a file; return whether its content changed."""
        path = self.folder / name
        if path.exists() and path.read_bytes() == content:
            return False
        write_atomically(path, content)
        return True


@hookimpl
def register_observers(register: Register) -> None:
    """Register ``files``."""
    register("files", Files)
