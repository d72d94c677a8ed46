"""Lung subtyping: the manifest, slices and reports of a tiny generated cohort, and a run through real encoders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from fusionbench import TargetKind
from fusionbench.config.reading import load_benchmark
from fusionbench.config.sections import SplitsSection
from fusionbench.data.splits import make_folds
from fusionbench.errors import ConfigError
from fusionbench_plugins.tasks.lung_subtyping import LungSubtyping
from tests.front import fusionbench
from tests.plugins.tasks.lung_subtyping.folder import CLASSES, ROWS, SIGNS, cohort, prepare, write

BENCHMARK = Path(__file__).resolve().parents[4] / "benchmarks" / "lung_subtyping.yaml"


# ---------------------------------------------------------------- what is read


def test_a_manifest_becomes_a_dataset(tmp_path):
    data = prepare(write(tmp_path), image_size=16)
    assert {n: m.kind for n, m in data.modalities.items()} == {"ct": "image", "pet": "image", "report": "text"}
    assert data.kind is TargetKind.MULTICLASS
    assert data.outputs == CLASSES
    assert data.target.tolist() == [row % 3 for row in range(ROWS)]
    assert data.groups.tolist() == [row // 2 for row in range(ROWS)]
    assert data.available[:, 1].tolist() == [row % 5 != 0 for row in range(ROWS)]
    assert data.available[:, [0, 2]].all()
    assert data.modalities["report"].values[1] == f"{SIGNS[1]} 随访。"
    assert not data.synthetic
    assert data.metric == "accuracy"


def test_modalities_that_are_not_asked_for_need_no_column(tmp_path):
    data = prepare(write(tmp_path, cohort(tmp_path).drop(columns="pet")), modalities=["report", "ct"], image_size=8)
    assert list(data.modalities) == ["report", "ct"]


def test_a_split_or_folds_of_the_manifest_are_used(tmp_path):
    manifest = cohort(tmp_path)
    split = prepare(write(tmp_path, manifest.assign(split=["train"] * 24 + ["test"] * 12)), image_size=8)
    (fold,) = make_folds(split, SplitsSection(source="task"))
    assert fold.test.open("digest").tolist() == list(range(24, 36))
    folds = prepare(
        write(tmp_path, manifest.assign(fold=[-1, -1, *[r // 2 % 3 for r in range(2, ROWS)]])), image_size=8
    )
    assert len(folds) == ROWS - 2
    assert [s.rows for s in folds.funnel] == [ROWS, ROWS, ROWS - 2]
    assert len(make_folds(folds, SplitsSection(source="task", folds=3))) == 3


def test_a_copy_of_the_folder_has_the_same_digest_and_another_report_another_one(tmp_path):
    one, two = prepare(write(tmp_path / "one"), image_size=8).digest, write(tmp_path / "two")
    assert prepare(two, image_size=8).digest == one
    (two / "texts" / "examination-0.txt").write_text("未见异常。", encoding="utf-8")
    assert prepare(two, image_size=8).digest != one


# ---------------------------------------------------------------- what is refused


def test_options_that_are_not_valid_are_said_at_once():
    with pytest.raises(ValueError, match="root must name") as caught:
        LungSubtyping(None, manifest="a.txt", modalities=["ct", "mri"], image_size=0, threads=True)
    said = str(caught.value).splitlines()
    assert [line.split()[0] for line in said] == ["root", "manifest", "modalities", "image_size", "threads"]
    with pytest.raises(ValueError, match="slices must be 'middle' or 'mean', found 'last'"):
        LungSubtyping("x", slices="last")
    with pytest.raises(ValueError, match="must not repeat"):
        LungSubtyping("x", modalities=["ct", "ct"])


def test_a_metric_that_classes_do_not_have_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no metric named"):
        prepare(write(tmp_path), metric="accurracy", image_size=8)


# ---------------------------------------------------------------- the check, and a run


def test_a_folder_is_recognised_by_the_columns_of_its_manifest(tmp_path):
    options = LungSubtyping.recognises(write(tmp_path, cohort(tmp_path).drop(columns="pet")))
    assert options == {"root": str(tmp_path), "manifest": "manifest.csv", "modalities": ["ct", "report"]}
    outcome = fusionbench("data", "check", tmp_path, "--workspace", tmp_path / "runs", "--quiet")
    assert outcome.code == 0, outcome.err
    assert "36 rows of 18 patients: 36 all" in outcome.out
    (tmp_path / "manifest.csv").write_text("label,gene\n", encoding="utf-8")
    assert LungSubtyping.recognises(tmp_path) is None
    (tmp_path / "manifest.csv").unlink()
    assert LungSubtyping.recognises(tmp_path) is None


@pytest.fixture(scope="module")
def bert_root(tmp_path_factory) -> Path:
    """A BERT of two layers that knows the characters of the reports, as ``save_pretrained`` writes one."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert-chinese")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set("".join(SIGNS) + "随访"))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast.from_pretrained(str(folder)).save_pretrained(str(folder))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def resnet_root(tmp_path_factory) -> Path:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("resnet")
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), folder / "model.safetensors")
    return folder


def test_the_benchmark_runs_through_the_picture_and_text_encoders(tmp_path, monkeypatch, bert_root, resnet_root):
    scan = f"{{name: timm_image, model: test_resnet, path: '{resnet_root}', size: 32, frozen: true}}"
    settings = {
        "task.image_size": 32,
        "encoders.ct": scan,
        "encoders.pet": scan,
        "task.risk_levels": "false",
        "task.metric": "accuracy",
        "encoders.report.max_length": 32,
        "encoders.report.window": 16,
        "encoders.report.stride": 8,
        "strategies": "[concat, {name: unimodal, modality: report, label: report only}]",
        "imputers": "[zero]",
        "missingness.rates": "[0, 0.5]",
        "missingness.patterns": "[random]",
        "splits.folds": 2,
        "splits.seeds": "[0]",
        "training.epochs": 30,
        "training.learning_rate": 0.01,
        "tuning.trials": 0,
        "evaluation.resamples": 100,
        "observers": "[files]",
    }
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    monkeypatch.setenv("LUNG_ROOT", str(write(tmp_path / "lung")))
    monkeypatch.setenv("BERT_ROOT", str(bert_root))
    outcome = fusionbench("run", BENCHMARK, "--workspace", tmp_path / "runs", "--quiet", *changes)
    assert outcome.code == 0, outcome.err
    board = pd.read_csv(tmp_path / "runs" / "reports" / "lung_subtyping" / "leaderboard.csv")
    # the classes are plain in the report and the slices: even random frozen encoders tell them apart
    assert board.loc[board["strategy"] != "prevalence", "accuracy_at_0"].min() > 0.9


def test_the_benchmark_needs_the_weights_where_it_has_data_and_is_a_demo_without():
    with pytest.raises(ConfigError, match="BERT_ROOT is not set"):
        load_benchmark(BENCHMARK, environ={"LUNG_ROOT": "/data/lung"})
    demo = load_benchmark(BENCHMARK, environ={})
    assert (demo.is_demo, demo.task.options["synthetic"], demo.encoders["report"].name) == (
        True,
        {"examinations": 1000, "seed": 0},
        "hashed_words",
    )
