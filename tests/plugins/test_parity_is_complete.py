"""Every file of the parity folder is read by a test that fails when the file's numbers are other numbers.

Nothing is listed by hand. Every test function of the ``test_parity_*`` modules is called with each of its parameters
while the one loader of ``tests/parity.py`` notes what it reads. A file that nobody reads fails; so does one whose
numbers may be changed without any of its readers noticing.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

from tests import parity as oracle

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "parity"
FILES = sorted(path.stem for path in FOLDER.glob("*.json"))
MODULES = sorted(p.stem for p in Path(__file__).parent.glob("test_parity_*.py") if p != Path(__file__))
# fields whose numbers no test compares by themselves: what they are, and why that is enough
IMPLIED = {
    "third_party": "documents what other people's code does differently; no target",
    "reference_third_party": "as third_party",
    "class_scores_exponentiated": "the exponential of class_scores, which are compared",
    "unimodal_ce": "cross-entropies of the given logits; no part of the method",
    "weights_true": "an entry of the weights that decide class_scores, which are compared",
    "clip_eps": "we stay in log space and clip nothing; it moves no number of the files by 1e-9",
    "embeddings": "outputs of the file's encoders, which every later number is computed from",
    "ratio": "decides the coefficients, which are compared",
    "ratio_m0_over_m1": "as ratio",
    "ratio_from_head_m0_over_m1": "a diagnostic that the official loss does not use",
    "noise_std": "enters grad_ogm_ge, which is compared",
    "concat_head.weight": "the official concatenation variant, which is the strategy concat and not medfuse",
    "concat_head.bias": "as concat_head.weight",
    "concat_probs": "as concat_head.weight",
    "gate0": "multiplies inputs into outputs, which are compared",
    "gate1": "as gate0",
    "G": "decides the weights, which are compared",
    "O": "decides the weights, which are compared",
    "OGR_squared": "a diagnostic that decides no weight",
    "deltas": "their sum is v_forward less v_input, and both are compared",
    "backward_input": "enters the backward losses, which are compared",
    "v_backward": "enters the backward losses, which are compared",
    "target": "the rows that the losses count, which are compared",
    "distance": "per-row numbers whose sums and means are compared",
}
SHIFT = 1e-6  # relative: far above the tolerance, far below what changes a ranking or an argmax

Reader = Callable[[], None]


def readers_in(module: ModuleType) -> Iterator[Reader]:
    """Every test of a module as pytest would call it, one for each set of parameters."""
    for name, function in vars(module).items():
        if name.startswith("test_") and inspect.isfunction(function):
            for arguments in parameters_of(function):
                yield partial(function, **arguments)


def parameters_of(function: Callable[..., None]) -> Iterator[dict[str, Any]]:
    marks = [m for m in getattr(function, "pytestmark", []) if m.name == "parametrize"]
    choices = [[named(mark.args[0], value) for value in mark.args[1]] for mark in marks]
    for chosen in itertools.product(*choices):
        yield {name: value for part in chosen for name, value in part.items()}


def named(names: str | Sequence[str], value: Any) -> dict[str, Any]:
    names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
    values = getattr(value, "values", None)  # pytest.param
    if not isinstance(values, tuple):
        values = (value,) if len(names) == 1 else tuple(value)
    return dict(zip(names, values, strict=True))


def call(reader: Reader) -> None:
    with oracle.double_precision():
        reader()


@pytest.fixture(scope="module")
def readers() -> dict[str, list[Reader]]:
    """Tests by the files that they read."""
    oracle.parity_folder()  # skips where there is none
    found: dict[str, list[Reader]] = {}
    modules = [importlib.import_module(f"tests.plugins.{name}") for name in MODULES]
    for reader in itertools.chain.from_iterable(map(readers_in, modules)):
        with pytest.MonkeyPatch.context() as patch:
            seen: set[str] = set()
            patch.setattr(Path, "read_text", noting(Path.read_text, seen))
            call(reader)
        for name in seen:
            found.setdefault(name, []).append(reader)
    return found


def noting(read: Callable[..., str], seen: set[str]) -> Callable[..., str]:
    def read_text(path: Path, *arguments: Any, **options: Any) -> str:
        if path.parent == FOLDER:
            seen.add(path.stem)
        return read(path, *arguments, **options)

    return read_text


def shifted(value: Any, draw: Random) -> Any:
    """The document with every number that is not a whole one moved a little, each by itself."""
    if isinstance(value, dict):
        return {key: shifted(entry, draw) for key, entry in value.items()}
    if isinstance(value, list):
        return [shifted(entry, draw) for entry in value]
    whole = not isinstance(value, float) or value.is_integer()  # labels and masks, where 1.0000001 means 1
    return value if whole else value * (1 + draw.uniform(-SHIFT, SHIFT))


def notices(reader: Reader) -> bool:
    try:
        call(reader)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("file", FILES or [pytest.param("none", id="no parity folder")])
def test_a_parity_file_is_read_and_its_numbers_decide(file, readers, tmp_path, monkeypatch):
    assert file in readers, f"no test of {', '.join(MODULES)} reads {file}.json"
    shutil.copytree(FOLDER, tmp_path / "parity")
    changed = tmp_path / "parity" / f"{file}.json"
    changed.chmod(0o644)
    document = json.loads(changed.read_text(encoding="utf-8"))
    changed.write_text(json.dumps(shifted(document, Random(file))), encoding="utf-8")
    assert document != json.loads(changed.read_text(encoding="utf-8"))
    monkeypatch.setattr(oracle, "parity_folder", lambda: tmp_path / "parity")
    assert any(map(notices, readers[file])), f"no reader of {file}.json notices that its numbers changed"


def fields_of(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths to arrays and numbers; ``*`` stands for all entries of a list of objects."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from fields_of(entry, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for entry in value:
            yield from fields_of(entry, (*path, "*"))
    else:
        yield path


def shifted_at(value: Any, path: tuple[str, ...], draw: Random) -> Any:
    """The document with the numbers of one field moved a little."""
    if not path:
        return shifted(value, draw)
    if path[0] == "*":
        return [shifted_at(entry, path[1:], draw) for entry in value]
    if path[0] not in value:
        return value
    return {k: shifted_at(entry, path[1:], draw) if k == path[0] else entry for k, entry in value.items()}


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES or [pytest.param("none", id="no parity folder")])
def test_every_field_of_a_parity_file_decides_or_says_why_not(file, readers, tmp_path, monkeypatch):
    document = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(oracle, "parity_folder", lambda: tmp_path)
    unnoticed = []
    for path in dict.fromkeys(fields_of(document)):
        changed = shifted_at(document, path, Random(file))
        (tmp_path / f"{file}.json").write_text(json.dumps(changed), encoding="utf-8")
        if changed != document and not IMPLIED.keys() & set(path) and not any(map(notices, readers[file])):
            unnoticed.append("/".join(path))
    assert unnoticed == []


@pytest.mark.parametrize("file", FILES[:1] or [pytest.param("none", id="no parity folder")])
def test_a_test_that_reads_a_file_and_compares_nothing_does_not_count(file):
    oracle.parity_folder()
    assert not notices(partial(oracle.parity, file))


def test_exceptions_to_the_tolerance_are_wider_and_say_why():
    for name, exception in oracle.EXCEPTIONS.items():
        assert exception.relative > oracle.RELATIVE, name
        assert len(exception.cause.split()) > 3, name


def test_the_comparison_is_as_narrow_as_it_says():
    oracle.close([1.0 + 0.9e-9, 0.9e-12], [1.0, 0.0])
    for found, wanted in ((1.0 + 1.1e-9, 1.0), (1.1e-12, 0.0), (float("nan"), 1.0)):
        with pytest.raises(AssertionError):
            oracle.close(found, wanted)
