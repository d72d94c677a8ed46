"""Is what is read what was written? Hashes of content, kept beside it and compared when it is read.

A file that was written by an earlier version holds no hash: of it, the form is looked at, and the key that it holds is
compared with its name. What is large is hashed once for a process, as long as size and time of its file stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

KEY, SEAL = "fusionbench.key", "fusionbench.sha256"
"""The names of key and hash in JSON and in the header of a file of tensors."""
HASHES: Final = ".hashes.json"
"""The file of a folder that says what its other files are."""
_compared: dict[Path, tuple[int, int, int]] = {}


class Damaged(Exception):  # noqa: N818 - it says what was found; whoever reads decides what that means
    """What lies there is not what was written."""


CHANGED: Final = "its content is not what was written"


def hash_of(content: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def hash_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare_file(path: Path, expected: str) -> None:
    """Compare a file with its hash; once for a process, unless the file has been written since.

    Raises:
        Damaged: They differ.
        OSError: It cannot be read.
    """
    if not was_compared(path):
        if hash_of_file(path) != expected:
            raise Damaged(f"{path.name}: {CHANGED}")
        remember(path)


def was_compared(path: Path) -> bool:
    """Whether this process has compared a file already, and nobody has written it since."""
    return _compared.get(path) == _state(path)


def remember(path: Path) -> None:
    """Note that a file was compared."""
    _compared[path] = _state(path)


def forget() -> None:
    """Compare everything again from now on."""
    _compared.clear()


def _state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


# --------------------------------------------------------------------------------------------
# JSON


def sealed(key: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return content with its key and its hash."""
    named = json.loads(json.dumps({**content, KEY: key}))
    return {**named, SEAL: _hash_of_json(named)}


def unsealed(key: str, content: Any) -> dict[str, Any]:
    """Return what :func:`sealed` was given; a mapping without a hash as it is.

    Raises:
        Damaged: It is no mapping, another one's, or not what was written.
    """
    if not isinstance(content, dict):
        raise Damaged("it holds no mapping")
    said = content.get(SEAL)
    named = {k: v for k, v in content.items() if k != SEAL}
    if named.get(KEY, key) != key:
        raise Damaged("it is another one's: the key in it is not that of its name")
    if said is None and KEY in content:
        raise Damaged("it has lost its hash")
    if said is not None and said != _hash_of_json(named):
        raise Damaged(CHANGED)
    return {k: v for k, v in named.items() if k != KEY}


def _hash_of_json(content: Mapping[str, Any]) -> str:
    return hash_of(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


# --------------------------------------------------------------------------------------------
# tensors, as safetensors writes them


def hash_of_tensors(content: bytes) -> tuple[dict[str, str], str]:
    """Return what the header of a file of tensors says, and the hash of everything but the hash that is in it.

    Raises:
        Damaged: There is no such header.
    """
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
        said = dict(header.pop("__metadata__", {}))
        others = {k: v for k, v in said.items() if k != SEAL}
    except (ValueError, TypeError, AttributeError) as problem:
        raise Damaged("its header cannot be read") from problem
    hashed = hashlib.sha256(json.dumps([header, others], sort_keys=True).encode())
    hashed.update(memoryview(content)[8 + size :])
    return said, hashed.hexdigest()


def with_hash(key: str, content: bytes) -> bytes:
    """Return a file of tensors with its key and its hash in the header; equal content gives equal bytes.

    The library writes what the header says in an order of chance.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])

    def written(said: Mapping[str, str]) -> bytes:
        text = json.dumps({"__metadata__": dict(sorted(said.items())), **tensors}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + content[8 + size :]

    said, tensors = {**header.pop("__metadata__", {}), KEY: key}, header
    return written({**said, SEAL: hash_of_tensors(written(said))[1]})


def compared_tensors(key: str, content: bytes) -> dict[str, str]:
    """Return what the header of a file of tensors says, compared with the name and the hash in it.

    Raises:
        Damaged: It is another one's, or not what was written.
    """
    said, found = hash_of_tensors(content)
    if said.get(KEY, key) != key:
        raise Damaged("it is another one's: the key in it is not that of its name")
    if said.get(SEAL, found) != found:
        raise Damaged(CHANGED)
    if KEY in said and SEAL not in said:
        raise Damaged("it has lost its hash")
    return said


# --------------------------------------------------------------------------------------------
# folders


def hashes_of(folder: Path, names: Iterable[str]) -> bytes:
    """Return what :data:`HASHES` of a folder says of its files."""
    found = {name: hash_of_file(folder / name) for name in sorted(names) if (folder / name).is_file()}
    return json.dumps(sealed(folder.name, {"files": found}), indent=1).encode()


def changed_files(folder: Path, listing: Path | None = None) -> list[str]:
    """Return the names of files of a folder that are gone, or not what its list says; nothing where there is no list.

    A list that is damaged itself counts as a changed file.

    Args:
        folder: Of the files.
        listing: The list, as :func:`hashes_of` wrote it; None: :data:`HASHES` of the folder.
    """
    listing = listing or folder / HASHES
    try:
        listed = unsealed(folder.name, json.loads(listing.read_bytes()))["files"]
        return [name for name, said in listed.items() if not _is(folder / name, said)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, AttributeError, Damaged):
        return [listing.name]


def _is(path: Path, said: str) -> bool:
    try:
        return hash_of_file(path) == said
    except OSError:
        return False
