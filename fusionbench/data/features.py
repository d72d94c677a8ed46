"""The feature store: what a frozen encoder says about each row, computed once and mapped into memory.

::

    <store>/<key>/manifest.json     what it is, and that it is complete
                 /features.npy      float32 [rows, ...]
                 /zero.npy          float32 [...]: the embedding of an all-zero input

The key is a hash of what decides the content. How a folder comes to be there whole or not at all, and what two processes do
that want the same one, is said in :mod:`fusionbench.store.files`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fusionbench import __version__
from fusionbench.errors import FusionBenchError, PluginError, printable
from fusionbench.keys import canonical, digest
from fusionbench.store.files import Folder
from fusionbench.store.integrity import Damaged, compare_file, hash_of_file

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from fusionbench.contract.data import Modality
    from fusionbench.contract.learners import Encoder
    from fusionbench.progress import Progress

_LAYOUT = 1
_LONGEST_REASON = 400


@dataclass(frozen=True)
class Inputs:
    """What training gathers rows from, for one modality.

    Args:
        values: ``[rows, ...]``, perhaps a read-only memory map: embeddings, or what a trainable encoder reads.
        lengths: Int64 ``[rows]``, valid steps or tokens; None: all.
        standardise: Bool ``[last axis]``, True for columns to standardise with training rows; None: no column.
        zero_input: One row as ``values`` has them, for an all-zero input (an empty text). Encoded: standardise it
            like the rows. Not encoded: it is what the encoder reads, as it is.
        zero_length: Valid steps or tokens of it; None: all.
        encoded: True when ``values`` are embeddings and no encoder has to run any more.
        remarks: What the encoder left out, one sentence each.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64] | None
    standardise: NDArray[np.bool_] | None
    zero_input: NDArray[Any]
    zero_length: int | None = None
    encoded: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Prepared:
    """A modality as its encoder's ``forward`` reads it, with the all-zero input as one more, single row."""

    values: NDArray[Any]
    lengths: NDArray[np.int64] | None
    zero: NDArray[Any]
    zero_lengths: NDArray[np.int64] | None
    remarks: tuple[str, ...] = ()

    @property
    def zero_length(self) -> int | None:
        return None if self.zero_lengths is None else int(self.zero_lengths[0])


def encode(
    modality: Modality,
    encoder: Encoder,
    key_parts: Mapping[str, Any],
    store: Path,
    device: torch.device | str,
    batch_size: int,
    progress: Progress,
    title: str,
    available: NDArray[np.bool_] | None = None,
) -> Inputs:
    """Return a modality as training reads it; a frozen encoder runs now, or has run before.

    Args:
        modality: Content of every row.
        encoder: Already on the CPU; is there again afterwards.
        key_parts: What else decides the content: the data's digest, the modality's name, the plugin's version.
        store: Folder of the store; made when needed.
        device: Where the encoder runs. Not part of the key: devices differ by rounding only.
        batch_size: Rows at a time.
        progress: Shows rows.
        title: What is shown, and how messages begin.
        available: Bool ``[rows]``: rows worth encoding; the others hold zeros. Must follow from the data's digest.

    Raises:
        PluginError: The encoder returned something of another shape, or not finite.
        WorkspaceError: The store cannot be written.
    """
    if not encoder.frozen:
        p = _prepare(modality, encoder, title, available)
        return Inputs(p.values, p.lengths, modality.standardise, p.zero[0], p.zero_length, remarks=p.remarks)
    identity = _identity(modality, encoder, key_parts)

    def make(draft: Path) -> None:
        prepared = _prepare(modality, encoder, title, available)
        work = _Work(encoder, prepared, modality.kind == "text", available, device, title)
        with progress.stage(title, work.rows_to_encode, "rows") as stage:
            for rows in work.write(draft, batch_size, identity):
                os.utime(draft)  # says that somebody is still working on it
                stage.advance(rows)

    def waits() -> None:
        progress.note(f"{title}: another process is at it; waiting for it")

    described = json.loads(canonical(identity))
    entries = Folder(store, "feature store")
    return entries.entry(digest(identity), lambda path: _open(path, described), make, waits, say=progress.note)


def _identity(modality: Modality, encoder: Encoder, key_parts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the content of an entry."""
    import torch

    return {
        "layout": _LAYOUT,
        "encoder": type(encoder).__name__,
        "fingerprint": encoder.fingerprint(),
        "kind": modality.kind,
        "versions": {"fusionbench": __version__, "numpy": np.__version__, "torch": str(torch.__version__)},
        "parts": dict(key_parts),
    }


def _prepare(modality: Modality, encoder: Encoder, title: str, available: NDArray[np.bool_] | None) -> _Prepared:
    raw = modality.values
    blank = [""] if isinstance(raw, Sequence) else np.zeros((1, *raw.shape[1:]), dtype=raw.dtype)
    with _attributed(title, encoder):
        values, lengths = encoder.prepare(raw)
        zero, zero_lengths = encoder.prepare(blank)
        remarks = _remarks(raw, encoder, available)
    return _Prepared(values, modality.lengths if lengths is None else lengths, zero, zero_lengths, remarks)


def _remarks(
    raw: NDArray[Any] | Sequence[str], encoder: Encoder, available: NDArray[np.bool_] | None
) -> tuple[str, ...]:
    """What an encoder says about the rows that are there."""
    from fusionbench.contract.learners import Encoder

    if type(encoder).remarks is Encoder.remarks:
        return ()
    there = np.arange(len(raw)) if available is None else np.flatnonzero(available)
    rows = [raw[i] for i in there.tolist()] if isinstance(raw, Sequence) else raw[there]
    return tuple(printable(str(said)) for said in encoder.remarks(rows))


# --------------------------------------------------------------------------------------------
# running the encoder


@dataclass(frozen=True)
class _Work:
    """One encoder over the rows of one modality."""

    encoder: Encoder
    prepared: _Prepared
    texts: bool
    available: NDArray[np.bool_] | None
    device: torch.device | str
    title: str

    @property
    def rows_to_encode(self) -> int:
        return len(self.prepared.values) if self.available is None else int(self.available.sum())

    def write(self, draft: Path, batch_size: int, identity: Mapping[str, Any]) -> Iterator[int]:
        """Write all files of an entry; yields the number of rows of each batch that is done."""
        import torch

        was_training = self.encoder.training
        self.encoder.to(self.device).eval()
        try:
            with torch.no_grad():
                zero = self._run(self.prepared.zero, self.prepared.zero_lengths)
                np.save(draft / "zero.npy", zero[0], allow_pickle=False)
                yield from self._write_features(draft / "features.npy", zero.shape[1:], batch_size)
        finally:
            self.encoder.to("cpu").train(was_training)
        self._describe(draft, zero.shape[1:], identity)

    def _write_features(self, path: Path, row_shape: tuple[int, ...], batch_size: int) -> Iterator[int]:
        row_bytes = 4 * math.prod(row_shape)
        with path.open("wb") as file:
            start = _begin(file, (len(self.prepared.values), *row_shape))
            order = self._order()
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                for row, features in zip(rows.tolist(), self._encode(rows), strict=True):
                    file.seek(start + row * row_bytes)
                    file.write(features.tobytes())  # states of fewer tokens are shorter: the rest is zeros already
                yield len(rows)

    def _order(self) -> NDArray[np.intp]:
        """Rows to encode; texts of like length together, longest first, for memory errors come early then."""
        rows = np.arange(len(self.prepared.values)) if self.available is None else np.flatnonzero(self.available)
        if self.texts and self.prepared.lengths is not None:
            rows = rows[np.argsort(-self.prepared.lengths[rows], kind="stable")]
        return rows

    def _encode(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        values = self.prepared.values[rows]
        lengths = None if self.prepared.lengths is None else self.prepared.lengths[rows]
        if self.texts and lengths is not None:
            values = values[:, : lengths.max()]  # what no text of the batch has need not be computed
        return self._run(values, lengths)

    def _describe(self, draft: Path, row_shape: tuple[int, ...], identity: Mapping[str, Any]) -> None:
        """Write the manifest, and the lengths where embeddings have steps."""
        p = self.prepared
        lengths = p.lengths if len(row_shape) == 2 else None
        if lengths is not None:
            np.save(draft / "lengths.npy", np.asarray(lengths, dtype=np.int64), allow_pickle=False)
        written = ["features.npy", "zero.npy", *(["lengths.npy"] if lengths is not None else [])]
        manifest = {
            **json.loads(canonical(identity)),
            "sha256": {name: hash_of_file(draft / name) for name in written},
            "weights": self.encoder.weights,
            "shape": [len(p.values), *row_shape],
            "dtype": "float32",
            "lengths": lengths is not None,
            "zero_length": None if lengths is None else p.zero_length,
            "device": str(self.device),
            "remarks": list(p.remarks),
        }
        (draft / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    def _run(self, values: NDArray[Any], lengths: NDArray[np.int64] | None) -> NDArray[np.float32]:
        import torch

        on_device = None if lengths is None else torch.from_numpy(np.array(lengths, dtype=np.int64)).to(self.device)
        with _attributed(self.title, self.encoder):
            output: Tensor = self.encoder(_tensor(values).to(self.device), on_device)
        features: NDArray[np.float32] = np.ascontiguousarray(output.float().cpu().numpy())
        self._check(features, len(values))
        return features

    @property
    def _name(self) -> str:
        return type(self.encoder).__name__

    def _check(self, features: NDArray[np.float32], rows: int) -> None:
        width, shape = self.encoder.output_dim, features.shape
        if len(shape) not in (2, 3) or shape[0] != rows or shape[-1] != width:
            expected = f"[{rows}, {width}] or [{rows}, length, {width}]"
            raise PluginError(f"{self.title}: encoder {self._name} returned shape {list(shape)}, expected {expected}")
        bad = rows - int(np.isfinite(features.reshape(rows, -1)).all(axis=1).sum())
        if bad:
            raise PluginError(
                f"{self.title}: encoder {self._name} returned NaN or infinity for {bad} of the {rows} rows of a batch; "
                "look for such numbers in the data, and for overflow in the encoder"
            )


@contextmanager
def _attributed(title: str, encoder: Encoder) -> Iterator[None]:
    """Say of whatever an encoder raises that it was the encoder; an OSError would read as a store that cannot be written."""
    try:
        yield
    except FusionBenchError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
        raise PluginError(f"{title}: encoder {type(encoder).__name__} failed: {reason}") from error


def _tensor(values: NDArray[Any]) -> Tensor:
    """A tensor of its own (memory maps are read-only); floats become float32."""
    import torch

    own = np.array(values, dtype=np.float32 if np.issubdtype(values.dtype, np.floating) else None)
    return torch.from_numpy(own)


# --------------------------------------------------------------------------------------------
# files


def _begin(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header and reserve the rows; returns where the first row goes.

    Rows are written, not mapped: on a full disk a write raises, and a write to a map kills the process.
    """
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    start = file.tell()
    file.truncate(start + 4 * math.prod(shape))
    return start


def _open(folder: Path, identity: Mapping[str, Any]) -> Inputs | None:
    """The entry, memory-mapped; None when there is none, or when something else than a complete one lies there.

    Raises:
        Damaged: Its files are not what was written, or another entry's.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if any(manifest[k] != v for k, v in identity.items()):
            raise Damaged("it is another entry's: what made it is not what its name says")
        for name, said in manifest.get("sha256", {}).items():  # earlier versions wrote none
            compare_file(folder / name, said)
        values = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        zero = np.load(folder / "zero.npy", allow_pickle=False)
        lengths = np.load(folder / "lengths.npy", allow_pickle=False) if manifest["lengths"] else None
        intact = list(values.shape) == manifest["shape"] and zero.shape == values.shape[1:]
        zero_length = manifest["zero_length"]
        remarks = tuple(map(str, manifest.get("remarks", ())))  # earlier versions wrote none
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None
    standardise = np.ones(values.shape[-1], dtype=bool)
    return Inputs(values, lengths, standardise, zero, zero_length, encoded=True, remarks=remarks) if intact else None
