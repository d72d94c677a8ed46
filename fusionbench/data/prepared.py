"""Everything that models are trained from, prepared once: in memory, or in a folder that other processes map into theirs.

::

    <folder>/<key>/header.json     names, kinds, numbers, and the encoders as training sees them
                  /0.npy ...       the arrays that the header names

Who opens it needs neither the files that the data came from nor an encoder's weights, unless the encoder is trained. What tables
and reports read beside it (the content of modalities, ceilings, the funnel) is not in it: those are made where it was prepared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fusionbench import __version__
from fusionbench.contract.batch import InputSpec
from fusionbench.contract.data import Dataset, Modality
from fusionbench.data.splits import Development, Fold, SealedRows
from fusionbench.data.table import RowTable
from fusionbench.errors import WorkspaceError
from fusionbench.keys import digest
from fusionbench.plan.parts import ModalityPart, Part
from fusionbench.store.files import Folder
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from fusionbench.progress import Progress

LAYOUT: Final = 1
HEADER: Final = "header.json"
MAPPED_FROM: Final = 2**16  # bytes
_OF_ROWS: Final = ("available", "target", "groups")
_TENSORS: Final = ("values", "lengths", "standardise", "zero")
_PARTS: Final = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """What a run trains from.

    Args:
        dataset: What the task prepared; opened from a folder, its modalities have names and kinds and no content.
        metric: What epochs and lines are judged by.
        table: Its rows as tensors.
        folds: By number.
        modalities: The encoders as training sees them.
    """

    dataset: Dataset
    metric: str
    table: RowTable
    folds: Mapping[int, Fold]
    modalities: Mapping[str, ModalityPart]


@dataclass(frozen=True)
class Content:
    """A prepared run as plain data and arrays; it can be carried anywhere.

    Args:
        header: Plain data.
        arrays: By name; of float32, float16, uint8, int64 or bool.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def in_memory(self) -> Content:
        """Return the same with nothing mapped from a file."""
        return Content(self.header, {name: np.array(array) for name, array in self.arrays.items()})


def content_of(prepared: Prepared) -> Content:
    """Return a prepared run as plain data and arrays; what lies on a device comes to the processor."""
    dataset, table = prepared.dataset, prepared.table
    header = {
        "layout": LAYOUT,
        "metric": prepared.metric,
        "dataset": {
            "kind": dataset.kind.value,
            "outputs": list(dataset.outputs),
            "digest": dataset.digest,
            "synthetic": dataset.synthetic,
            "metric": dataset.metric,
            "split": None if dataset.split is None else list(map(str, dataset.split)),
            "modalities": {name: modality.kind for name, modality in dataset.modalities.items()},
        },
        "table": {"zero_lengths": dict(table.zero_lengths), "encoded": sorted(table.encoded)},
        "folds": list(prepared.folds),
        "encoders": {name: _encoder(part) for name, part in prepared.modalities.items()},
    }
    return Content(header, dict(_arrays(prepared)))


def _encoder(part: ModalityPart) -> dict[str, Any]:
    found = {"dim": part.dim, "trainable": part.trainable, "fingerprint": part.fingerprint, "weights": part.weights}
    return {**found, "spec": asdict(part.spec)}


def _arrays(prepared: Prepared) -> Iterator[tuple[str, NDArray[Any]]]:
    dataset, table = prepared.dataset, prepared.table
    yield from ((f"dataset/{name}", getattr(dataset, name)) for name in _OF_ROWS)
    if dataset.folds is not None:
        yield "dataset/folds", dataset.folds
    for what in _TENSORS:
        yield from ((f"table/{what}/{name}", tensor.cpu().numpy()) for name, tensor in getattr(table, what).items())
    for number, fold in prepared.folds.items():
        # the seal holds where models are chosen; who carries the rows elsewhere puts it on again there
        rows = (fold.development.train, fold.development.validation, fold.test.to_draw_masks())
        yield from ((f"folds/{number}/{part}", found) for part, found in zip(_PARTS, rows, strict=True))


def opened(content: Content, encoders: Mapping[str, Part], device: torch.device) -> Prepared:
    """Return a prepared run from plain data and arrays.

    Args:
        content: As :func:`content_of` made it.
        encoders: The plugins of the modalities, as they are here.
        device: Where the rows are to be.
    """
    import torch

    header, said = content.header, content.header["dataset"]
    kinds, empty = said["modalities"], np.empty((0, 0), dtype=np.float32)
    dataset = Dataset(
        modalities={name: Modality(kind, [] if kind == "text" else empty) for name, kind in kinds.items()},
        available=content.arrays["dataset/available"],
        target=content.arrays["dataset/target"],
        groups=content.arrays["dataset/groups"],
        folds=content.arrays.get("dataset/folds"),
        kind=TargetKind(said["kind"]),
        outputs=tuple(said["outputs"]),
        digest=said["digest"],
        synthetic=said["synthetic"],
        metric=said["metric"],
        split=None if said["split"] is None else np.array(said["split"]),
    )
    tensors = {what: _tensors(content, f"table/{what}/", device) for what in _TENSORS}
    table = RowTable(
        **tensors,
        zero_lengths=header["table"]["zero_lengths"],
        available=torch.as_tensor(np.array(dataset.available), device=device),
        target=torch.as_tensor(np.array(dataset.target), device=device),
        kind=dataset.kind,
        num_outputs=len(dataset.outputs),
        encoded=frozenset(header["table"]["encoded"]),
    )
    modalities = {name: _part(encoders[name], found) for name, found in header["encoders"].items()}
    return Prepared(dataset, header["metric"], table, _folds(content), modalities)


def _tensors(content: Content, beginning: str, device: torch.device) -> dict[str, Tensor]:
    """By modality, in the order of the data."""
    import torch

    found = {}
    for name in content.header["dataset"]["modalities"]:
        array = content.arrays.get(f"{beginning}{name}")
        if array is not None:
            # what is mapped is copied page by page where it is written, and what another process owns at once
            mapped = isinstance(array, np.memmap)
            found[name] = torch.from_numpy(array if mapped or array.flags.writeable else array.copy()).to(device)
    return found


def _folds(content: Content) -> dict[int, Fold]:
    found = {}
    for number in content.header["folds"]:
        train, validation, test = (np.asarray(content.arrays[f"folds/{number}/{part}"]) for part in _PARTS)
        found[number] = Fold(Development(number, train, validation), SealedRows(test))
    return found


def _part(encoder: Part, said: Mapping[str, Any]) -> ModalityPart:
    spec = said["spec"]
    seen = InputSpec(spec["kind"], tuple(spec["shape"]), tuple(spec["standardise"]))
    return ModalityPart(encoder, seen, said["dim"], said["trainable"], said["fingerprint"], said["weights"])


# --------------------------------------------------------------------------------------------
# in a folder


def keep(prepared: Prepared, folder: Path, progress: Progress) -> Path:
    """Write a prepared run into a folder of such, unless it is there; return where it lies.

    Raises:
        WorkspaceError: It cannot be written.
    """
    content = content_of(prepared)
    features = {name: str(tensor.dtype) for name, tensor in prepared.table.values.items()}
    rows = [hashlib.sha256(a.tobytes()).hexdigest() for n, a in content.arrays.items() if n.startswith("folds/")]
    encoders = {name: part.identity for name, part in prepared.modalities.items()}
    name = digest([__version__, content.header, encoders, features, rows])

    def make(draft: Path) -> None:
        for number, array in enumerate(content.arrays.values()):
            np.save(draft / f"{number}.npy", np.ascontiguousarray(array), allow_pickle=False)
        said = {**content.header, "arrays": list(content.arrays)}
        (draft / HEADER).write_text(json.dumps(said), encoding="utf-8")

    def waits() -> None:
        progress.note("prepared data: another process writes them; waiting for it")

    Folder(folder, "prepared data", private=not prepared.dataset.synthetic).entry(name, _read, make, waits)
    return folder / name


def read(place: Path) -> Content:
    """Return what :func:`keep` left; arrays are mapped, and nothing that is written to them reaches the files.

    Raises:
        WorkspaceError: It is not there, or not whole.
    """
    found = _read(place)
    if found is None:
        raise WorkspaceError(
            f"the prepared data {place} are not there or not whole; start the run again where it was started, which makes them"
        )
    return found


def _read(place: Path) -> Content | None:
    try:
        header = json.loads((place / HEADER).read_text(encoding="utf-8"))
        names = header.pop("arrays")
        return Content(header, {name: _loaded(place / f"{number}.npy") for number, name in enumerate(names)})
    except (OSError, ValueError, KeyError):
        return None


def _loaded(path: Path) -> NDArray[Any]:
    """An array, mapped where it is large: nothing of it is in memory before it is read, and processes share what is."""
    mapped = path.stat().st_size > MAPPED_FROM
    array: NDArray[Any] = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    return array
