"""Lung subtyping: the manifest, slices and reports of a tiny generated cohort, and a run through real encoders."""

# ruff: noqa: RUF001 - reports have Chinese punctuation

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fusionbench import TargetKind
from fusionbench.config.reading import load_benchmark
from fusionbench.config.sections import SplitsSection
from fusionbench.data.splits import make_folds
from fusionbench.errors import ConfigError, DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.lung_subtyping import LungSubtyping
from tests.front import fusionbench

CLASSES = ("adenocarcinoma", "small cell", "squamous")
SIGNS = ("右肺上叶磨玻璃结节。", "左肺门肿块，纵隔淋巴结肿大。", "右肺下叶空洞性肿块。")
ROWS = 36
BENCHMARK = Path(__file__).resolve().parents[4] / "benchmarks" / "lung_subtyping.yaml"


def picture(path: Path, grey: int, size: tuple[int, int] = (40, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)


def cohort(folder: Path) -> pd.DataFrame:
    """Write slices and reports; return the manifest: row r is of class r mod 3, every fifth has no PET."""
    rows = []
    for row in range(ROWS):
        kind, name = row % 3, f"examination-{row}"
        for number in (1, 2, 10):  # by alphabet, 10 would come before 2
            picture(folder / name / f"slice{number}.png", 60 * kind + number)
        picture(folder / "pet" / f"{name}.png", 80 * kind)
        (folder / "texts").mkdir(parents=True, exist_ok=True)
        (folder / "texts" / f"{name}.txt").write_text(f"{SIGNS[kind]}\n  随访。\n", encoding="utf-8")
        rows.append(
            {
                "patient": f"patient {row // 2}",
                "label": CLASSES[kind],
                "ct": name,
                "pet": "" if row % 5 == 0 else f"pet/{name}.png",
                "report": f"texts/{name}.txt",
            }
        )
    return pd.DataFrame(rows)


def write(folder: Path, manifest: pd.DataFrame | None = None) -> Path:
    made = cohort(folder)
    (made if manifest is None else manifest).to_csv(folder / "manifest.csv", index=False)
    return folder


def prepare(folder: Path, **options):
    return LungSubtyping(str(folder), **options).prepare(folder / "cache", SilentProgress())


def problems(folder: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        prepare(folder, **options)
    for line in LungSubtyping(str(folder), **options).check(folder, SilentProgress()).lines:
        assert "examination" not in line
    assert "examination" not in str(caught.value)
    return str(caught.value)


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


def test_pictures_are_a_memory_map_of_bytes_that_is_made_once(tmp_path):
    pixels = prepare(write(tmp_path), image_size=16).modalities["pet"].values
    assert isinstance(pixels, np.memmap)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (ROWS, 16, 16)
    assert (pixels[0] == 0).all()
    assert (pixels[1] == 80).all()
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.npy")}
    prepare(tmp_path, image_size=16)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.npy")} == made


def test_of_several_slices_the_middle_or_the_mean_is_taken(tmp_path):
    write(tmp_path)
    middle = prepare(tmp_path, image_size=8).modalities["ct"].values
    assert (middle[1] == 62).all()  # slices 1, 2, 10 in order of their numbers
    mean = prepare(tmp_path, image_size=8, slices="mean").modalities["ct"].values
    assert (mean[1] == 64).all()  # 61, 62 and 70: 64.33


def test_slices_may_be_listed_and_their_order_counts(tmp_path):
    manifest = cohort(tmp_path)
    listed = "examination-1/slice10.png; examination-1/slice1.png;examination-1/slice2.png"
    manifest.loc[1, "ct"] = listed
    assert (prepare(write(tmp_path, manifest), image_size=8).modalities["ct"].values[1] == 61).all()


def test_reports_may_stand_in_the_manifest(tmp_path):
    manifest = cohort(tmp_path).drop(columns="report").assign(report_text="两肺纹理清晰，\n未见结节。")
    manifest.loc[3, "report_text"] = ""
    data = prepare(write(tmp_path, manifest), image_size=8)
    assert data.modalities["report"].values[0] == "两肺纹理清晰， 未见结节。"
    assert data.available[:, 2].tolist() == [row != 3 for row in range(ROWS)]


def test_modalities_that_are_not_asked_for_need_no_column(tmp_path):
    data = prepare(write(tmp_path, cohort(tmp_path).drop(columns="pet")), modalities=["report", "ct"], image_size=8)
    assert list(data.modalities) == ["report", "ct"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    write(tmp_path)
    manifest = tmp_path / "manifest.csv"
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert len(prepare(tmp_path, image_size=8)) == ROWS


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


def test_everything_wrong_with_a_manifest_is_said_at_once_without_names_of_files(tmp_path):
    manifest = cohort(tmp_path).drop(columns="patient").assign(label="one")
    manifest.loc[4, "ct"] = "examination-4/nowhere.png"
    manifest.loc[7, "report"] = "texts/examination-none.txt"
    (tmp_path / "examination-empty").mkdir()
    manifest.loc[8, "pet"] = "examination-empty"
    said = problems(write(tmp_path, manifest))
    assert "no column 'patient'" in said
    assert "has one class only" in said
    assert "column 'ct': files that are not there: manifest row 5;" in said
    assert "column 'pet': folders without a picture" in said
    assert "manifest row 9" in said
    assert "column 'report': files that are not there: manifest row 8;" in said


def test_a_missing_column_names_those_that_are_there(tmp_path):
    said = problems(write(tmp_path, cohort(tmp_path).rename(columns={"pet": "pets", "report": "rapport"})))
    assert "modalities: no column 'pet'; did you mean 'pets'?; it has patient, label, ct, pets, rapport" in said
    assert "no column 'report'" in said


def test_a_manifest_or_report_in_another_encoding_is_refused_with_its_line(tmp_path):
    write(tmp_path)
    (tmp_path / "texts" / "examination-6.txt").write_bytes(f"CT\n{SIGNS[0]}".encode("gb18030"))
    said = problems(tmp_path)
    assert "report of manifest row 7, line 2: not UTF-8 text, it may be GB18030" in said
    assert "iconv -f GB18030 -t UTF-8" in said
    cohort(tmp_path).assign(hospital=["a"] * 3 + ["北京"] * 33).to_csv(
        tmp_path / "manifest.csv", index=False, encoding="gb18030"
    )
    assert "manifest manifest.csv, line 5: not UTF-8 text, it may be GB18030" in problems(tmp_path)


def test_reports_without_text_or_in_two_columns_are_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "texts" / "examination-2.txt").write_text(" \n", encoding="utf-8")
    assert "column 'report': files without text: manifest row 3; leave the cell empty" in problems(tmp_path)
    cohort(tmp_path).assign(report_text="a").to_csv(tmp_path / "manifest.csv", index=False)
    assert "has both 'report' (paths) and 'report_text' (texts)" in problems(tmp_path)


def test_patients_in_two_parts_are_refused(tmp_path):
    manifest = cohort(tmp_path).assign(split=["train"] * 23 + ["test"] * 13)
    assert "1 patients are in more than one part of the split" in problems(write(tmp_path, manifest))
    manifest = manifest.drop(columns="split").assign(fold=[r % 2 for r in range(ROWS)])
    assert "18 patients are in more than one fold" in problems(write(tmp_path, manifest))


def test_slices_that_cannot_be_read_are_counted_with_their_rows(tmp_path):
    write(tmp_path)
    (tmp_path / "pet" / "examination-1.png").write_bytes(b"")
    (tmp_path / "pet" / "examination-2.png").write_bytes(b"no picture")
    Image.fromarray(np.full((8, 8), 900, np.uint16)).save(tmp_path / "pet" / "examination-3.png")
    said = problems(tmp_path, image_size=8)
    assert "modality pet: empty: manifest row 2" in said
    assert "modality pet: not a readable picture: manifest row 3" in said
    assert "modality pet: more than 8 bits: choose a window of grey values and save 8 bits: manifest row 4" in said
    assert not list((tmp_path / "cache").glob("*.partial"))


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


def test_the_check_says_what_is_there_and_what_is_thin(tmp_path):
    manifest = cohort(tmp_path).assign(split=["train"] * 24 + ["test"] * 12)
    manifest.loc[24:, "pet"] = ""
    lines = LungSubtyping(str(write(tmp_path, manifest))).check(tmp_path, SilentProgress()).lines
    assert "36 rows of 18 patients: 24 train, 12 test" in lines
    assert "modality ct: 24 train, 12 test, 108 slices" in lines
    assert "modality pet: 19 train, 0 test, 19 slices" in lines
    assert "warning: modality pet is absent from every row of test" in lines
    assert "class small cell: 8 train, 4 test" in lines
    assert "warning: small cell has fewer than 20 rows in train and test" in lines
    assert any(line.startswith("modality report: ") and "characters in the median" in line for line in lines)


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
        "encoders.report.max_length": 32,
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
    assert board["accuracy@0"].min() > 0.9


def test_the_benchmark_needs_both_folders():
    with pytest.raises(ConfigError, match="LUNG_ROOT is not set") as caught:
        load_benchmark(BENCHMARK, environ={})
    assert "BERT_ROOT is not set" in str(caught.value)
