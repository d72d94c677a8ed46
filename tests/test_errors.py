"""The errors of the house: exit codes, several problems at once, hints at the name that was meant."""

from __future__ import annotations

import pytest

from fusionbench import errors
from fusionbench.errors import CellError, ConfigError, FusionBenchError, did_you_mean

BAD_INPUT = ["ConfigError", "PluginError", "DataError", "WeightsError", "WorkspaceError"]


@pytest.mark.parametrize("name", BAD_INPUT)
def test_what_the_user_has_to_mend_exits_with_two(name):
    kind = getattr(errors, name)
    assert issubclass(kind, FusionBenchError)
    assert kind("what").exit_code == 2


def test_what_failed_in_a_run_exits_with_one():
    assert CellError("diverged").exit_code == FusionBenchError("what").exit_code == 1


def test_every_error_of_the_module_is_one_of_the_house_and_drawn_in_its_docstring():
    found = {n for n, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert found == {*BAD_INPUT, "CellError", "FusionBenchError"}
    assert all(issubclass(getattr(errors, n), FusionBenchError) and n in errors.__doc__ for n in found)


def test_problems_are_kept_apart_and_printed_one_a_line():
    problem = ConfigError(("b.yaml:1: name: bad", "b.yaml:2: task: worse"))
    assert problem.problems == ["b.yaml:1: name: bad", "b.yaml:2: task: worse"]
    assert str(problem) == "b.yaml:1: name: bad\nb.yaml:2: task: worse"


def test_a_single_problem_is_not_taken_for_a_list_of_letters():
    assert ConfigError("bad").problems == ["bad"]
    assert str(ConfigError("bad")) == "bad"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("epoch", ["patience", "epochs"], "; did you mean 'epochs'?"),
        ("concta", iter(["sum", "concat", "concat2"]), "; did you mean 'concat'?"),
        ("zzz", ["patience", "epochs"], ""),
        ("epochs", [], ""),
    ],
)
def test_the_closest_name_is_hinted_at_and_nothing_where_none_is_close(name, known, hint):
    assert did_you_mean(name, known) == hint
