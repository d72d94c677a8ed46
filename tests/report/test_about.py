"""The sections about a run."""

from __future__ import annotations

from dataclasses import replace

from fusionbench.report import Table, Text, about
from tests.builders import make_run, toy_dataset


def test_what_failed_is_listed_with_its_reason_and_an_interruption_is_said(summary):
    found = about.failures(replace(summary, failures=[("lmf / zero, fold 0", "diverged")], interrupted=True))
    (table,) = [b for b in found.blocks if isinstance(b, Table)]
    assert table.rows == [["lmf / zero, fold 0", "diverged"]]
    assert [b.words for b in found.blocks if isinstance(b, Text)] == [
        "The run was interrupted; the same command goes on where it stopped."
    ]


def test_folders_and_servers_of_this_machine_are_not_on_the_page(tmp_path):
    run = make_run(
        tmp_path,
        toy_dataset(),
        tracking={"uri": "http://user:secret@server"},
        encoders={"a": "identity", "b": "identity", "c": "identity"},
    )
    plan = replace(run.plan, benchmark=run.benchmark.model_copy(update={"task": run.benchmark.task.model_copy()}))
    plan.benchmark.task.__pydantic_extra__["root"] = "/data/of/somebody/mimic-iv"
    text = about.configuration(plan)
    assert "root: '.../mimic-iv'" in text
    assert "secret" not in text
    assert "somebody" not in text
