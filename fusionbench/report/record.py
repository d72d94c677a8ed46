"""``record.json``: what a run was made of and where its predictions are, for comparing two runs.

The configuration, names, versions and hashes of plugins, packages and data, keys in the result store, and the
leaderboard. Nothing about a row. It stays beside the report and is no part of it: the configuration names the folders
of the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.columns import recorded
from fusionbench.errors import DataError, without_secrets
from fusionbench.missingness.subsets import is_subset
from fusionbench.plan.lines import model_of
from fusionbench.report import about

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.records import RunSummary

NAME = "record.json"
FORMAT = 1


def record(summary: RunSummary) -> dict[str, Any]:
    """Return the record of a run as plain data."""
    plan = summary.plan
    board = recorded(plan, summary.tables.leaderboard)
    parts = {
        role: {k: found.get(k) for k in ("name", "distribution", "version", "source", "fingerprint")}
        for role, found in about.identities(plan).items()
    }
    return {
        "format": FORMAT,
        "configuration": without_secrets(plan.benchmark.model_dump(mode="json", exclude=about.NOT_SHOWN)),
        "data": plan.data_digest,
        "metric": plan.dataset.metric,
        "ribbons": list(plan.ribbons),
        "parts": parts,
        "environment": about.environment(),
        "arithmetic": plan.arithmetic.record,
        "leaderboard": board.astype(object).where(board.notna(), None).to_dict("records"),
        "fits": [_fit(fit, plan.benchmark.missingness.where) for fit in plan.fits],
    }


def _fit(fit: FitJob, where: str) -> dict[str, Any]:
    placed = [
        (model_of(fit, c, where), label) for c, label in zip(fit.scored, fit.labels, strict=True) if not is_subset(c)
    ]
    return {
        "line": list(placed[0][0].line),
        "fold": fit.fold,
        "seed": fit.seed,
        "key": fit.key,
        "points": [[m.point.pattern, m.point.rate, label] for m, label in placed],
    }


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a report folder.

    Raises:
        DataError: There is none, or it is of another version of the program.
    """
    path = folder / NAME
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{folder}: no {NAME}, which the observer 'html' writes; run the benchmark again, or "
            "'fusionbench report' for it"
        ) from None
    except (OSError, ValueError) as problem:
        raise DataError(f"{path} cannot be read: {problem}") from problem
    if not isinstance(found, dict):
        raise DataError(f"{path} is not a record of a run; run the benchmark again, or 'fusionbench report' for it")
    if found.get("format") != FORMAT:
        raise DataError(f"{path}: format {found.get('format')}; this version reads {FORMAT}; make the report again")
    if not {*found} >= {"configuration", "metric", "fits"}:
        raise DataError(f"{path} is not a record of a run; run the benchmark again, or 'fusionbench report' for it")
    return found
