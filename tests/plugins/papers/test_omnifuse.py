"""OmniFuse's published values: the file against a second transcription, made from the paper's text by itself."""

from __future__ import annotations

from collections import Counter

import pytest

from fusionbench.analysis.published import read_values
from fusionbench_plugins.papers.omnifuse import OmniFuse

NAMES = {"EHR": "ehr", "CXR": "cxr", "REP": "report", "CT": "ct", "PET": "pet"}
TASKS = {"mortality": "mimic_ihm", "phenotyping": "mimic_phenotyping", "lung": "lung_subtyping"}
METHODS = ["concat", "sum", "se_gate", "g_blend", "ogm_ge", "pmr", "medfuse", "dwfuse"]

TABLE_2 = """
mortality    EHR+CXR+REP  811 828 -17
mortality    EHR+REP      817 828 -11
mortality    EHR+CXR      819 828  -9
mortality    CXR+REP      724 741 -17
phenotyping  EHR+CXR+REP  696 714 -18
phenotyping  EHR+REP      694 714 -20
phenotyping  EHR+CXR      701 714 -13
phenotyping  CXR+REP      654 664 -10
lung         CT+PET+REP   812 833 -21
lung         CT+PET       815 833 -18
lung         CT+REP       822 833 -11
lung         PET+REP      787 803 -16
"""
TABLE_3 = """
EHR+CXR      819 815 822 830 828 830 839 847
EHR+REP      817 815 820 825 829 831 827 834
CXR+REP      724 725 727 738 736 734 732 748
EHR+CXR+REP  811 807 815 831 836 834 845 859
"""
TABLE_4 = {
    "mortality": """
        CXR+REP EHR+CXR EHR+REP EHR+CXR+REP
        724 819 817 811
        748 847 834 859
        754 861 854 872
        772 863 862 870
        789 855 854 863
        803 867 862 872""",
    "lung": """
        CT+PET CT+REP PET+REP CT+PET+REP
        815 822 787 812
        845 849 819 868
        859 861 833 889
        863 869 842 890
        860 863 850 868
        869 874 859 894""",
}
COMPONENTS = [("concat", "", "zero"), ("dwfuse", "", "zero"), ("dwfuse", "tla", "zero"), ("dwfuse", "tla", "cra")]
COMPONENTS += [("dwfuse", "", "cra_cycle"), ("dwfuse", "tla", "cra_cycle")]


def modalities(joined):
    return "+".join(NAMES[name] for name in joined.split("+"))


def numbers(cells):
    return [int(cell) / 1000 for cell in cells]


def transcribed():
    """Every number of the tables: where it stands, what it is about, and its value."""
    for line in TABLE_2.split("\n")[1:-1]:
        task, joined, *cells = line.split()
        fused, single, drop = numbers(cells)
        about = TASKS[task], modalities(joined)
        yield "table 2", *about, ("concat", "", "zero"), "score", fused
        yield "table 2", *about, ("", "", ""), "best single", single
        yield "table 2", *about, ("concat", "", "zero"), "drop", drop
    for line in TABLE_3.split("\n")[1:-1]:
        joined, *cells = line.split()
        for method, value in zip(METHODS, numbers(cells), strict=True):
            yield "table 3", "mimic_ihm", modalities(joined), (method, "", "zero"), "score", value
    for task, text in TABLE_4.items():
        sets, *rows = [line.split() for line in text.strip().split("\n")]
        for components, cells in zip(COMPONENTS, rows, strict=True):
            for joined, value in zip(sets, numbers(cells), strict=True):
                yield "table 4", TASKS[task], modalities(joined), components, "score", value
    for task, joined, first, last in (("mortality", "EHR+CXR+REP", 811, 872), ("lung", "CT+PET+REP", 812, 894)):
        for components, value in ((COMPONENTS[0], first), (COMPONENTS[-1], last)):
            yield "headline", TASKS[task], modalities(joined), components, "score", value / 1000


@pytest.fixture(scope="module")
def values():
    return read_values(OmniFuse.published)


def test_every_number_of_the_tables_is_there_once_and_no_other(values):
    printed = [v for v in values if not v.table.startswith("figure")]
    found = [
        (v.table, v.task, v.modalities, (v.strategy, v.regularisers, v.imputer), v.measure, round(v.value, 6))
        for v in printed
    ]
    assert Counter(found) == Counter((*t[:-1], round(t[-1], 6)) for t in transcribed())
    assert {v.metric for v in printed} == {"auroc"}
    assert {(v.rate, v.pattern) for v in printed} == {(0.0, "")}


def test_drops_are_fused_minus_best_single(values):
    for v in (v for v in values if v.measure == "drop"):
        same = {o.measure: o.value for o in values if (o.table, o.row) == (v.table, v.row)}
        assert same["score"] - same["best single"] == pytest.approx(v.value)


def test_numbers_of_figures_say_that_they_are_read_from_the_text(values):
    found = [v for v in values if v.table.startswith("figure")]
    assert [(v.table, v.imputer, v.rate, v.value) for v in found] == [
        ("figure 6", "cra_cycle", 0, 0.87),
        ("figure 6", "cra_cycle", 0.9, 0.86),
        ("figure 6", "zero", 0.9, 0.83),
    ]
    assert all(v.obtained.startswith("read from the text: ") for v in found)


def test_rows_d_and_e_carry_their_reading(values):
    rows = [v for v in values if v.table == "table 4" and ("(d)" in v.row or "(e)" in v.row)]
    assert len(rows) == 16
    assert all("inferred" in v.row and "inferred" in v.obtained for v in rows)
    assert not any("inferred" in v.obtained for v in values if v not in rows)


def test_every_part_has_a_file_and_every_value_a_part(values):
    missing = [f for part in OmniFuse.parts for f in part.files if not (OmniFuse.folder / f).is_file()]
    assert missing == []
    assert {v.table for v in values} <= {part.name for part in OmniFuse.parts}
    wanted = [f"table {n}" for n in (1, 2, 3, 4)] + [f"figure {n}" for n in (2, 4, 5, 6, 7, 8)]
    assert [part.name for part in OmniFuse.parts] == ["headline", *wanted]
