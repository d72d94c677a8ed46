"""The modalities of a data set, each with the encoder that a benchmark names for it: checked, and encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fusionbench.config.missing import MissingnessSection
from fusionbench.contract.batch import InputSpec
from fusionbench.contract.data import Dataset, Modality
from fusionbench.contract.isolation import owner_of, plugin_call
from fusionbench.contract.learners import Encoder
from fusionbench.data.features import Inputs, encode
from fusionbench.data.sameness import check_embeddings, check_inputs
from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.missingness.conditions import Pattern
from fusionbench.plan.parts import ModalityPart, Part, Resolved
from fusionbench.progress import Progress

ENCODING_ROWS = 64  # rows of one pass of a frozen encoder


def check_modalities(dataset: Dataset, resolved: Resolved, progress: Progress) -> None:
    """Compare the modalities that a benchmark names with those of its data.

    Raises:
        ConfigError: One has no encoder, or an arm may see one that is not there.
    """
    known, named = list(dataset.modalities), list(resolved.encoders)
    missing = [m for m in known if m not in named]
    if missing:
        raise ConfigError(f"encoders: none for modality {', '.join(missing)}; the task offers {', '.join(known)}")
    unused = [m for m in named if m not in known]
    if unused:
        progress.note(f"warning: the data hold no {', '.join(unused)}; their encoders are not used")
    problems = [
        f"{arm.strategy.where}.modalities: the task offers {', '.join(known)}; found {', '.join(sorted(unknown))}"
        for arm in resolved.arms
        if (unknown := set(arm.modalities or ()) - set(known))
    ]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def check_missingness(dataset: Dataset, missingness: MissingnessSection) -> None:
    """Compare the patterns of missing modalities, and those that are always absent, with those of the data.

    Raises:
        ConfigError: A modality is named that is not there, nothing would be left, or a pattern hides what is absent anyway.
    """
    names, absent = list(dataset.modalities), missingness.absent
    problems = [
        f"missingness.absent: no modality named '{name}'{did_you_mean(name, names)}; the data have {', '.join(names)}"
        for name in absent
        if name not in names
    ]
    if set(names) <= set(absent):
        problems.append("missingness.absent: names every modality; leave one out that rows have")
    for pattern in missingness.patterns:
        try:
            parsed = Pattern.parse(pattern, names)
        except ConfigError as problem:
            problems.append(f"missingness.patterns: {problem}")
            continue
        if hidden := [name for name in parsed.members if name in absent]:
            problems.append(
                f"missingness.patterns: pattern '{pattern}' hides {', '.join(hidden)}, which 'absent' takes from every row; "
                "leave it out of one of the two"
            )
    if problems:
        raise ConfigError(problems)


def encode_modalities(
    dataset: Dataset, resolved: Resolved, store: Path, device: torch.device, progress: Progress
) -> tuple[dict[str, Inputs], dict[str, ModalityPart]]:
    """Return what training reads of every modality, and its encoder as training sees it.

    Args:
        dataset: What the task prepared.
        resolved: The plugins of the benchmark.
        store: Folder of the feature store.
        device: Where frozen encoders run.
        progress: Where they report.

    Raises:
        ConfigError: An encoder does not read this kind of modality.
        DataError: Its pictures are all black or equal.
        PluginError: An encoder made the same of rows that differ.
    """
    check_inputs(dataset, progress)
    inputs, parts = {}, {}
    for column, (name, modality) in enumerate(dataset.modalities.items()):
        part = resolved.encoders[name]
        _check_kind(part, name, modality)
        spec = _input_spec(modality)
        encoder: Encoder = part.build(spec)
        with plugin_call(owner_of(encoder)):
            inputs[name] = encode(
                modality,
                encoder,
                {"data": dataset.digest, "modality": name, "plugin": part.registration.identity},
                store,
                device,
                ENCODING_ROWS,
                progress,
                f"encoding {name}",
                dataset.available[:, column],
            )
            decided_by_weights = encoder.frozen or encoder.weights == "pretrained"
            fingerprint = encoder.fingerprint() if decided_by_weights else ""
            parts[name] = ModalityPart(part, spec, encoder.output_dim, not encoder.frozen, fingerprint, encoder.weights)
        if inputs[name].encoded:
            available = dataset.available[:, column]
            check_embeddings(name, part.registration.name, modality, inputs[name].values, available)
    return inputs, parts


def with_remarks(dataset: Dataset, inputs: Mapping[str, Inputs]) -> Dataset:
    """Return the data set with what its encoders leave out among its warnings."""
    said = [f"modality {name}: {remark}" for name, found in inputs.items() for remark in found.remarks]
    return replace(dataset, warnings=(*dataset.warnings, *said)) if said else dataset


def _check_kind(part: Part, name: str, modality: Modality) -> None:
    accepted: frozenset[str] = part.registration.target.accepts  # type: ignore[attr-defined]
    if modality.kind not in accepted:
        raise ConfigError(
            f"{part.where}: encoder '{part.registration.name}' reads {', '.join(sorted(accepted))}, "
            f"but modality '{name}' is {modality.kind}"
        )


def _input_spec(modality: Modality) -> InputSpec:
    shape = () if isinstance(modality.values, Sequence) else tuple(modality.values.shape[1:])
    flags = () if modality.standardise is None else tuple(map(bool, modality.standardise))
    return InputSpec(modality.kind, shape, flags)
