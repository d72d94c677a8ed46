"""Results carried from one store to another: where a worker does not share the run's folder, its files come back with its answer.

What arrives is read as everything in a store is read, with its name and its hash, before it is kept.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fusionbench.errors import WorkspaceError
from fusionbench.store.files import write_atomically
from fusionbench.store.results import SUFFIX, Store

if TYPE_CHECKING:
    from fusionbench.store.workspace import ResultFolders

_NAME: Final = re.compile(r"(fits|weights|maps|studies|failures)/([0-9a-f]+)(\.json|\.safetensors)")


def files_of(at: ResultFolders, models: Collection[str], studies: Collection[str]) -> dict[str, bytes]:
    """Return what a store holds of some models and searches, by its path in the store.

    Args:
        at: The folders of the store.
        models: Keys.
        studies: Keys of finished searches.
    """
    return {
        path.relative_to(at.root).as_posix(): path.read_bytes()
        for path in _paths(at, models, studies)
        if path.is_file()
    }


def _paths(at: ResultFolders, models: Collection[str], studies: Collection[str]) -> Iterator[Path]:
    for key in studies:
        yield at.studies / f"{key}.json"
        yield at.failures / f"{key}.json"
    for key in models:
        yield from (at.weights / f"{key}{SUFFIX}", at.maps / f"{key}.json", at.failures / f"{key}.json")
        yield at.fits / f"{key}{SUFFIX}"  # last: what is there without it is nothing


def take_in(
    store: Store,
    files: Mapping[str, bytes],
    models: Collection[str],
    studies: Collection[str],
    say: Callable[[str], None],
) -> None:
    """Keep what :func:`files_of` returned elsewhere; a result that is there under other conditions is added to.

    Args:
        store: Where it goes.
        files: By path in the store.
        models: Keys that may be among them; nothing else is kept.
        studies: Keys of searches that may be.
        say: Told of each file that is damaged; it is not kept, and its model is trained again.

    Raises:
        WorkspaceError: Something has a name that nothing was asked for by, or the store cannot be written.
    """
    for path in files:
        found = _NAME.fullmatch(path)
        if found is None or found[2] not in {*models, *studies}:
            raise WorkspaceError(f"a worker sent the file {path!r}, which belongs to none of its models")
    with tempfile.TemporaryDirectory(prefix="fusionbench-") as folder:
        arrived = Store(Path(folder), say)
        for path, content in files.items():
            write_atomically(arrived.folder / path, content)
        _keep(store, arrived, files)


def _keep(store: Store, arrived: Store, files: Mapping[str, bytes]) -> None:
    sound: dict[str, Callable[[str], bool]] = {
        "studies": lambda key: arrived.sealed_study(key) is not None,
        "weights": arrived.has_sound_weights,
        "maps": lambda key: arrived.maps(key) is not None,
    }
    for path, content in files.items():
        kind, key = path.split("/")[0], Path(path).stem
        if kind == "fits":
            result = arrived.load(key)
            if result is not None:
                store.save(result)
        elif kind == "failures" or sound[kind](key):
            write_atomically(store.folder / path, content)
