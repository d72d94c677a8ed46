"""Pictures and reports of MIMIC-CXR by their published path, from folders or from a zip archive."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.store import content_hash, signature


def study_path(subject_id: int, study_id: int) -> str:
    """Return the published path of a study: ``files/p10/p10000032/s50414267``."""
    return f"files/p{str(subject_id)[:2]}/p{subject_id}/s{study_id}"


# what zipfile lets through of the libraries below it, and its words for kinds of members that nobody wrote
_DAMAGE = (zlib.error, struct.error, EOFError, ValueError, NotImplementedError, RuntimeError)


class Files:
    """Files that lie below some folders or in one archive. Nothing is unpacked.

    Args:
        folders: Searched first, in order.
        archive: A zip file that holds the same paths; it need not exist.

    Raises:
        DataError: The archive is damaged.
    """

    def __init__(self, folders: Sequence[Path], archive: Path) -> None:
        self._folders = [folder for folder in folders if (folder / "files").is_dir()]
        self._path = archive
        self._archive: zipfile.ZipFile | None = None
        self._names: frozenset[str] = frozenset()
        if archive.is_file():
            try:
                self._archive = zipfile.ZipFile(archive)
            except (zipfile.BadZipFile, OSError, *_DAMAGE):
                raise DataError(f"{archive}: not a complete zip archive; download it again.") from None
            self._names = frozenset(self._archive.namelist())

    def __bool__(self) -> bool:
        """Whether there is any place to look."""
        return bool(self._folders) or self._archive is not None

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where it is nowhere.

        Raises:
            OSError: It cannot be read.
        """
        for folder in self._folders:
            path = folder / name
            if path.is_file():
                return path.read_bytes()
        if self._archive is None or name not in self._names:
            return None
        try:
            return self._archive.read(name)
        except (zipfile.BadZipFile, *_DAMAGE) as error:
            raise OSError(f"damaged archive member: {type(error).__name__}") from None

    def signature(self, names: Iterable[str]) -> str:
        """Return a hash that changes when one of the files (or the archive) does."""
        seen: list[Any] = [signature(self._path)] if self._archive is not None else []
        for name in names if self._folders else ():
            path = next((p for folder in self._folders if (p := folder / name).is_file()), None)
            seen.append(signature(path) if path else None)
        return content_hash(seen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()
