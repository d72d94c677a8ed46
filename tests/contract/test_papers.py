"""A paper that says nothing is a paper still: everything about it has a default."""

from __future__ import annotations

import fusionbench
from fusionbench import Paper, PaperPart


def test_an_empty_paper_has_no_values_no_files_and_no_parts():
    paper = Paper()
    assert (paper.published, paper.folder, list(paper.parts), list(paper.settings)) == (None, None, [], [])
    assert (dict(paper.protocol), dict(paper.cohorts)) == ({}, {})


def test_both_are_names_of_the_package():
    assert {"Paper", "PaperPart"} <= set(fusionbench.__all__)
    assert PaperPart("table 1", "A table").files == ()
