"""Published sizes: which release the row counts speak for, and whose numbers stand beside the funnel."""

from __future__ import annotations

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
