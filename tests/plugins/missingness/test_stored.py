from __future__ import annotations

import numpy as np
import pytest

from fusionbench import Missingness, MissingnessContext
from fusionbench.errors import ConfigError, DataError, PluginError
from fusionbench.missingness.conditions import Condition
from fusionbench.missingness.mechanisms import GivenMasks, masks_for
from fusionbench_plugins.missingness.mcar import CompletelyAtRandom
from fusionbench_plugins.missingness.stored import Stored
from tests.shared import shared_folder

NAMES = ("a", "b")
AVAILABLE = np.array([[True, True], [True, True], [True, False]])
CONTEXT = MissingnessContext(AVAILABLE, NAMES, np.zeros(3, np.int64))
LOW = np.array([[True, False], [True, True], [True, True]])
HIGH = np.array([[False, True], [True, False], [True, False]])  # not nested: b of the first row comes back


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "keep_rate30_seed1.npy", LOW)
    np.save(tmp_path / "keep_rate60_seed1.npy", HIGH)
    return str(tmp_path / "keep_rate{percent}_seed{seed}.npy")


def masks(mechanism, *conditions, context=CONTEXT, seed=1):
    return masks_for(mechanism, context, [Condition(p, r) for p, r in conditions], name="stored", seed=seed)


def test_masks_are_used_as_they_are_nested_or_not(files):
    got = masks(Stored(files), ("random", 0.3), ("random", 0.6))
    np.testing.assert_array_equal(got, [LOW & AVAILABLE, HIGH])


def test_columns_are_found_by_name(files):
    context = MissingnessContext(AVAILABLE[:, ::-1], ("b", "a"), CONTEXT.target)
    got = masks(Stored(files, columns=["a", "b"]), ("random", 0.6), context=context)
    np.testing.assert_array_equal(got[0], HIGH[:, ::-1])
    with pytest.raises(ConfigError, match="no a among x, b"):
        masks(Stored(files, columns=["x", "b"]), ("random", 0.6))


def test_rate_and_pattern_have_places_too(tmp_path):
    np.save(tmp_path / "a-0.25-0.npy", HIGH)
    mechanism = Stored(str(tmp_path / "{pattern}-{rate}-{seed}.npy"))
    np.testing.assert_array_equal(masks(mechanism, ("a", 0.25), seed=0)[0], HIGH)


def test_masks_of_random_are_not_taken_for_another_pattern(files):
    with pytest.raises(ConfigError, match="masks of pattern 'random'"):
        masks(Stored(files), ("a", 0.3))


def test_a_rate_or_seed_that_is_not_stored_is_named(files):
    with pytest.raises(DataError, match=r"keep_rate90_seed1\.npy: no such file"):
        masks(Stored(files), ("random", 0.9))
    with pytest.raises(DataError, match=r"keep_rate30_seed2\.npy: no such file"):
        masks(Stored(files), ("random", 0.3), seed=2)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (LOW.astype(np.int64), "must hold bool"),
        (LOW[:2], "must hold bool"),
        (np.array([[False, False], [True, True], [True, True]]), "leaves 1 rows without any"),
        (np.array([[True, True], [True, True], [False, True]]), "leaves 1 rows without any"),
        (np.array([[{}]], dtype=object), "without pickle"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(tmp_path, mask, message):
    np.save(tmp_path / "30-1.npy", mask)
    with pytest.raises(DataError, match=message):
        masks(Stored(str(tmp_path / "{percent}-{seed}.npy")), ("random", 0.3))


@pytest.mark.parametrize("files", ["masks.npy", "{percent}.npy", "{seed}.npy", "{rate}-{seed}-{part}.npy", "{rate}{"])
def test_a_path_without_the_places_is_refused(files):
    with pytest.raises(ValueError, match=r"^files: "):
        Stored(files)


def test_it_has_no_thresholds():
    with pytest.raises(PluginError, match="masks, not thresholds"):
        Stored("{rate}{seed}").thresholds(CONTEXT, np.random.default_rng(0))


@pytest.mark.parametrize("mask", [np.ones((3, 2), bool), np.zeros((3, 2), bool), AVAILABLE[:2], AVAILABLE.astype(int)])
def test_a_mechanism_that_gives_impossible_masks_is_refused(mask):
    class Given(Missingness):
        def thresholds(self, context, generator):
            raise AssertionError("masks win over thresholds")

        def present(self, context, pattern, rate, seed):
            return mask

    with pytest.raises(PluginError, match=r"present\(\) must return bool"):
        masks(Given(), ("random", 0.3))


def test_a_mechanism_with_thresholds_is_not_asked_for_masks():
    assert isinstance(Stored("{rate}{seed}"), GivenMasks)
    assert not isinstance(CompletelyAtRandom(), GivenMasks)


@pytest.mark.parametrize(("name", "modalities"), [("breast_tcga", 3), ("spoken_digits_hard", 2)])
def test_the_published_masks_hide_what_their_readme_says(name, modalities):
    folder = shared_folder("data", name)
    rows = len((folder / "manifest.csv").read_text(encoding="utf-8").splitlines()) - 1
    context = MissingnessContext(np.ones((rows, modalities), bool), tuple("abc"[:modalities]), np.zeros(rows, np.int64))
    stored = Stored(str(folder / "masks" / "keep_rate{percent}_seed{seed}.npy"))
    got = masks_for(stored, context, [Condition("random", r) for r in (0.3, 0.6, 0.9)], name="stored", seed=4)
    shares = got.mean(axis=(1, 2))
    assert shares[0] > shares[1] > shares[2] >= 1 / modalities * 0.8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04", "is an archive"),
        (b"", "without pickle"),
        (b"kept\n", "without pickle"),
        (
            b"\x93NUMPY\x01\x00v\x00"
            + b"{'descr': '|b1', 'fortran_order': False, 'shape': (1000000000000000, 2), }".ljust(118),
            "promises",
        ),
    ],
)
def test_a_file_that_is_no_array_is_a_sentence(tmp_path, content, message):
    (tmp_path / "30-1.npy").write_bytes(content)
    with pytest.raises(DataError, match=message):
        masks(Stored(str(tmp_path / "{percent}-{seed}.npy")), ("random", 0.3))
