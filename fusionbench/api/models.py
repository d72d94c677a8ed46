"""One trained model, and what a user does with it: predict new rows, keep it, read it back."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from fusionbench import __version__
from fusionbench.api.asking import Asked
from fusionbench.api.building import Built, build, trained
from fusionbench.api.memory import modality_of, require, task_of
from fusionbench.commands.opening import set_environment
from fusionbench.config.sections import Benchmark
from fusionbench.contract.data import Dataset, Modality
from fusionbench.data.table import Scaling
from fusionbench.errors import ConfigError, DataError
from fusionbench.keys import PROTOCOL_VERSION
from fusionbench.metrics.recalibration import Fits, Known, applied, fits_of
from fusionbench.missingness.subsets import prevalence_of
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.given import registration_of
from fusionbench.plugins.proposals import proposed_encoders as kinds_proposed
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.screen.notebook import progress_here
from fusionbench.store.files import write_atomically
from fusionbench.store.workspace import Workspace
from fusionbench.targets import TargetKind
from fusionbench.training.devices.device import find_device
from fusionbench.training.prediction import predict_conditions

if TYPE_CHECKING:
    import pandas as pd

FORMAT: Final = 1
NAME: Final = "model"


@dataclass(frozen=True)
class _Calibrated:
    """What turns logits into probabilities: fitted on validation rows, which are not kept."""

    fits: Fits
    prevalence: NDArray[np.float64]


class Model:
    """One trained model, made by :func:`fusionbench.fit` or read by :meth:`load`."""

    def __init__(self, built: Built, calibrated: _Calibrated, said: Mapping[str, Any]) -> None:
        self._built, self._calibrated = built, calibrated
        self._said = dict(said)

    def __repr__(self) -> str:
        names = ", ".join(f"{n} ({m.spec.kind})" for n, m in self._built.blueprint.modalities.items())
        return f"<Model {self._built.arm.label}, reads {names}; validation {self._said['metric']} {self._said['score']:.3f}>"

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it reads, in order."""
        return tuple(self._built.blueprint.modalities)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the label, the labels or the classes: the columns of :meth:`predict_proba`."""
        return tuple(self._built.dataset.outputs)

    @property
    def validation_score(self) -> float:
        """Score of validation rows in the epoch that was kept; it chose the epoch, and promises too much."""
        return float(self._said["score"])

    def predict_proba(self, arrays: Mapping[str, Any], present: Mapping[str, Any] | None = None) -> NDArray[np.float64]:
        """Predict new rows.

        Args:
            arrays: By name of a modality, as :func:`fusionbench.dataset` takes them. One that is left out nobody has.
            present: By name, bool ``[rows]``, True = the row has it; what is not named follows from the arrays.

        Returns:
            Probabilities, float64 ``[rows, outputs]``, recalibrated as the benchmark does before it scores; of a row that shows
            the model nothing, the share among the training rows.

        Raises:
            DataError: A modality is unknown, or of another kind or shape than in training.
        """
        data = self._rows(arrays, present or {})
        built, names = self._built, self.modalities
        table = built.table(data)
        shown = torch.as_tensor(data.available, device=table.device)
        table, usable = built.completed(table, shown)
        built.population.table = table
        rows = torch.arange(len(data), device=table.device)
        logits = predict_conditions(built.population, rows[None], usable[None, None])[0, 0].cpu().numpy()
        read = [names.index(n) for n in names if names.index(n) in built.population.template.columns]
        bits = np.zeros(len(names), dtype=np.int64)
        bits[read] = 1 << np.asarray(read)
        return applied(
            self._calibrated.fits, logits, data.available @ bits, self._calibrated.prevalence, built.dataset.kind
        )

    def predict(self, arrays: Mapping[str, Any], present: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return :meth:`predict_proba` with the names of the outputs."""
        import pandas as pd

        return pd.DataFrame(self.predict_proba(arrays, present), columns=list(self.outputs))

    def _rows(self, arrays: Mapping[str, Any], present: Mapping[str, Any]) -> Dataset:
        known = self._built.dataset.modalities
        if unknown := [n for n in (*arrays, *present) if n not in known]:
            raise DataError(f"arrays: the model reads {', '.join(known)}; found {', '.join(map(str, unknown))}")
        found = {n: modality_of(n, values, present.get(n)) for n, values in arrays.items()}
        counts = {len(there) for _, there in found.values()}
        if len(counts) != 1:
            raise DataError(f"arrays: every modality needs the same number of rows; found {sorted(counts)}")
        rows = counts.pop()
        modalities, columns = {}, []
        for name, like in known.items():
            modality, there = found.get(name, (blank(like, rows), np.zeros(rows, dtype=np.bool_)))
            modalities[name] = _fitting(name, modality, like)
            columns.append(there)
        data, several = self._built.dataset, self._built.dataset.target.shape[1:]
        return replace(
            data,
            modalities=modalities,
            available=np.stack(columns, axis=1),
            target=np.zeros((rows, *several), dtype=np.int64),
            groups=np.arange(rows, dtype=np.int64),
            split=None,
            folds=None,
            ceiling=None,
        )

    # ---------------------------------------------------------------- files

    def save(self, path: str | Path) -> Path:
        """Write the model to a file of safetensors: numbers and a description, no code and no row of the training data.

        Raises:
            ConfigError: Its imputer keeps rows of the training data.
        """
        from safetensors.torch import save

        built = self._built
        if built.completes:
            raise ConfigError(
                f"imputer '{built.arm.imputer_name}' is fitted on inputs and keeps rows of the training data; a model with "
                "it is not saved: use an imputer of embeddings (zero, mean, learned)"
            )
        path = Path(path)
        tensors = {f"state/{n}": t.contiguous().cpu() for n, t in built.population.state_of(0).items()}
        for name, scaling in built.population.scalings().items():
            tensors |= {f"mean/{name}": scaling.mean.cpu(), f"scale/{name}": scaling.scale.cpu()}
        fits = self._calibrated.fits
        calibration = {"prevalence": self._calibrated.prevalence, **fits._asdict()}
        tensors |= {f"calibration/{n}": torch.from_numpy(np.array(v)) for n, v in calibration.items()}
        said = {**self._said, "format": FORMAT, "outputs": list(self.outputs), "kind": str(built.dataset.kind)}
        said |= {"modalities": {n: _described(m) for n, m in built.dataset.modalities.items()}}
        write_atomically(path, save(tensors, metadata={"fusionbench": json.dumps(said, sort_keys=True)}))
        return path

    @classmethod
    def load(
        cls,
        path: str | Path,
        strategies: Sequence[type] = (),
        plugins: Sequence[str] = (),
        device: str = "auto",
    ) -> Model:
        """Read a model that was saved.

        Args:
            path: The file.
            strategies: Classes of this session that the model is made of.
            plugins: Files and modules of plugins that it is made of.
            device: Where it predicts.

        Raises:
            DataError: It is no such file.
            ConfigError: A plugin that it is made of is not there.
        """
        from safetensors import SafetensorError, safe_open

        set_environment()
        try:
            with safe_open(path, framework="pt") as file:
                said = json.loads((file.metadata() or {})["fusionbench"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        except (OSError, SafetensorError, KeyError, ValueError) as problem:
            raise DataError(f"{path}: no model of fusionbench, or damaged: {problem}") from None
        if said.get("format") != FORMAT:
            raise DataError(f"{path}: format {said.get('format')!r:.40}; this version reads {FORMAT}")
        found = Plugins(plugins).require_extra()
        for target in strategies:
            found.add(registration_of(target))
        modalities = {n: _undescribed(d) for n, d in said["modalities"].items()}
        data = _without_rows(modalities, TargetKind(said["kind"]), tuple(said["outputs"]))
        found.add(task_of(data))
        benchmark = Benchmark.model_validate(said["benchmark"])
        resolved = resolve(benchmark, found, lambda _: f"{path}: ")
        (arm,) = resolved.arms
        made_by = {role or "strategy": part.registration.identity for role, part in arm.parts.items()}
        if changed := [role for role, identity in made_by.items() if identity != said["made_by"].get(role)]:
            warnings.warn(
                f"{path}: trained with another version of its {', '.join(changed)}; its predictions may differ",
                stacklevel=2,
            )
        with tempfile.TemporaryDirectory() as folder:
            built = build(benchmark, resolved, data, Path(folder), find_device(device), SilentProgress())
        built.population.restore_members([{n[6:]: t for n, t in tensors.items() if n.startswith("state/")}])
        scalings = {n[5:]: Scaling(t, tensors[f"scale/{n[5:]}"]) for n, t in tensors.items() if n.startswith("mean/")}
        built.population.standardise_by(scalings)
        numbers = {n[12:]: t.numpy() for n, t in tensors.items() if n.startswith("calibration/")}
        fits = Fits(**{name: numbers[name] for name in Fits._fields})
        return cls(built, _Calibrated(fits, numbers["prevalence"]), said)


def fit(
    strategy: str | type | Mapping[str, Any],
    dataset: Dataset,
    *,
    imputer: str | type | Mapping[str, Any] = "zero",
    encoders: Mapping[str, Any] | None = None,
    seed: int = 0,
    plugins: Sequence[str] = (),
    workspace: str | Path | None = None,
    device: str = "auto",
    quiet: bool = False,
    **settings: Any,
) -> Model:
    """Train one model on data in memory, as a benchmark trains it, and return it for use.

    All rows are used: ``splits.validation`` of the patients choose the epoch and calibrate, the others are trained on. Where the
    data come with a split, its test rows are left out. How good such a model is says a benchmark, and not this.

    Args:
        strategy: A name, a class of your own, or a dictionary with options (those that won are in :attr:`Results.trials`).
        dataset: As :func:`fusionbench.dataset` makes it.
        imputer: What fills absent modalities; the same.
        encoders: By modality; None: the one that is proposed for the kind of each.
        seed: Keys every random draw.
        plugins: Files and modules of plugins.
        workspace: Where embeddings of frozen encoders are kept; None: nowhere.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        quiet: Show no progress.
        **settings: Keys of a benchmark: ``training={"epochs": 20}``, ``model={"width": 32}``.

    Raises:
        FusionBenchError: Something of it is wrong, or the model could not be trained.
    """
    set_environment()
    data, found = require(dataset), Plugins(plugins).require_extra()
    found.add(task_of(data))
    document = {
        "name": NAME,
        "task": task_of(data).name,
        "encoders": encoders if encoders is not None else proposed_encoders(data, found),
        "imputers": [imputer],
        "strategies": [strategy],
        "missingness": {"patterns": ["random"], "rates": [0]},
    }
    settings = {**settings, "splits": {**settings.get("splits", {}), "seeds": [seed]}}
    asked = Asked(document, (), settings, found)
    with asked.read(None) as (readings, _):
        from fusionbench.commands.opening import checked

        benchmark, places = next(iter(checked(readings, found).panels.values()))
    resolved = resolve(benchmark, found, places.at)
    progress = progress_here(quiet)
    with tempfile.TemporaryDirectory() as folder:
        features = Path(folder) if workspace is None else Workspace(Path(workspace)).features
        built = build(benchmark, resolved, data, features, find_device(device), progress)
        built, fitted, known = trained(built, seed, progress)
    prevalence = prevalence_of(data, built.development.train)
    calibrated = _Calibrated(fits_of(Known(*known, prevalence, data.kind)), prevalence)
    made_by = {role or "strategy": part.registration.identity for role, part in built.arm.parts.items()}
    said = {
        "version": __version__,
        "protocol": PROTOCOL_VERSION,
        "benchmark": benchmark.model_dump(mode="json"),
        "made_by": made_by,
        "metric": data.metric,
        "score": float(fitted.score),
        "epoch": fitted.best_epoch,
        "rows": len(built.development.train),
        "synthetic": data.synthetic,
    }
    return Model(built, calibrated, said)


def proposed_encoders(data: Dataset, plugins: Plugins) -> dict[str, str]:
    """Return an encoder for each modality: the one that says it is proposed for this kind.

    Raises:
        ConfigError: None is proposed for a kind.
    """
    proposed = kinds_proposed(plugins)
    if missing := [f"{n} ({m.kind})" for n, m in data.modalities.items() if m.kind not in proposed]:
        raise ConfigError(f"encoders: none is proposed for {', '.join(missing)}; name one: encoders={{...}}")
    return {name: proposed[modality.kind] for name, modality in data.modalities.items()}


# --------------------------------------------------------------------------------------------
# modalities without rows


def blank(like: Modality, rows: int) -> Modality:
    """Return a modality of the same kind and shape that nobody has."""
    if isinstance(like.values, Sequence):
        return replace(like, values=[""] * rows)
    values = np.zeros((rows, *like.values.shape[1:]), dtype=like.values.dtype)
    lengths = None if like.lengths is None else np.ones(rows, dtype=np.int64)
    return replace(like, values=values, lengths=lengths)


def _fitting(name: str, found: Modality, like: Modality) -> Modality:
    """A modality as the model was trained on it: columns in their order, series as long as the longest it may read.

    Raises:
        DataError: It is of another kind or shape.
    """
    if found.kind != like.kind:
        raise DataError(f"arrays: '{name}' is {like.kind} for this model, found {found.kind}")
    if isinstance(found.values, Sequence) or isinstance(like.values, Sequence):
        return found
    values, known = np.asarray(found.values), np.asarray(like.values)
    if found.columns and like.columns and found.columns != like.columns:
        if set(found.columns) != set(like.columns):
            lacking = [c for c in like.columns if c not in found.columns]
            raise DataError(
                f"arrays: '{name}' has other columns than in training; it lacks {', '.join(lacking[:5]) or 'none'}"
            )
        values = values[..., [found.columns.index(c) for c in like.columns]]
    free = 2 if like.lengths is not None else 1  # series of differing length may have any
    if values.shape[free:] != known.shape[free:]:
        wanted, shape = list(known.shape[1:]), list(values.shape[1:])
        raise DataError(f"arrays: '{name}' has the shape {shape} a row; the model was trained on {wanted}")
    lengths = found.lengths
    if like.lengths is not None and lengths is None:
        lengths = np.full(len(values), values.shape[1], dtype=np.int64)
    return replace(found, values=values, columns=like.columns, lengths=lengths, standardise=like.standardise)


def _described(modality: Modality) -> dict[str, Any]:
    shape = [] if isinstance(modality.values, Sequence) else list(modality.values.shape[1:])
    return {
        "kind": modality.kind,
        "shape": shape,
        "dtype": "" if isinstance(modality.values, Sequence) else modality.values.dtype.name,
        "lengths": modality.lengths is not None,
        "standardise": None if modality.standardise is None else modality.standardise.tolist(),
        "columns": list(modality.columns),
    }


def _undescribed(said: Mapping[str, Any]) -> Modality:
    values: Any = [""] if not said["dtype"] else np.zeros((1, *said["shape"]), dtype=said["dtype"])
    standardise = None if said["standardise"] is None else np.array(said["standardise"], dtype=np.bool_)
    lengths = np.ones(1, dtype=np.int64) if said["lengths"] else None
    return Modality(said["kind"], values, lengths, standardise, tuple(said["columns"]))


def _without_rows(modalities: Mapping[str, Modality], kind: TargetKind, outputs: tuple[str, ...]) -> Dataset:
    """A data set of one blank row: what a model is built for."""
    target = np.zeros((1, len(outputs)) if kind is TargetKind.MULTILABEL else 1, dtype=np.int64)
    available, groups = np.ones((1, len(modalities)), dtype=np.bool_), np.zeros(1, dtype=np.int64)
    return Dataset(modalities, available, target, kind, outputs, groups, digest="no rows")
