"""Names of modalities, checked where a data set is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusionbench.contract.names import LONGEST, name_problem, name_problems
from fusionbench.errors import DataError
from tests.builders import toy_dataset


@pytest.mark.parametrize(
    "name", ["ehr", "cxr2", "t1-weighted", "gene_expression", "T2 flair", "图像", "Übersicht", "2d"]
)
def test_letters_digits_and_what_joins_words_are_accepted(name):
    assert name_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        " a",
        "a ",
        "a  b",
        "mri.t1",
        "a+b",
        "$x$",
        "../a",
        "a/b",
        "a\\b",
        "a\nb",
        "a\0",
        "=a",
        "-a",
        "_a",
        "a:b",
        "a,b",
        "\ud800",
        "a" * 65,
    ],
)
def test_names_that_are_syntax_somewhere_are_refused_with_what_is_accepted(name):
    assert f"{LONGEST} characters at most" in name_problem(name)


@pytest.mark.parametrize("name", ["type", "values", "forward", "get", "to", "training"])
def test_names_that_pytorch_takes_are_refused(name):
    assert "taken by PyTorch" in name_problem(name)


def test_words_of_patterns_and_what_is_no_text_are_refused():
    assert "pattern of missing modalities" in name_problem("random")
    assert "a name is text" in name_problem(3)


def test_every_name_of_a_data_set_is_checked_where_it_is_made_and_all_at_once():
    toy = toy_dataset(rows=4)
    first, second, *_ = toy.modalities.values()
    with pytest.raises(DataError) as caught:
        replace(toy, modalities={"mri.t1": first, "a+b": second})
    assert len(str(caught.value).splitlines()) == 2
    assert len(name_problems(["a", "b.c", "d$"])) == 2


def test_names_of_classes_cannot_steer_a_terminal():
    assert replace(toy_dataset(rows=4), outputs=("\x1b[31mred\n",)).outputs == (r"\x1b[31mred\n",)
    assert replace(toy_dataset(rows=4), description="two\nlines \ud800").description == "two\nlines \\ud800"
