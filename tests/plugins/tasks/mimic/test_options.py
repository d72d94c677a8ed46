"""Options of the tasks on MIMIC."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import prepare, small_tree


@pytest.mark.parametrize("option", [{"rules": "medfuse"}, {"step_hours": 1}, {"window_hours": 24}, {"image_size": 32}])
def test_every_option_that_decides_content_changes_the_digest(tmp_path, option):
    assert prepare(tmp_path, chest=True, **option).digest != prepare(tmp_path, chest=True).digest


def test_whole_and_decimal_hours_are_the_same_option(tmp_path):
    root, _ = small_tree().write(tmp_path)
    for window, step in ((48, 2), (48.0, 2.0)):
        MimicIhm(str(root), window_hours=window, step_hours=step).prepare(tmp_path / "cache", SilentProgress())
    assert len(list((tmp_path / "cache").glob("[!.]*"))) == 2  # events and series


def test_all_option_problems_are_reported_together():
    with pytest.raises(ValueError) as error:
        MimicIhm("x", step_hours=5, image_size=2, memory_limit="much", threads=0)
    text = str(error.value)
    for part in ("must divide", "image_size", "memory_limit", "threads"):
        assert part in text


def test_words_that_are_not_known_are_reported_together_and_first():
    with pytest.raises(ValueError, match="did you mean 'sound'") as error:
        MimicIhm("x", rules="souund", cohort="some", threads=0)
    assert [line.split()[0] for line in str(error.value).splitlines()] == ["rules", "cohort"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_hours": 5}, "must divide"),
        ({"step_hours": 0}, "step_hours must be a number above 0"),
        ({"window_hours": float("nan")}, "window_hours must be a number above 0"),
        ({"threads": True}, "threads must be a whole number"),
        ({"report_margin_hours": 49}, "report_margin_hours"),
        ({"root": None, "cxr_root": "x"}, "cxr_root needs root"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MimicIhm(**{"root": "x", **options})


def test_constructor_opens_nothing():
    assert MimicIhm("/does/not/exist", "/neither/does/this").root == Path("/does/not/exist")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"step_hours": 1e-9}, "step_hours must be from 0.01 to 100,000 hours"),
        ({"step_hours": 10**12, "window_hours": 10**12}, "window_hours must be from 0 to 100,000 hours"),
        ({"step_hours": 10**400}, "step_hours must be a number above 0"),
        ({"image_size": 10**12}, "image_size must be a whole number from 8 to 2048"),
        ({"threads": 10**12}, "threads must be"),
        ({"max_steps": 10**12}, "max_steps must be"),
        ({"report_margin_hours": 10**12}, "report_margin_hours must be"),
    ],
)
def test_every_number_has_a_bound(options, said):
    assert any(problem.startswith(said) for problem in Options(**options).problems())
