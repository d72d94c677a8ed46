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


def _remedy(archive: Path) -> str:
    """Say what to do about a file that is no zip archive: what it is instead, where its first bytes show that."""
    try:
        with archive.open("rb") as file:
            head = file.read(64)
    except OSError as problem:
        return f"it cannot be read ({problem.strerror})"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git-LFS pointer: fetch it with 'git lfs pull'"
    if head.startswith(b"\x1f\x8b"):
        return "it is compressed with gzip (.tar.gz?): unpack it beside its place, as the folder that it holds"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page: download it again, with the user name and password of PhysioNet"
    if head and not head.startswith(b"PK"):
        return "it is another kind of file with the name of an archive"
    return "download it again"


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
                raise DataError(f"{archive}: not a complete zip archive; {_remedy(archive)}.") from None
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
