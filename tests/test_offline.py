"""Model hubs: the cache first, one question before a download, and a message that says what to do."""

from __future__ import annotations

import os

import huggingface_hub
import pytest
from huggingface_hub import constants

from fusionbench import offline
from fusionbench.errors import WeightsError
from fusionbench.offline import disable_telemetry, from_hub


def lacking(asked):
    """A loader of which the cache has nothing."""

    def load(local):
        asked.append(local)
        if local:
            raise OSError("not in the cache")
        return "weights"

    return load


def problem(load, **more):
    with pytest.raises(WeightsError) as caught:
        from_hub(load, encoder="hf_text", repository="owner/model", **more)
    return str(caught.value)


@pytest.fixture
def hub(monkeypatch):
    """The hub may be asked; what it was asked is written down."""
    asked = []

    def model_info(self, repository, *, revision, timeout):
        asked.append((repository, revision, timeout))

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return asked


def test_telemetry_is_switched_off_and_what_the_user_has_set_is_left_alone(monkeypatch):
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "77")
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    disable_telemetry()
    assert os.environ["HF_HUB_ETAG_TIMEOUT"] == "77"
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_what_the_cache_has_is_loaded_without_asking_anyone(hub):
    asked = []
    assert from_hub(lambda local: asked.append(local) or 7, encoder="e", repository="r") == 7
    assert asked == [True]
    assert hub == []


def test_what_the_cache_lacks_is_asked_for_once_and_downloaded(hub):
    asked = []
    assert from_hub(lacking(asked), encoder="e", repository="o/r", revision="v1") == "weights"
    assert asked == [True, False]
    assert hub == [("o/r", "v1", offline.HUB_TIMEOUT_SECONDS)]


def test_with_the_hub_switched_off_nobody_is_asked_and_three_ways_out_are_named(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = []
    said = problem(lacking(asked), revision="abc")
    assert asked == [True]
    assert said.startswith("encoder 'hf_text': the pre-trained weights of 'owner/model' at revision abc are not on")
    assert "offline mode is on (HF_HUB_OFFLINE)" in said
    assert "hf download owner/model --revision abc --local-dir weights/model\n" in said
    assert "'path: weights/model'" in said
    assert "'pretrained: false'" in said


def test_a_hub_that_does_not_answer_is_an_error_with_its_first_line(hub, monkeypatch):
    def broken(self, *arguments, **more):
        raise TimeoutError("no answer\nafter five seconds")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", broken)
    asked = []
    said = problem(lacking(asked))
    assert asked == [True]
    assert "; the hub did not help (TimeoutError: no answer).\n" in said
    assert "revision" not in said


def test_a_download_that_fails_is_an_error_with_its_kind(hub):
    def load(local):
        raise ValueError if local else RuntimeError

    assert "; the download failed (RuntimeError).\n" in problem(load)


def test_another_failure_of_the_cache_is_not_taken_for_missing_files(hub):
    def load(local):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        from_hub(load, encoder="e", repository="r")
    assert hub == []
