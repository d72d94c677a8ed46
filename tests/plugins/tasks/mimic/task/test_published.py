"""Published sizes: which release the row counts speak for, and whose numbers stand beside the funnel."""

from __future__ import annotations

from fusionbench import FunnelStep
from fusionbench_plugins.tasks.mimic.tables.window import Window
from fusionbench_plugins.tasks.mimic.task import published
from tests.mimic_tree import prepare


def test_release_is_told_by_row_counts():
    rows = dict(published.ROWS["v2.2"])
    assert published.release_of(rows) == ("v2.2", [])
    rows["chartevents"] = 12
    assert published.release_of(rows) == ("v2.2", ["chartevents has 12 rows, v2.2 has 313,645,063"])
    assert published.release_of({"chartevents": 12}) == ("", [])
    line = published.describe_rows(rows)[1]
    assert line == "warning: chartevents has 12 rows, v2.2 has 313,645,063: is the file complete?"


def test_published_sizes_stand_beside_the_funnel_of_their_window_only(tmp_path):
    dataset = prepare(tmp_path, chest=True, cohort="paired")
    notes = {step.step: step.note for step in dataset.funnel}
    assert (
        "published: 26,226, of whom 3,262 died (MedFuse, v1.0)"
        in notes["a diagnosis code, and an event in the first 48 h"]
    )
    assert notes["every modality"].startswith("published: 6,215 with an image")
    again = published.beside_published(prepare(tmp_path, window_hours=24), "mimic_ihm", Window(24.0, full=True))
    assert not [step for step in again.funnel if "published" in step.note]


def test_the_release_with_the_most_equal_counts_is_named():
    rows = {"patients": published.ROWS["v2.1"]["patients"], "admissions": published.ROWS["v2.2"]["admissions"]}
    rows["icustays"] = published.ROWS["v2.2"]["icustays"]
    assert published.release_of(rows) == ("v2.2", ["patients has 299,777 rows, v2.2 has 299,712"])
    # tables whose count is not published for a release are not held against it
    assert published.release_of({"labevents": 122_103_667, "patients": 1}) == ("v1.0", [])


def test_rows_of_no_release_are_said_without_a_warning():
    assert published.describe_rows({"patients": 5, "icustays": 1200}) == [
        "rows read: patients 5, icustays 1,200 (of no release whose counts are published)"
    ]


def test_a_published_size_is_added_to_the_note_that_is_there():
    known = {"every modality": "published: 10"}
    assert published._noted(FunnelStep("every modality", 3, "of 8"), known).note == "of 8; published: 10"
    assert published._noted(FunnelStep("every modality", 3, ""), known).note == "published: 10"
    assert published._noted(FunnelStep("18 years or older", 3, "of 8"), known).note == "of 8"
