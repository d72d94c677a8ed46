"""The list of checks, and the two ways to run it: one test per check, or one report.

In a plugin's tests::

    from fusionbench.testing import parametrize_with_checks

    @parametrize_with_checks([MyStrategy, (MyStrategy, {"variant": "official"})])
    def test_my_strategy_conforms(subject, check):
        check(subject)

On the command line: ``fusionbench check strategies.my_strategy``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from fusionbench.contract.data import Task
from fusionbench.contract.executors import Executor
from fusionbench.contract.isolation import contained, text_of
from fusionbench.contract.learners import Encoder
from fusionbench.contract.mechanism import Missingness
from fusionbench.testing.batches import Case
from fusionbench.testing.exams import (
    claims,
    content,
    encoders,
    executors,
    fitted,
    imputers,
    manners,
    mechanisms,
    order,
    stacking,
    state,
    strategies,
    tasks,
    training,
)
from fusionbench.testing.exams.executors import ExecutorSubject
from fusionbench.testing.exams.mechanisms import ContextCase, MissingnessSubject, default_contexts
from fusionbench.testing.exams.tasks import TaskSubject
from fusionbench.testing.inputs import EncoderSubject, InputCase, default_inputs
from fusionbench.testing.subjects import CheckSkippedError, Examined, subject_for

Check = Callable[[Any], None]
Status = Literal["passed", "failed", "skipped", "failed as expected", "passed unexpectedly"]

# the first sees what a class is like before it is used; who fails the second fails others for the same reason
FIRST: tuple[Check, ...] = (state.check_nothing_is_shared_between_models, content.check_absent_content_is_never_read)

COMMON: tuple[Check, ...] = (
    claims.check_provenance_is_given,
    claims.check_search_space_gives_constructor_arguments,
    claims.check_hyper_parameters_are_constructor_arguments,
    state.check_same_seed_gives_same_weights,
    state.check_tensors_are_parameters_or_buffers,
    state.check_no_statistics_over_batches,
    state.check_statistics_are_sums,
    state.check_update_returns_new_values_of_own_buffers,
    manners.check_inputs_are_not_changed,
    manners.check_global_state_is_left_alone,
    manners.check_nothing_is_printed,
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
        *FIRST,
        strategies.check_forward_takes_the_batch_and_nothing_else,
        strategies.check_prediction_ignores_labels,
        strategies.check_logits_have_one_row_per_sample_and_one_column_per_output,
        strategies.check_imputed_content_counts_as_shown,
        strategies.check_presence_is_used_only_where_declared,
        strategies.check_only_declared_modalities_are_read,
        strategies.check_every_parameter_can_learn,
        strategies.check_depth_is_that_of_the_benchmark_or_is_owned,
        strategies.check_it_can_begin_at_the_prevalence,
        strategies.check_stages_can_be_run,
        strategies.check_head_losses_come_with_their_rows,
        *ANSWERING,
        *COMMON,
    ),
    "fitted strategy": (
        *FIRST,
        fitted.check_fit_returns_values_of_own_buffers,
        fitted.check_an_unfitted_model_gives_finite_logits,
        fitted.check_only_buffers_decide_the_prediction,
        fitted.check_the_same_rows_and_seed_fit_the_same,
        fitted.check_a_label_that_never_differs_can_be_fitted,
        fitted.check_a_plain_relation_is_learned,
        strategies.check_forward_takes_the_batch_and_nothing_else,
        strategies.check_logits_have_one_row_per_sample_and_one_column_per_output,
        strategies.check_presence_is_used_only_where_declared,
        strategies.check_only_declared_modalities_are_read,
        content.check_output_of_a_row_ignores_other_rows,
        content.check_evaluation_is_deterministic,
        claims.check_provenance_is_given,
        claims.check_search_space_gives_constructor_arguments,
        state.check_tensors_are_parameters_or_buffers,
        manners.check_inputs_are_not_changed,
        manners.check_global_state_is_left_alone,
        manners.check_nothing_is_printed,
        training.check_rows_without_any_modality_stay_finite,
    ),
    "imputer": (
        *FIRST,
        imputers.check_observed_content_is_kept,
        imputers.check_filled_rows_are_finite_and_marked,
        imputers.check_hidden_truth_is_never_read,
        imputers.check_code_has_the_declared_width,
        *ANSWERING,
        *COMMON,
    ),
    "regulariser": (*FIRST, *COMMON),
    "encoder": (
        claims.check_provenance_is_given,
        claims.check_search_space_gives_constructor_arguments,
        encoders.check_accepts_names_input_kinds,
        encoders.check_embeddings_have_the_declared_width,
        encoders.check_preparation_treats_rows_alone,
        encoders.check_padding_is_never_read,
        encoders.check_embedding_of_a_row_ignores_other_rows,
        encoders.check_encoding_is_deterministic,
        encoders.check_encoding_leaves_everything_alone,
        encoders.check_frozen_means_that_no_gradient_arrives,
        encoders.check_fingerprint_says_what_decides_the_embedding,
        encoders.check_fingerprint_follows_the_weights_in_use,
        encoders.check_stacked_encoders_equal_solo_encoders,
    ),
    "missingness": (
        mechanisms.check_thresholds_have_one_entry_for_each_cell,
        mechanisms.check_a_rate_hides_its_share,
        mechanisms.check_the_generator_decides_the_draw,
        mechanisms.check_the_context_is_not_changed,
        mechanisms.check_summaries_are_read_only_where_declared,
        mechanisms.check_a_blind_mechanism_looks_at_nothing,
        mechanisms.check_few_rows_are_enough,
    ),
    "task": (
        tasks.check_the_class_says_what_it_predicts,
        tasks.check_every_row_has_a_modality,
        tasks.check_content_has_the_declared_kind,
        tasks.check_content_is_finite_everywhere,
        tasks.check_labels_are_what_the_kind_says,
        tasks.check_patients_are_kept_together,
        tasks.check_the_same_options_give_the_same_data,
        tasks.check_preparing_leaves_everything_alone,
        tasks.check_the_ceiling_is_a_probability_for_each_subset,
    ),
    "executor": (
        executors.check_places_are_counted_and_described,
        executors.check_every_unit_is_finished_once,
        executors.check_nothing_to_do_is_done_at_once,
        executors.check_results_come_back_whole,
        executors.check_what_workers_say_is_passed_on,
        executors.check_what_fails_in_one_place_is_tried_again,
        executors.check_what_fails_everywhere_is_given_up_and_the_others_are_done,
        executors.check_what_is_wrong_everywhere_ends_the_work,
    ),
}

AnyCase = Case | InputCase | ContextCase

# kinds that see no batch of embeddings -> what sees them for the checks, and the cases that they are examined on
OTHERS: Mapping[type, tuple[Callable[..., Examined], Callable[[], tuple[AnyCase, ...]]]] = {
    Encoder: (EncoderSubject, default_inputs),
    Missingness: (MissingnessSubject, default_contexts),
    Task: (TaskSubject, tuple),
    Executor: (ExecutorSubject, tuple),
}


def examined(
    plugin: type[Any], options: Mapping[str, Any] | None = None, cases: Iterable[AnyCase] | None = None
) -> Examined:
    """Return what the checks see of a plugin class.

    A class may bring its own cases: its class method ``conformance_cases`` stands in for the kit's where ``cases`` is None.

    Raises:
        TypeError: The class is of no kind that the kit examines.
    """
    if cases is None and hasattr(plugin, "conformance_cases"):
        cases = plugin.conformance_cases()
    for base, (subject, default) in OTHERS.items():
        if isinstance(plugin, type) and issubclass(plugin, base):
            return subject(plugin, dict(options or {}), tuple(default() if cases is None else cases))
    return subject_for(plugin, options, None if cases is None else tuple(cases))  # type: ignore[arg-type]


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Args:
        name: The sentence that was checked, with underscores.
        status: ``passed unexpectedly``: an expected failure was declared and did not happen.
        reason: Why it failed, was skipped, or was expected to fail; empty when passed.
        advice: Why the sentence matters and how to mend: :attr:`why` and :attr:`mend` in one text.
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

    @property
    def why(self) -> str:
        """Why the sentence matters, in one line."""
        return " ".join(self.advice.partition("Mend:")[0].split())

    @property
    def mend(self) -> str:
        """How to mend what fails, in one line."""
        return " ".join(self.advice.partition("Mend:")[2].split())


def sentence(check: Check) -> str:
    """Return a check's name without ``check_``; the key in ``expected_failures``."""
    return check.__name__.removeprefix("check_")


def expected_failures_of(subject: Examined, expected_failures: Mapping[str, str] | None = None) -> dict[str, str]:
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
    plugin: type[Any],
    options: Mapping[str, Any] | None = None,
    *,
    cases: Iterable[AnyCase] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
) -> list[CheckResult]:
    """Run every check of the plugin's kind and report each, in order.

    Args:
        plugin: A strategy, imputer, regulariser, encoder, missingness, task or executor class.
        options: Constructor arguments besides the spec.
        cases: Batches to use in place of the kit's own.
        expected_failures: Reasons by check name, added to those that the class declares.
        only: Names of the checks to run; None: all.
    """
    return list(each_check(examined(plugin, options, cases), expected_failures, only))


def each_check(
    subject: Examined, expected_failures: Mapping[str, str] | None = None, only: Iterable[str] | None = None
) -> Iterator[CheckResult]:
    """Run the checks of :func:`run_checks` and yield each result as it is there."""
    reasons = expected_failures_of(subject, expected_failures)
    wanted = None if only is None else set(only)
    for check in CHECKS[subject.kind]:
        if wanted is None or sentence(check) in wanted:
            yield _run(check, subject, reasons.get(sentence(check)))


def _run(check: Check, subject: Examined, expected: str | None) -> CheckResult:
    begun = time.perf_counter()
    status, reason = _outcome(check, subject, expected)
    return CheckResult(sentence(check), status, reason, check.__doc__ or "", time.perf_counter() - begun)


def _outcome(check: Check, subject: Examined, expected: str | None) -> tuple[Status, str]:
    try:
        with contained(str(subject)):
            check(subject.fresh())
    except CheckSkippedError as skipped:
        return "skipped", str(skipped)
    except AssertionError as failed:
        # only what a check asserts can be expected: a crash is never what an author had in mind
        return ("failed", str(failed)) if expected is None else ("failed as expected", expected)
    except Exception as error:  # noqa: BLE001 (a plugin may raise anything; the report says what)
        return "failed", f"raised {type(error).__name__}: {text_of(error)}"
    if expected is None:
        return "passed", ""
    return "passed unexpectedly", f"declared as an expected failure: {expected}"


def parametrize_with_checks(
    plugins: Iterable[type[Any] | tuple[type[Any], Mapping[str, Any]]],
    *,
    cases: Iterable[AnyCase] | None = None,
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
    subjects = [examined(plugin, options, own) for plugin, options in pairs]
    return pytest.mark.parametrize(
        ("subject", "check"),
        [parameter for subject in subjects for parameter in _parameters(subject, expected_failures)],
    )


def _parameters(subject: Examined, expected_failures: Mapping[str, str] | None) -> Iterator[Any]:
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
    def run(subject: Examined) -> None:
        try:
            check(subject.fresh())
        except CheckSkippedError as skipped:
            pytest.skip(str(skipped))

    return run
