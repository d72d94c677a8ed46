"""The result store: one file for each trained model, named by what decided it.

A file is written beside its final name and renamed, so it is there whole or not at all, also after
``kill -9`` and with two processes on one store. Failures are kept apart, and are never read as results.
Predictions of test rows stay in these files; they are not tracked, logged or reported row by row.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import WorkspaceError
from fusionbench.store.files import (
    Folder,
    Taken,
    damage_of,
    opened,
    read_json,
    set_aside,
    to_standard_error,
    unwritable,
    write_atomically,
)
from fusionbench.store.integrity import (
    Damaged,
    compared_tensors,
    remember,
    sealed,
    unsealed,
    was_compared,
    with_hash,
)
from fusionbench.store.studies import is_logged, whole_study
from fusionbench.store.workspace import ResultFolders

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
PREDICTED = ("logits", "validation", "shown", "validation_shown")
"""What a stored result holds of each condition; the names of its arrays begin with these."""
DRAWN = ("traces", "history")
"""What is drawn, and never compared; either may be missing."""


@dataclass(frozen=True)
class FitResult:
    """One trained model, scored under every condition.

    Args:
        key: Content address of what decided it.
        options: The winning hyper-parameters.
        study: Digest of the study that chose them.
        score: Validation score.
        best_epoch: Epoch that was kept.
        epochs: Epochs trained.
        epochs_allowed: The limits of all its stages together.
        parameters: Numbers trained.
        seconds: Training seconds, its share of the population's.
        rows: Rows passed through the model until it was trained.
        memory: Peak memory in megabytes while it was trained.
        traces: By name, one value for every epoch, where they were asked for; None: they were not.
        history: Validation score of every epoch, over all stages, as it chooses the epoch (higher is better); None: it was stored
            before scores were.
        made_by: By role (``strategy``, ``imputer``, ``regulariser.0``), name, distribution, version and source hash of the
            plugins, so that a result can be read when they are gone.
        logits: By condition label, float32 ``[test rows, outputs]``; 0 where a row shows the model nothing: it is predicted
            by the training prevalence.
        validation: By the same labels, float32 ``[validation rows, outputs]``: all validation rows of the fold, in their
            order, shown as the condition shows test rows.
        shown: By the same labels, int32 ``[test rows]``: the subset of modalities that a row shows to the model, bit i for the
            i-th of the data set: there under the condition and read by the model; what is filled in is not shown.
        validation_shown: The same of validation rows.
    """

    key: str
    options: Mapping[str, Any]
    study: str
    score: float
    best_epoch: int
    epochs: int
    parameters: int
    seconds: float
    rows: int
    memory: float = 0.0
    epochs_allowed: int = 0
    traces: Mapping[str, Sequence[float]] | None = None
    history: Sequence[float] | None = None
    made_by: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    logits: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    validation: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    shown: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    validation_shown: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    @property
    def predicted(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """What it holds of each condition: :data:`PREDICTED`, each by condition label."""
        return {what: getattr(self, what) for what in PREDICTED}

    @property
    def content(self) -> str:
        """Hash of all of it."""
        compared = {k: v for k, v in _record(self).items() if k not in DRAWN}
        hashed = hashlib.sha256(json.dumps(compared, sort_keys=True).encode())
        for name, values in sorted(_tensors(self).items()):
            hashed.update(f"{name}{values.shape}".encode())
            hashed.update(np.ascontiguousarray(values).data)
        return hashed.hexdigest()


def _record(result: FitResult) -> dict[str, Any]:
    record = {f.name: getattr(result, f.name) for f in fields(result) if f.name not in PREDICTED}
    return {k: v for k, v in record.items() if k not in DRAWN or v is not None}


class Store:
    """Results and failures in a folder.

    Everything that is read is compared with its name and its hash. What is damaged is set aside and counts as absent.

    Args:
        folder: Of the store; made when it is not there.
        say: Told of each file that is damaged.

    Raises:
        WorkspaceError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = to_standard_error) -> None:
        folder = folder.absolute()  # whatever the working folder is later
        self.folder, self.at, self.say = folder, ResultFolders(folder), say
        self.lost_studies: set[str] = set()
        """Keys of finished studies that were damaged."""
        try:
            for path in (self.at.fits, self.at.failures, self.at.studies, self.at.weights):
                path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as problem:
            remedy = "choose another folder with --workspace"
            raise unwritable(f"the result store {folder}", problem, remedy) from problem
        for path in folder.iterdir():
            Folder(path).sweep()

    # ---------------------------------------------------------------- fits

    def _fit_path(self, key: str) -> Path:
        return self.at.fits / f"{key}{SUFFIX}"

    def keys(self) -> set[str]:
        """Keys of all results that are there; one look at the folder, also for a hundred thousand."""
        return _stems(self.at.fits)

    def keys_with_weights(self) -> set[str]:
        """Keys of the results whose weights are kept."""
        return _stems(self.at.weights) & self.keys()

    def scored(self, key: str) -> set[str]:
        """Labels of the conditions that a stored result holds; empty when nothing usable is stored."""
        result = self._read(key, predictions=False)
        return set(result.logits) if result is not None else set()

    def traces(self, key: str) -> Mapping[str, Sequence[float]] | None:
        """What was recorded over the epochs of a stored model; None where nothing was asked for or stored."""
        result = self._read(key, predictions=False)
        return result.traces if result is not None else None

    def save(self, result: FitResult) -> None:
        """Store a result, beside what is stored of the same model under other conditions.

        The last of two equal writes wins, with equal content.
        """
        from safetensors.numpy import save

        before = self.load(result.key)
        tensors = _tensors(result)
        if before is not None:
            tensors = {**_tensors(before), **tensors}
            kept = {name: getattr(before, name) for name in DRAWN if getattr(result, name) is None}
            result = replace(result, **kept)
        tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
        said = {"record": json.dumps(_record(result), sort_keys=True)}
        write_atomically(self._fit_path(result.key), with_hash(result.key, save(tensors, metadata=said)))
        self._failure_path(result.key).unlink(missing_ok=True)

    def load(self, key: str) -> FitResult | None:
        """Return a stored result, or None; a damaged file is set aside and counts as absent.

        Raises:
            WorkspaceError: The file is there and cannot be read.
        """
        return self._read(key, predictions=True)

    def _read(self, key: str, predictions: bool) -> FitResult | None:
        from safetensors import SafetensorError, safe_open
        from safetensors.numpy import load

        path = self._fit_path(key)
        nothing = np.empty((0, 0), dtype=np.float32)
        try:
            if not predictions and was_compared(path):
                with safe_open(path, framework="numpy") as file:
                    said, tensors = file.metadata(), dict.fromkeys(file.keys(), nothing)
            else:
                content = path.read_bytes()
                said, tensors = compared_tensors(key, content), load(content)
                remember(path)
            return FitResult(**record_of(key, said), **predictions_of(tensors))
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise WorkspaceError(f"{path} cannot be read: {problem}") from problem
        except Damaged as problem:
            self._set_aside(path, str(problem))
        except (SafetensorError, KeyError, TypeError, ValueError):
            self._set_aside(path, "it is no stored result")
        return None

    def _set_aside(self, path: Path, reason: str) -> None:
        self.say(damage_of(path, reason, set_aside(path)))

    def remove(self, fits: Iterable[str], studies: Iterable[str]) -> None:
        """Remove results, with their weights and maps, and studies by key."""
        for key in fits:
            for path in (self._fit_path(key), self._weights_path(key), self._maps_path(key)):
                path.unlink(missing_ok=True)
        for key in studies:
            for path in self.at.studies.glob(f"{key}.*"):
                path.unlink(missing_ok=True)

    # ---------------------------------------------------------------- weights

    def _weights_path(self, key: str) -> Path:
        return self.at.weights / f"{key}{SUFFIX}"

    def save_weights(self, key: str, state: Mapping[str, Tensor]) -> None:
        """Keep a model's parameters and buffers, so that it can be scored again without training."""
        from safetensors.torch import save

        tensors = {n: t.detach().cpu().contiguous() for n, t in state.items()}
        write_atomically(self._weights_path(key), with_hash(key, save(tensors)))

    def weights(self, key: str) -> dict[str, Tensor]:
        """Return kept weights.

        Raises:
            WorkspaceError: They are not there, or damaged; a damaged file is set aside.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self._weights_path(key)
        try:
            content = path.read_bytes()
            compared_tensors(key, content)
            return dict(load(content))
        except OSError as problem:
            raise WorkspaceError(f"{path} cannot be read: {problem.strerror}") from problem
        except (SafetensorError, Damaged) as problem:
            self.refuse_weights(key, str(problem) if isinstance(problem, Damaged) else "it holds no tensors")
            raise WorkspaceError(f"{path} was damaged and is set aside; the next run trains the model again") from None

    def has_sound_weights(self, key: str) -> bool:
        """Whether weights are kept and not damaged; a damaged file is set aside."""
        try:
            return bool(self.weights(key))
        except WorkspaceError:
            return False

    def refuse_weights(self, key: str, reason: str) -> None:
        """Set kept weights aside."""
        self._set_aside(self._weights_path(key), reason)

    # ---------------------------------------------------------------- masks

    def save_mask(self, digest: str, mask: NDArray[np.bool_]) -> None:
        """Keep who was present, bool ``[rows, modalities]`` in the order of the data, to be cited and used again."""
        path, buffer = self.at.masks / f"{digest}.npy", io.BytesIO()
        np.save(buffer, mask, allow_pickle=False)
        if path.exists():
            if path.read_bytes() == buffer.getvalue():
                return
            self._set_aside(path, "it is not the mask of its name")
        write_atomically(path, buffer.getvalue())

    # ---------------------------------------------------------------- maps of embeddings

    def _maps_path(self, key: str) -> Path:
        return self.at.maps / f"{key}.json"

    def save_maps(self, key: str, content: Mapping[str, Any]) -> None:
        """Keep where imputed embeddings of a model lie, as counts (:mod:`fusionbench.analysis.embedding_maps`)."""
        # modalities in their order
        write_atomically(self._maps_path(key), json.dumps(sealed(key, content)).encode())

    def maps(self, key: str) -> dict[str, Any] | None:
        """Return what :meth:`save_maps` kept, or None; a damaged file is set aside and counts as absent.

        Raises:
            WorkspaceError: The file is there and cannot be read.
        """
        return read_json(self._maps_path(key), partial(unsealed, key), self.say)

    # ---------------------------------------------------------------- failures

    def _failure_path(self, key: str) -> Path:
        return self.at.failures / f"{key}.json"

    def save_failure(self, key: str, what: Mapping[str, Any], reason: str) -> None:
        """Record why a model could not be trained; the next run tries again."""
        content = json.dumps({"key": key, **what, "reason": reason}, sort_keys=True, indent=1)
        write_atomically(self._failure_path(key), content.encode())

    # ---------------------------------------------------------------- studies

    @contextmanager
    def holding(self, keys: Iterable[str]) -> Iterator[None]:
        """Keep studies for this process; the system lets go of them when it dies.

        Raises:
            WorkspaceError: Another process is at one of them.
        """
        with ExitStack() as closing:
            try:
                closing.enter_context(Folder(self.at.studies).held(*keys))
            except Taken as taken:
                raise WorkspaceError(
                    f"another process is tuning for {self.folder} (study {taken.name}); wait until it has finished, "
                    "or choose another folder with --workspace"
                ) from None
            except OSError as problem:
                raise unwritable(self.at.studies, problem) from problem
            yield

    def journal(self, key: str) -> Path:
        """Return where a study's trials are written one by one; what a crash left of a last line is cut off.

        Raises:
            WorkspaceError: The journal cannot be read or written.
        """
        path = self.at.studies / f"{key}.journal"
        with opened(path) as file:
            lines = file.readlines()
            whole = lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines
            file.truncate(sum(map(len, whole)))
        wrong = next((i for i, line in enumerate(whole) if not is_logged(line, key, i)), None)
        if wrong is not None:
            self._set_aside(path, f"line {wrong + 1} is not what was written")
        return path

    def _sealed_path(self, key: str) -> Path:
        return self.at.studies / f"{key}.json"

    def seal_study(self, key: str, content: Mapping[str, Any]) -> None:
        """Store a finished study: its trials, the winner and the digest."""
        content = sealed(key, content)
        write_atomically(self._sealed_path(key), json.dumps(content, sort_keys=True, indent=1).encode())
        self._failure_path(key).unlink(missing_ok=True)
        self.lost_studies.discard(key)

    def sealed_study(self, key: str) -> dict[str, Any] | None:
        """Return a finished study, or None; a damaged one counts as open, and its trials are still there.

        Its digest is computed anew: it opens the test rows.

        Raises:
            WorkspaceError: The file is there and cannot be read.
        """
        path = self._sealed_path(key)
        there = path.exists()
        found = read_json(path, lambda content: whole_study(unsealed(key, content)), self.say)
        if there and found is None:
            self.lost_studies.add(key)
        return found

    def cost_of_study(self, key: str) -> tuple[int, float]:
        """Epochs and seconds that a finished study spent; nothing for one that is not there."""
        content = self.sealed_study(key)
        trials = content["trials"] if content is not None else []
        return sum(t["epochs"] for t in trials), sum(t["seconds"] for t in trials)


def record_of(key: str, said: Mapping[str, str]) -> dict[str, Any]:
    """Return what the header of a stored result says of it.

    Raises:
        Damaged: It is another one's.
    """
    record: dict[str, Any] = json.loads(said["record"])
    if record["key"] != key:
        raise Damaged("it is another one's: the key in it is not that of its name")
    return record


def _tensors(result: FitResult) -> dict[str, NDArray[Any]]:
    """The arrays of a stored result by their names: what they are, a slash, the label of the condition."""
    return {f"{what}/{label}": v for what, found in result.predicted.items() for label, v in found.items()}


def predictions_of(tensors: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return each of :data:`PREDICTED` by condition label: the inverse of how arrays are named.

    Raises:
        Damaged: There are other arrays, or some lack; files of earlier versions hold probabilities only.
    """
    found: dict[str, dict[str, NDArray[Any]]] = {what: {} for what in PREDICTED}
    for name, values in tensors.items():
        what, _, label = name.partition("/")
        if what not in found or not label:
            raise Damaged("it holds no logits")
        found[what][label] = values
    if any(by_label.keys() != found["logits"].keys() for by_label in found.values()):
        raise Damaged("it does not hold the same of every condition")
    for rows, numbers in (("logits", "shown"), ("validation", "validation_shown")):
        if any(len(values) != len(found[numbers][label]) for label, values in found[rows].items()):
            raise Damaged("it does not hold the same rows of every condition")
    return found


def _stems(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {e.name.removesuffix(SUFFIX) for e in entries if e.name.endswith(SUFFIX) and not e.name.startswith(".")}
