"""The list of checks, and the two ways to run it: one test per check, or one report.

In a plugin's tests::

    from fusionbench.testing import parametrize_with_checks

    @parametrize_with_checks([MyStrategy, (MyStrategy, {"variant": "official"})])
    def test_my_strategy_conforms(subject, check):
        check(subject)

On the command line: ``fusionbench check my_strategy``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from fusionbench.testing import claims, content, imputers, manners, order, stacking, state, strategies, training
from fusionbench.testing.batches import Case
from fusionbench.testing.subjects import CheckSkippedError, Subject, subject_for
from fusionbench.types import Component

Check = Callable[[Any], None]
Status = Literal["passed", "failed", "skipped", "failed as expected", "passed unexpectedly"]

COMMON: tuple[Check, ...] = (
    claims.check_provenance_is_given,
    claims.check_search_space_gives_constructor_arguments,
    claims.check_hyper_parameters_are_constructor_arguments,
    state.check_same_seed_gives_same_weights,
    state.check_tensors_are_parameters_or_buffers,
    state.check_no_statistics_over_batches,
    state.check_statistics_are_sums,
    state.check_update_returns_new_values_of_own_buffers,
    content.check_absent_content_is_never_read,
    manners.check_inputs_are_not_changed,
    manners.check_global_state_is_left_alone,
    manners.check_precision_follows_the_features,
    training.check_single_modality_rows_train,
    training.check_rows_without_any_modality_stay_finite,
    stacking.check_stacked_runs_equal_solo_runs,
    stacking.check_hyper_parameters_act_through_their_buffers,
)

ANSWERING: tuple[Check, ...] = (
    state.check_state_survives_saving,
    content.check_output_of_a_row_ignores_other_rows,
    content.check_evaluation_is_deterministic,
    order.check_modality_order_does_not_matter,
)

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "strategy": (
        strategies.check_forward_takes_the_batch_and_nothing_else,
        strategies.check_prediction_ignores_labels,
        strategies.check_logits_have_one_row_per_sample_and_one_column_per_output,
        strategies.check_imputed_content_counts_as_shown,
        strategies.check_presence_is_used_only_where_declared,
        strategies.check_only_declared_modalities_are_read,
        strategies.check_every_parameter_can_learn,
        strategies.check_stages_can_be_run,
        strategies.check_head_losses_come_with_their_rows,
        *ANSWERING,
        *COMMON,
    ),
    "imputer": (
        imputers.check_observed_content_is_kept,
        imputers.check_filled_rows_are_finite_and_marked,
        imputers.check_hidden_truth_is_never_read,
        imputers.check_code_has_the_declared_width,
        *ANSWERING,
        *COMMON,
    ),
    "regulariser": COMMON,
}


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Args:
        name: The sentence that was checked, with underscores.
        status: ``passed unexpectedly``: an expected failure was declared and did not happen.
        reason: Why it failed, was skipped, or was expected to fail; empty when passed.
        advice: Why the sentence matters and how to mend.
        seconds: How long it took.
    """

    name: str
    status: Status
    reason: str = ""
    advice: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the plugin is fine as far as this check goes."""
        return self.status in ("passed", "skipped", "failed as expected")


def sentence(check: Check) -> str:
    """Return a check's name without ``check_``; the key in ``expected_failures``."""
    return check.__name__.removeprefix("check_")


def expected_failures_of(subject: Subject, expected_failures: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return reasons by check: what the class declares in ``expected_failures``, and what the caller adds.

    Raises:
        ValueError: A name is no check of this kind.
    """
    declared = {**getattr(subject.plugin, "expected_failures", {}), **(expected_failures or {})}
    known = {sentence(check) for check in CHECKS[subject.kind]}
    if unknown := sorted(set(declared) - known):
        raise ValueError(
            f"{subject}: expected_failures names unknown checks: {', '.join(unknown)}. "
            f"Checks of a {subject.kind}: {', '.join(sorted(known))}"
        )
    return declared


def run_checks(
    plugin: type[Component],
    options: Mapping[str, Any] | None = None,
    *,
    cases: Iterable[Case] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
) -> list[CheckResult]:
    """Run every check of the plugin's kind and report each, in order.

    Args:
        plugin: A strategy, imputer or regulariser class.
        options: Constructor arguments besides the spec.
        cases: Batches to use in place of the kit's own.
        expected_failures: Reasons by check name, added to those that the class declares.
        only: Names of the checks to run; None: all.
    """
    subject = subject_for(plugin, options, None if cases is None else tuple(cases))
    reasons = expected_failures_of(subject, expected_failures)
    wanted = None if only is None else set(only)
    chosen = [check for check in CHECKS[subject.kind] if wanted is None or sentence(check) in wanted]
    return [_run(check, subject, reasons.get(sentence(check))) for check in chosen]


def _run(check: Check, subject: Subject, expected: str | None) -> CheckResult:
    begun = time.perf_counter()
    status, reason = _outcome(check, subject, expected)
    return CheckResult(sentence(check), status, reason, check.__doc__ or "", time.perf_counter() - begun)


def _outcome(check: Check, subject: Subject, expected: str | None) -> tuple[Status, str]:
    try:
        check(subject.fresh())
    except CheckSkippedError as skipped:
        return "skipped", str(skipped)
    except AssertionError as failed:
        # only what a check asserts can be expected: a crash is never what an author had in mind
        return ("failed", str(failed)) if expected is None else ("failed as expected", expected)
    except Exception as error:  # noqa: BLE001 (a plugin may raise anything; the report says what)
        return "failed", f"raised {type(error).__name__}: {error}"
    if expected is None:
        return "passed", ""
    return "passed unexpectedly", f"declared as an expected failure: {expected}"


def parametrize_with_checks(
    plugins: Iterable[type[Component] | tuple[type[Component], Mapping[str, Any]]],
    *,
    cases: Iterable[Case] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Any:
    """Return a pytest decorator: the test is called with ``subject`` and ``check`` for every check.

    Args:
        plugins: Classes, or pairs of class and options.
        cases: Batches to use in place of the kit's own.
        expected_failures: Reasons by check name, for all of ``plugins``.
    """
    import pytest

    own = None if cases is None else tuple(cases)
    pairs = [entry if isinstance(entry, tuple) else (entry, {}) for entry in plugins]
    subjects = [subject_for(plugin, options, own) for plugin, options in pairs]
    return pytest.mark.parametrize(
        ("subject", "check"),
        [parameter for subject in subjects for parameter in _parameters(subject, expected_failures)],
    )


def _parameters(subject: Subject, expected_failures: Mapping[str, str] | None) -> Iterator[Any]:
    import pytest

    reasons = expected_failures_of(subject, expected_failures)
    for check in CHECKS[subject.kind]:
        name = sentence(check)
        expected = pytest.mark.xfail(reason=reasons.get(name, ""), strict=True, raises=AssertionError)
        marks = [expected] if name in reasons else []
        yield pytest.param(subject, _skipping(check), id=f"{subject}-{name}", marks=marks)


def _skipping(check: Check) -> Check:
    """Turn the kit's skips into pytest's."""
    import pytest

    @wraps(check)
    def run(subject: Subject) -> None:
        try:
            check(subject.fresh())
        except CheckSkippedError as skipped:
            pytest.skip(str(skipped))

    return run
