"""Numbers that were computed elsewhere from the same rule, beside the checkout."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from fusionbench.statistics.components import PatientCovariance
from fusionbench.statistics.verdict import Verdict, verdict_of
from tests.shared import shared_folder

PAIR = ("first", "second", "difference", "variance")
INFINITE = {"inf": np.inf, "-inf": -np.inf}


def numbers(value: Any) -> Any:
    """JSON into floats: ``"inf"`` and null have no other way in."""
    if isinstance(value, list):
        return [numbers(v) for v in value]
    if value is None:
        return np.nan
    return INFINITE.get(value, value) if isinstance(value, str) else value


def sheet(name: str) -> dict[str, Any]:
    """One file of the oracles."""
    return json.loads((shared_folder("parity_stats") / f"{name}.json").read_text(encoding="utf-8"))


def agrees(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Absolute, or relative above 1."""
    np.testing.assert_allclose(
        np.asarray(found, dtype=np.float64),
        np.array(numbers(expected), dtype=np.float64),
        rtol=tolerance,
        atol=tolerance,
    )


def compare(theta: Any, patients: PatientCovariance, expected: dict[str, Any], *, unit: bool = True) -> Verdict:
    """Compare everything that the rule gives with what is expected, from the top."""
    found = verdict_of(np.asarray(theta, dtype=np.float64), patients, unit=unit)
    parts = found.components
    agrees(patients.df, expected["df_pat"])
    agrees(parts.value, expected["value"])
    agrees(parts.same, expected["same"])
    agrees(parts.cross, expected["cross"])
    for name in ("fixed", "constant"):
        assert getattr(parts, name).tolist() == expected[name]
    assert list(parts.pool) == expected["pool"]
    assert list(parts.unstable) == expected["unstable"]
    for name in (
        "ms_run",
        "df_run",
        "run",
        "df_own",
        "ms_fold",
        "df_fold",
        "ms_res",
        "df_res",
        "pat_fold",
        "dispersion",
    ):
        agrees(getattr(parts, name), expected[name])
    agrees(parts.covariance, expected["V"])
    for name in ("within", "fold", "variance", "df", "interval", "interval_these_models"):
        agrees(getattr(found.singles, name), expected["single"][name])
    if "pairs" in expected:
        for name, values in expected["pairs"].items():
            agrees(getattr(found.pairs, name), values)
        agrees(found.smallest_detectable, expected["smallest_detectable"])
    else:
        assert len(found.pairs.first) == 0
    if "simulated" not in expected:
        assert found.groups is None
        assert found.p_max_t is None
        return found
    assert found.groups is not None
    assert found.p_max_t is not None
    simulated = expected["simulated"]
    agrees(found.p_max_t, simulated["p_max_t"], 2e-4)
    agrees(found.groups.p_best, simulated["p_best"], 2e-4)
    twins = {b: a for a, b, d, v in zip(*(expected["pairs"][n] for n in PAIR), strict=True) if d == v == 0}
    left, wanted = [
        [(g, twins.get(line, line)) for g, line in steps]
        for steps in (
            [(s.group, s.line) for s in found.groups.steps],
            [(s["group"], s["line"]) for s in simulated["steps"]],
        )
    ]
    assert left == wanted
    for step, wanted in zip(found.groups.steps, simulated["steps"], strict=True):
        agrees([step.total, step.top], [wanted["total"], wanted["top"]])
        agrees(step.p, wanted["p"], 2e-4)
    assert found.groups.group.tolist() == expected["group"]
    return found
