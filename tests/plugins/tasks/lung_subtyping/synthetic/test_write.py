"""A made-up cohort in files: the task reads it back, says that it is made up, and equal settings give equal data."""

from __future__ import annotations

from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.lung_subtyping import LungSubtyping
from fusionbench_plugins.tasks.lung_subtyping.levels import LEVELS
from fusionbench_plugins.tasks.lung_subtyping.synthetic import SyntheticLung, write_cohort
from tests.front import fusionbench

DIALS = {"examinations": 80, "image_size": 32}


def made(cache, **options):
    given = {"synthetic": DIALS, "risk_levels": True, "image_size": 32, "metric": "auroc", **options}
    return LungSubtyping(**given).prepare(cache, SilentProgress())


def test_the_task_reads_it_back(tmp_path):
    dataset = made(tmp_path / "cache")
    assert (dataset.synthetic, dataset.outputs, len(dataset)) == (True, LEVELS, 80)
    assert dataset.description.startswith("SYNTHETIC. ")
    assert dataset.available[:, 0].all()
    assert 0.5 < dataset.available[:, 1].mean() < 0.95
    texts = dataset.modalities["report"].values
    assert all(bool(text) == there for text, there in zip(texts, dataset.available[:, 2], strict=True))


def test_equal_settings_give_equal_data_wherever_they_are_written(tmp_path):
    first = made(tmp_path / "one")
    assert made(tmp_path / "two").digest == first.digest
    assert made(tmp_path / "three", synthetic={**DIALS, "seed": 1}).digest != first.digest
    write_cohort(tmp_path / "written", SyntheticLung(**DIALS), SilentProgress())
    again = made(tmp_path / "four", synthetic=None, root=str(tmp_path / "written"))
    assert (again.digest, again.synthetic) == (first.digest, True)


def test_the_command_writes_it_and_says_how_to_use_it(tmp_path):
    dials = ["--set", "examinations=60", "--set", "image_size=32"]
    outcome = fusionbench("data", "synth", tmp_path / "lung", "--task", "lung_subtyping", *dials, "--quiet")
    assert outcome.code == 0
    assert f"LUNG_ROOT={tmp_path / 'lung'} fusionbench run" in outcome.out
    assert fusionbench("data", "check", tmp_path / "lung", "--workspace", tmp_path / "runs", "--quiet").code == 0
    again = fusionbench("data", "synth", tmp_path / "lung", "--task", "lung_subtyping", "--quiet")
    assert (again.code > 0, "is not empty" in again.err) == (True, True)
    wrong = fusionbench("data", "synth", tmp_path / "new", "--task", "lung_subtyping", "--set", "stays=5", "--quiet")
    assert (wrong.code, "no dial named 'stays'" in wrong.err) == (2, True)
