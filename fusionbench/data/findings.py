"""What any data set tells, in lines: funnel, rows, modalities, labels, and patients in more than one part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fusionbench.contract.data import Dataset, Modality
from fusionbench.data.sameness import alike_lines
from fusionbench.targets import TargetKind

FEW_ROWS = 20
"""A label with fewer rows makes every number about it a guess."""


def describe(dataset: Dataset) -> list[str]:
    """Return what any data set tells: funnel, rows, modalities, labels, and patients in more than one part."""
    lines = [*funnel_lines(dataset), *rows_lines(dataset), *label_lines(dataset), *leak_lines(dataset)]
    return lines + alike_lines(dataset)


def rows_lines(dataset: Dataset) -> Iterator[str]:
    """Yield how many rows there are, and how many have which modality."""
    yield f"{len(dataset):,} rows of {len(np.unique(dataset.groups)):,} patients"
    for name, count in zip(dataset.modalities, dataset.available.sum(axis=0), strict=True):
        yield f"modality {name}: {count:,} of {len(dataset):,} rows ({count / len(dataset):.1%})"


def label_lines(dataset: Dataset) -> Iterator[str]:
    """Yield how many rows have each label or class; of many labels, the rarest and the most frequent."""
    target, outputs = dataset.target, dataset.shown_outputs
    if dataset.kind is TargetKind.MULTICLASS:
        counts = np.bincount(target, minlength=len(outputs))
    else:
        counts = target.reshape(len(target), -1).sum(axis=0)
    order = np.argsort(counts)
    shown = order if len(order) <= 10 else order[[0, 1, -2, -1]]
    if len(shown) < len(order):
        yield f"{len(order)} labels, {counts.sum():,} of {target.size:,} are 1; the rarest two and the most frequent two:"
    for i in shown:
        yield f"label {outputs[i]}: {counts[i]:,} of {len(target):,} rows ({counts[i] / len(target):.1%})"
    few = np.flatnonzero(np.minimum(counts, len(target) - counts) < FEW_ROWS)
    if len(few):
        names = ", ".join(outputs[i] for i in few[:10])
        yield f"warning: fewer than {FEW_ROWS} rows with or without {len(few)} of {len(counts)} labels: {names}"


def leak_lines(dataset: Dataset) -> Iterator[str]:
    """Yield whether patients are in more than one part of a split, or fold, that the data bring."""
    for what, place in (("part of the split", dataset.split), ("fold", dataset.folds)):
        if place is None:
            continue
        pairs = np.unique(np.stack([dataset.groups, np.unique(place, return_inverse=True)[1]]), axis=1)
        several = int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())
        yield f"{'warning: ' if several else ''}{several} patients are in more than one {what}"


def funnel_lines(dataset: Dataset) -> Iterator[str]:
    """Yield the funnel of the cohort, then the warnings."""
    for step in dataset.funnel:
        yield f"{step.rows:>10,}  {step.step}" + (f"  ({step.note})" if step.note else "")
    for warning in dataset.warnings:
        yield f"warning: {warning}"


def content_lines(dataset: Dataset, folder: Path) -> Iterator[str]:
    """Yield what the data set holds, modality by modality, and where it lies."""
    yield dataset.description or f"{len(dataset):,} rows"
    for name, modality in dataset.modalities.items():
        held = int(dataset.available[:, list(dataset.modalities).index(name)].sum())
        yield f"{name:>10}  {_content(modality)}, {held:,} of {len(dataset):,} rows have it"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    yield f"kept in {folder} ({size:,.1f} MB); manifest.json in each folder: settings, counts, versions, hashes"


def _content(modality: Modality) -> str:
    shape = getattr(modality.values, "shape", None)
    if shape is None:
        return modality.kind
    longest = "" if modality.lengths is None else " at most"
    return f"{modality.kind}{longest} {' x '.join(map(str, shape[1:]))}"
