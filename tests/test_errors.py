"""The errors of the house: exit codes, several problems at once, hints at the name that was meant."""

# ruff: noqa: RUF001 - names are written in any script

from __future__ import annotations

import pytest

from fusionbench import errors
from fusionbench.errors import (
    CellError,
    ConfigError,
    FusionBenchError,
    PluginError,
    WorkspaceError,
    did_you_mean,
    printable,
    without_secrets,
)

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


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain ÄÖ 北京 می\u200cخواهم", "plain ÄÖ 北京 می\u200cخواهم"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\u202eb", r"a\u202eb"),
        ("lone \ud800", r"lone \ud800"),
        ("bell\a\x00", r"bell\x07\x00"),
        ("two\nlines", r"two\nlines"),
    ],
)
def test_what_would_steer_a_terminal_is_shown_as_text(text, wanted):
    assert printable(text) == wanted
    printable(text).encode("utf-8")


def test_messages_keep_their_lines_and_nothing_else_that_steers():
    assert str(FusionBenchError("column \x1b[2J\n  next")) == "column \\x1b[2J\n  next"


@pytest.mark.parametrize(
    ("name", "known"), [("label", "LABEL"), ("SPLIT", "split"), ("has_a", "HAS_A "), ("intime", "InTime")]
)
def test_names_in_other_letters_are_near(name, known):
    assert did_you_mean(name, ["other", known, "more"]) == f"; did you mean '{known}'?"


# --------------------------------------------------------------------------------------------
# passwords

SECRETS = [
    "postgresql://user:CANARY@db.example/mlflow",
    "mysql+pymysql://user:CANARY@db:3306/x?charset=utf8",
    "https://CANARY@server/path",
    "http://user:CAN/ARY:CANARY@server:5000",
    "http://user:CAN@CANARY@server:5000",
    "http://user:CAN?ARY#CANARY@server",
    "https://server/api?token=CANARY&x=1",
    "postgresql://db/x?user=a&password=CANARY",
    "s3://bucket/x?X-Amz-Signature=CANARY",
    "https://server?api_key=CANARY;b=2",
]


@pytest.mark.parametrize("address", SECRETS)
def test_no_error_holds_a_password(address):
    for text in (address, f"MLflow at '{address}' did not answer", f"a {address} and a {address}"):
        assert "CANARY" not in without_secrets(text)
        assert "***" in without_secrets(text)
        for kind in (ConfigError, WorkspaceError, PluginError):
            assert "CANARY" not in str(kind(text))
    assert "CANARY" not in str(ConfigError([address, address]))
    assert "CANARY" not in str(without_secrets({"a": [{"b": address}]}))


@pytest.mark.parametrize(
    "text",
    [
        "a@b.c",
        "https://server/path",
        "https://arxiv.org/abs/1234.5678",
        "sqlite:///folder/mlflow.db",
        "row 3: x@y",
        "https://server:5000/a?page=2",
        "see https://a.b/c and mail x@y.z",
    ],
)
def test_what_holds_no_password_stays(text):
    assert without_secrets(text) == text
