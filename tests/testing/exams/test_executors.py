"""Executors that are wrong on purpose: each is rejected by the check that is meant for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusionbench import Executor, Message, Tries, UnitResult, attempt
from fusionbench.errors import ConfigError
from fusionbench.testing import run_checks
from fusionbench_plugins.executors.local import LocalProcesses


class GoodExecutor(Executor):
    """Does everything in this process."""

    retries = 2

    def places(self):
        return 1

    def begun(self, units):
        return list(units)

    def back(self, result):
        return result

    def work(self, units, perform, watch):
        waiting, tries = self.begun(units), Tries(watch, self.retries)
        while waiting:
            unit = waiting.pop(0)
            result = attempt(perform, unit, lambda m, u=unit: self.tell(watch, u, m))
            if isinstance(result, UnitResult):
                watch.finished(unit, "here", self.back(result))
            elif result.everywhere:
                self.refuse(result.text)
            elif self.again(tries, unit, result.text):
                waiting.append(unit)

    def tell(self, watch, unit, message: Message):
        watch.heard(unit, "here", message)

    def refuse(self, text):
        raise ConfigError(text)

    def again(self, tries, unit, text):
        return tries.again(unit, "here", text)


class HasNoPlace(GoodExecutor):
    def places(self):
        return 0


class SaysNothingOfWhere(GoodExecutor):
    def described(self):
        return " "


class DoesUnitsTwice(GoodExecutor):
    def begun(self, units):
        return [*units, *units]


class ForgetsTheLast(GoodExecutor):
    def begun(self, units):
        return list(units)[:-1]


class FinishesTheFirstInAnyCase(GoodExecutor):
    def work(self, units, perform, watch):
        from fusionbench.testing.exams.executors import UNITS

        watch.finished(UNITS[0], "here", UnitResult())
        super().work(units, perform, watch)


class LosesFailures(GoodExecutor):
    def back(self, result):
        return replace(result, failures={})


class CutsFiles(GoodExecutor):
    def back(self, result):
        return replace(result, files={name: content[:1] for name, content in result.files.items()})


class IsSilent(GoodExecutor):
    def tell(self, watch, unit, message):
        """Say nothing."""


class GivesUpAtOnce(GoodExecutor):
    retries = 0


class TriesAgainAndDoesNotSay(GoodExecutor):
    def again(self, tries, unit, text):
        return True


class DropsWhatFails(GoodExecutor):
    def again(self, tries, unit, text):
        return False


class SwallowsWhatIsWrongEverywhere(GoodExecutor):
    def refuse(self, text):
        """Go on."""


class HidesTheReason(GoodExecutor):
    def refuse(self, text):
        raise ConfigError("it did not work")


WRONG_EXECUTORS = [
    (HasNoPlace, "places_are_counted_and_described"),
    (SaysNothingOfWhere, "places_are_counted_and_described"),
    (DoesUnitsTwice, "every_unit_is_finished_once"),
    (ForgetsTheLast, "every_unit_is_finished_once"),
    (FinishesTheFirstInAnyCase, "nothing_to_do_is_done_at_once"),
    (LosesFailures, "results_come_back_whole"),
    (CutsFiles, "results_come_back_whole"),
    (IsSilent, "what_workers_say_is_passed_on"),
    (GivesUpAtOnce, "what_fails_in_one_place_is_tried_again"),
    (DropsWhatFails, "what_fails_everywhere_is_given_up_and_the_others_are_done"),
    (SwallowsWhatIsWrongEverywhere, "what_is_wrong_everywhere_ends_the_work"),
    (HidesTheReason, "what_is_wrong_everywhere_ends_the_work"),
]


def test_a_correct_executor_passes_everything():
    assert {r.status for r in run_checks(GoodExecutor)} == {"passed"}


def test_processes_of_this_machine_pass_everything():
    """Takes long: each check starts two processes, which import torch. Ray and Slurm take the exam in the slow tests."""
    found = run_checks(LocalProcesses, {"devices": ["cpu", "cpu"]})
    assert [(r.name, r.reason) for r in found if r.status != "passed"] == []


@pytest.mark.parametrize(("plugin", "name"), WRONG_EXECUTORS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_executor_is_found_out(plugin, name):
    (result,) = run_checks(plugin, only=[name])
    assert result.status == "failed"
    assert not result.reason.startswith("raised")


def test_a_unit_that_is_tried_again_in_secret_is_found_out():
    (result,) = run_checks(TriesAgainAndDoesNotSay, only=["what_fails_in_one_place_is_tried_again"])
    assert (result.status, result.reason) == ("failed", "nobody was told that the unit was lost")
