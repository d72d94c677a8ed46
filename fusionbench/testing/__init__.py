"""The conformance kit: the exam that built-in plugins and guests take alike.

See :mod:`fusionbench.testing.checks` for how to run it and :mod:`fusionbench.testing.batches` for the data.
"""

from __future__ import annotations

from fusionbench.testing.batches import Case, default_cases, make_case
from fusionbench.testing.checks import CHECKS, CheckResult, parametrize_with_checks, run_checks
from fusionbench.testing.exams.mechanisms import ContextCase, default_contexts
from fusionbench.testing.inputs import InputCase, default_inputs
from fusionbench.testing.subjects import CheckSkippedError

__all__ = [
    "CHECKS",
    "Case",
    "CheckResult",
    "CheckSkippedError",
    "ContextCase",
    "InputCase",
    "default_cases",
    "default_contexts",
    "default_inputs",
    "make_case",
    "parametrize_with_checks",
    "run_checks",
]
