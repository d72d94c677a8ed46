"""The words of radiology reports."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench_plugins.tasks.mimic.synthetic.reports import (
    CARDIAC_FINDINGS,
    EVIDENCE_FINDINGS,
    INTERPLAY_FINDINGS,
    grade,
    write_reports,
)


def test_staggered_grades_give_the_latent_back():
    latent = np.linspace(-2.2, 2.2, 500)
    for findings in (EVIDENCE_FINDINGS, INTERPLAY_FINDINGS):
        grades = grade(latent, findings)
        assert grades.min() == 0
        assert grades.max() == len(findings[0].grades) - 1
        assert np.corrcoef(grades.sum(axis=1), latent)[0, 1] > 0.995


@pytest.mark.parametrize("findings", [EVIDENCE_FINDINGS, INTERPLAY_FINDINGS, CARDIAC_FINDINGS])
def test_grades_rise_with_the_latent_and_are_staggered(findings):
    grades = grade(np.linspace(-4, 4, 400), findings)
    assert (np.diff(grades, axis=0) >= 0).all()
    assert (grades[0] == 0).all()
    assert (grades[-1] == len(findings[0].grades) - 1).all()
    assert np.diff(grades, axis=0).sum(axis=1).max() == 1  # no two thresholds are the same


def written(seed=0, rows=40):
    rng = np.random.default_rng(7)
    shown, cardiac = rng.standard_normal((rows, 2)), rng.standard_normal(rows)
    return write_reports(shown, cardiac, np.arange(rows) % 2 == 0, np.random.default_rng(seed))


def test_every_finding_is_said_in_every_report_once():
    for text in written():
        flat = " ".join(text.split())
        for finding in (*EVIDENCE_FINDINGS, *INTERPLAY_FINDINGS, *CARDIAC_FINDINGS):
            assert sum(finding.sentence.format(word) in flat for word in finding.grades) == 1


def test_the_view_is_named_and_lines_are_short_and_begin_with_a_blank():
    for row, text in enumerate(written()):
        assert ("PORTABLE AP" in text) == (row % 2 == 1)
        assert all(line.startswith(" ") and len(line) <= 78 for line in text.splitlines())


def test_the_generator_decides_the_order_and_nothing_of_what_is_found():
    assert written(0) == written(0)
    one, other = written(0), written(1)
    assert one != other
    words = [
        {w for f in EVIDENCE_FINDINGS for w in f.grades if f.sentence.format(w) in " ".join(t.split())}
        for t in (one[0], other[0])
    ]
    assert words[0] == words[1]
