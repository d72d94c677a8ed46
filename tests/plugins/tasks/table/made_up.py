"""Made-up tables with their truth: written in many harmless ways, or with one fault, from a seed."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Rng = np.random.Generator


@dataclass
class Made:
    """A folder before it is written, and what must be read from it.

    Args:
        rng: Draws the ways of writing.
        manifest: As it should be.
        features: By modality, float64 with NaN rows for absent ones.
        kind: ``binary``, ``multiclass`` or ``multilabel``.
        options: Of the task.
        files: Content of each file once it is written, for faults that damage bytes.
    """

    rng: Rng
    manifest: pd.DataFrame
    features: dict[str, pd.DataFrame]
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    codes: Any = None

    @property
    def rows(self) -> int:
        return len(self.manifest)

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def one_of(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]


def make(seed: int) -> Made:
    """Return a table whose every number differs from every other."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(40, 90))
    ids = [f"{prefix}{i:03d}" for prefix in [rng.choice(["s", "P-", "x y ", "ß"])] for i in rng.permutation(rows)]
    manifest = pd.DataFrame({"sample_id": ids})
    kind = str(rng.choice(["binary", "multiclass", "multilabel"]))
    made = Made(rng, manifest, {}, kind)
    classes = 3 if kind == "multiclass" else 2
    made.codes = rng.permutation(np.arange(rows) % classes)
    if kind == "multilabel":
        made.codes = np.stack([made.codes, rng.permutation(made.codes)], axis=1)
        manifest["pain"], manifest["fever"] = made.codes.T
        made.options["target"] = ["pain", "fever"]
    else:
        manifest["label"] = [["alpha", "beta", "gamma"][c] for c in made.codes] if kind == "multiclass" else made.codes
    manifest["note"] = [
        made.one_of("", "fine", "a, b", 'said "no"', "two\nlines", "=1+1", "NA", "\u0301é") for _ in range(rows)
    ]
    for name in ("a", "b"):
        width = int(rng.integers(2, 6))
        values = rng.normal(size=(rows, width)) * 10.0 ** rng.integers(-9, 9)
        frame = pd.DataFrame(
            values, columns=[f"{name}{made.one_of('', ' ', '|', ';', '_', '{}')}{i}" for i in range(width)]
        )
        absent = rng.random(rows) < 0.3
        absent[:4] = False  # some rows of each modality, and no row without one
        if name == "b":
            absent &= ~made.features["a"].isna().all(axis=1).to_numpy()
        frame[absent] = np.nan
        made.features[name] = frame
        if made.chance(0.7):
            manifest[f"has_{name}"] = (~absent).astype(int)
    if sum(c.startswith("has_") for c in manifest) < 2:
        made.options["modalities"] = ["a", "b"]
    if made.chance():
        manifest["split"] = rng.permutation(np.resize(["train", "train", "validation", "test"], rows))
        _spread_labels(made)
    return made


def _spread_labels(made: Made) -> None:
    """Every class among the training rows."""
    made.manifest.loc[:11, "split"] = "train"
    made.manifest.loc[12:13, "split"] = ["validation", "test"]
    codes = made.codes if made.codes.ndim == 1 else made.codes[:, 0]
    while len(np.unique(codes[:12])) < len(np.unique(codes)) or (
        made.codes.ndim == 2 and len(np.unique(made.codes[:12, 1])) < 2
    ):
        order = made.rng.permutation(made.rows)
        made.codes = made.codes[order]
        columns = made.options.get("target", ["label"])
        made.manifest[columns] = made.manifest[columns].to_numpy()[order]
        codes = made.codes if made.codes.ndim == 1 else made.codes[:, 0]


# --------------------------------------------------------------------------------------------
# harmless ways of writing


def write(made: Made, folder: Path) -> None:
    """Write manifest and features, each in a way that is drawn."""
    manifest = made.manifest.copy()
    for name in [
        c for c in manifest if c.startswith("has_") or (made.kind != "multiclass" and c in ("label", "pain", "fever"))
    ]:
        manifest[name] = made.one_of(manifest[name], manifest[name].astype(bool), manifest[name].astype(float))
    if made.chance(0.3):
        manifest.to_parquet(folder / "manifest.parquet", index=made.one_of(None, False))
        made.options["manifest"] = "manifest.parquet"
    else:
        (folder / "manifest.csv").write_bytes(as_csv(made, manifest))
    for name, frame in made.features.items():
        write_features(made, name, frame, folder)


def write_features(made: Made, name: str, frame: pd.DataFrame, folder: Path) -> None:
    way = made.one_of("npy", "csv", "csv", "parquet", "parquet", "joined csv", "joined parquet", "indexed parquet")
    if way == "npy":
        order = made.one_of("C", "F")
        np.save(folder / f"{name}.npy", np.asarray(frame, order=order))
        if made.chance():
            ends = made.one_of("\n", "\r\n")
            text = made.one_of("", "\ufeff") + ends.join(frame.columns) + made.one_of("", ends)
            (folder / f"{name}_features.txt").write_text(text, encoding="utf-8", newline="")
        return
    if "joined" in way or "indexed" in way:
        frame = frame.assign(sample_id=made.manifest["sample_id"])
        frame = frame[~frame[frame.columns[0]].isna()] if made.chance() else frame
        frame = frame.iloc[made.rng.permutation(len(frame))]
    if "csv" in way:
        (folder / f"{name}.csv").write_bytes(as_csv(made, frame))
    elif "indexed" in way:
        frame.set_index("sample_id").to_parquet(folder / f"{name}.parquet")
    else:
        frame.to_parquet(folder / f"{name}.parquet", index=None if "joined" in way else made.one_of(None, False))


def as_csv(made: Made, frame: pd.DataFrame) -> bytes:
    quoting = made.one_of(csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
    ends = made.one_of("\n", "\r\n")
    text = frame.to_csv(index=False, quoting=quoting, lineterminator=ends)
    return (made.one_of("", "\ufeff") + text.removesuffix(ends) + made.one_of("", ends, ends * 3)).encode()


def expected(made: Made) -> dict[str, Any]:
    """Return what must be read: values with zeros where absent, availability, labels."""
    available = np.stack([~f.isna().all(axis=1).to_numpy() for f in made.features.values()], axis=1)
    values = {n: f.fillna(0).to_numpy().astype(np.float32) for n, f in made.features.items()}
    return {"values": values, "available": available, "target": np.asarray(made.codes)}


# --------------------------------------------------------------------------------------------
# one fault each; what is written then must be refused


def plain(made: Made, folder: Path) -> None:
    """Write everything as plain CSV, rows in order, so that one fault is the only one."""
    made.manifest.to_csv(folder / "manifest.csv", index=False)
    for name, frame in made.features.items():
        frame.to_csv(folder / f"{name}.csv", index=False)


Fault = Callable[[Made, Path], None]


def _text(path: Path) -> list[str]:
    return path.read_bytes().decode().split("\n")


def _lines(change: Callable[[list[str], Made], list[str]], file: str = "a.csv") -> Fault:
    def fault(made: Made, folder: Path) -> None:
        path = folder / file
        if file == "manifest.csv":
            made.manifest.assign(note="fine").to_csv(path, index=False)
        path.write_bytes("\n".join(change(_text(path), made)).encode())

    return fault


def _some(lines: list[str], made: Made, edit: Callable[[str], str]) -> list[str]:
    """Edit some lines of rows, one at least."""
    chosen = set(made.rng.choice(np.arange(1, len(lines) - 1), int(made.rng.integers(1, 5))).tolist())
    return [edit(line) if i in chosen else line for i, line in enumerate(lines)]


def _features(change: Callable[[pd.DataFrame, Made], pd.DataFrame], parquet: bool = False, **writing: Any) -> Fault:
    def fault(made: Made, folder: Path) -> None:
        frame = change(made.features["a"].copy(), made)
        (folder / "a.csv").unlink()
        if parquet:
            frame.to_parquet(folder / "a.parquet", **writing)
        else:
            frame.to_csv(folder / "a.csv", **{"index": False, **writing})

    return fault


def _manifest(change: Callable[[pd.DataFrame, Made], pd.DataFrame], parquet: bool = False, **writing: Any) -> Fault:
    def fault(made: Made, folder: Path) -> None:
        frame = change(made.manifest.copy(), made)
        if parquet:
            frame.to_parquet(folder / "manifest.parquet", **writing)
            made.options["manifest"] = "manifest.parquet"
        else:
            frame.to_csv(folder / "manifest.csv", **{"index": False, **writing})

    return fault


def _array(content: Callable[[bytes], bytes]) -> Fault:
    def fault(made: Made, folder: Path) -> None:
        saved = io.BytesIO()
        np.save(saved, made.features["a"].to_numpy())
        (folder / "a.csv").unlink()
        (folder / "a.npy").write_bytes(content(saved.getvalue()))

    return fault


def _zipped(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.npy", content)
    return made.getvalue()


def _options(**changes: Any) -> Fault:
    def fault(made: Made, folder: Path) -> None:
        made.options.update(changes)

    return fault


def _renamed(name: str) -> Fault:
    def fault(made: Made, folder: Path) -> None:
        made.options["modalities"] = [name, "b"]
        if "/" not in name and "\0" not in name and name.isprintable():
            (folder / "a.csv").rename(folder / f"{name}.csv")

    return fault


def _label_column(made: Made) -> np.ndarray:
    return made.codes if made.codes.ndim == 1 else made.codes[:, 0]


def _label(values: Callable[[Made], Any]) -> Fault:
    def change(frame: pd.DataFrame, made: Made) -> pd.DataFrame:
        column = made.options.get("target", ["label"])[0]
        return frame.assign(**{column: values(made)})

    return _manifest(change)


FAULTS: dict[str, Fault] = {
    # lines and cells
    "longer rows": _lines(lambda lines, made: _some(lines, made, lambda line: f"{line},9.9")),
    "longer rows everywhere": _lines(lambda lines, made: [lines[0], *(f"{line},9.9" for line in lines[1:-1])]),
    "trailing commas": _lines(lambda lines, made: [lines[0], *(f"{line}," for line in lines[1:-1])]),
    "an index before": _lines(lambda lines, made: [lines[0], *(f"{i},{line}" for i, line in enumerate(lines[1:-1]))]),
    "shorter rows": _lines(lambda lines, made: _some(lines, made, lambda line: line.rpartition(",")[0])),
    "longer rows of the manifest": _lines(
        lambda lines, made: _some(lines, made, lambda line: f"x,{line}"), "manifest.csv"
    ),
    "shorter rows of the manifest": _lines(
        lambda lines, made: _some(lines, made, lambda line: line.rpartition(",")[0]), "manifest.csv"
    ),
    "semicolons": _features(lambda frame, made: frame.rename(columns=lambda c: c.strip("; |{}")), sep=";"),
    "semicolons between quotes": _features(lambda frame, made: frame, sep=";", quoting=csv.QUOTE_ALL),
    "tabs between quotes in the manifest": _manifest(lambda frame, made: frame, sep="\t", quoting=csv.QUOTE_NONNUMERIC),
    "tabs": _features(lambda frame, made: frame, sep="\t"),
    "semicolons and decimal commas": _features(lambda frame, made: frame, sep=";", decimal=","),
    "decimal commas": _features(lambda frame, made: frame, decimal=","),
    "semicolons in the manifest": _manifest(lambda frame, made: frame, sep=";"),
    "tabs in the manifest": _manifest(lambda frame, made: frame.assign(note=""), sep="\t"),
    "repeated header": _lines(
        lambda lines, made: [",".join([lines[0].split(",")[0]] * (lines[0].count(",") + 1)), *lines[1:]]
    ),
    "repeated label": _lines(
        lambda lines, made: [f"{lines[0]},note", *(f"{line},0" for line in lines[1:-1])], "manifest.csv"
    ),
    "blank lines for rows": _lines(lambda lines, made: [lines[0], *_blanked(lines[1:-1])]),
    "no header": _features(lambda frame, made: frame, header=False),
    "an open quote": _lines(lambda lines, made: _some(lines, made, lambda line: f'"{line}')),
    "latin-1": _features(lambda frame, made: frame.rename(columns={frame.columns[0]: "ä"}), encoding="latin-1"),
    "utf-16": _features(lambda frame, made: frame, encoding="utf-16"),
    "utf-16 in the manifest": _manifest(lambda frame, made: frame, encoding="utf-16"),
    "fewer rows": _features(lambda frame, made: frame.iloc[:-1]),
    "more rows": _features(lambda frame, made: pd.concat([frame, frame.iloc[:1]])),
    "transposed": _features(lambda frame, made: frame.T),
    # indices
    "an index without a name": _features(lambda frame, made: frame, index=True),
    "an index of row numbers": _features(lambda frame, made: frame.reset_index()),
    "a shuffled index of Parquet": _features(
        lambda frame, made: frame.iloc[made.rng.permutation(len(frame))], parquet=True
    ),
    "an index of samples without a name": _features(
        lambda frame, made: frame.set_axis(made.manifest["sample_id"].tolist()).iloc[::-1], parquet=True
    ),
    "an index of Parquet that begins at 1": _features(
        lambda frame, made: frame.set_axis(range(1, len(frame) + 1)), parquet=True
    ),
    "unknown samples": _features(lambda frame, made: frame.assign(sample_id=[f"none{i}" for i in range(len(frame))])),
    "repeated samples": _features(lambda frame, made: frame.assign(sample_id=made.manifest["sample_id"].iloc[0])),
    "empty samples": _features(lambda frame, made: frame.assign(sample_id=[None, *made.manifest["sample_id"][1:]])),
    "samples under another name": _features(lambda frame, made: frame.assign(case=made.manifest["sample_id"])),
    "repeated samples in the manifest": _manifest(
        lambda frame, made: frame.assign(sample_id=[frame["sample_id"][1], *frame["sample_id"][1:]])
    ),
    # leaks
    "the label by name": _features(
        lambda frame, made: frame.assign(**{made.options.get("target", ["label"])[0]: made.rng.normal(size=len(frame))})
    ),
    "the label in disguise": _features(
        lambda frame, made: frame.assign(zz=np.where(frame.isna().all(axis=1), np.nan, 3 - 2 * _label_column(made)))
    ),
    "a column of the manifest": _features(lambda frame, made: frame.assign(note=made.rng.normal(size=len(frame)))),
    "row numbers": _features(lambda frame, made: frame.assign(zz=np.arange(len(frame)))),
    # numbers
    "dates": _features(lambda frame, made: frame.assign(zz=pd.Timestamp("2020-01-01")), parquet=True),
    "dates as text": _features(lambda frame, made: frame.assign(zz="2020-01-01")),
    "durations": _features(lambda frame, made: frame.assign(zz=pd.Timedelta("1h")), parquet=True),
    "words": _features(
        lambda frame, made: frame.assign(zz=made.one_of("high", "NA", "nan", "0x1F", "1_0", "1+2j", "1e", "--1"))
    ),
    "truth as text": _features(lambda frame, made: frame.assign(zz=made.one_of("True", "false"))),
    "infinity": _features(lambda frame, made: frame.mask(frame == frame.iloc[0, 0], np.inf)),
    "a hole": _features(lambda frame, made: frame.mask(frame == frame.iloc[0, 0])),
    "a large offset": _features(lambda frame, made: frame / frame.abs().max().max() + 1e9),
    "lists": _features(lambda frame, made: frame.assign(zz=[[1.0]] * len(frame)), parquet=True),
    # arrays
    "an archive": _array(_zipped),
    "half an archive": _array(lambda content: _zipped(content)[:-25]),
    "a cut array": _array(lambda content: content[:-9]),
    "an array and more": _array(lambda content: content + b"\0" * 8),
    "half a header": _array(lambda content: content[:30]),
    "text called an array": _array(lambda content: b"1,2\n"),
    "nothing called an array": _array(lambda content: b""),
    # labels
    "a label of one value": _label(lambda made: 1),
    "a label of one word": _label(lambda made: "x"),
    "a measurement as label": _label(lambda made: made.rng.normal(size=made.rows)),
    "samples as label": _label(lambda made: made.manifest["sample_id"]),
    "a label with holes": _label(lambda made: [None, *([0, 1] * made.rows)[: made.rows - 1]]),
    "other words for parts": _manifest(
        lambda frame, made: frame.assign(split=np.resize(["Train", "Test"], len(frame)))
    ),
    "no test part": _manifest(lambda frame, made: frame.assign(split="train")),
    "flags of other words": _manifest(lambda frame, made: frame.assign(has_a="yes")),
    "flags that are wrong": _manifest(lambda frame, made: frame.assign(has_a=1, has_b=1)),
    # options
    "group is a number": _options(group=3),
    "split is true": _options(split=True),
    "folds is a list": _options(folds=["fold"]),
    "group is not there": _options(group="patient"),
    "a dot in a name": _renamed("mri.t1"),
    "a plus in a name": _renamed("a+b"),
    "a dollar in a name": _renamed("$a$"),
    "a way out in a name": _renamed("../a"),
    "a name of PyTorch": _renamed("values"),
}


def _blanked(lines: list[str]) -> list[str]:
    """Make blank lines of absent rows, between others."""
    return [lines[0], "", *lines[2:]]
