"""Model hubs: telemetry off, the local cache first, and one quick question before any download.

Without a network the hubs' own clients try again for the better part of a minute for each file, and say little in the
end. Here the cache is read without asking anyone; when it lacks something, one short request decides between a
download and a :class:`~fusionbench.errors.WeightsError` that says what to do.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pickle import UnpicklingError  # only its name: nothing is unpickled here
from typing import TypeVar

from fusionbench.errors import WeightsError

Loaded = TypeVar("Loaded")

HUB_TIMEOUT_SECONDS = 5.0

# what readers of weights, tokenisers and configurations raise for files that are not what they should be
_DAMAGE = (AttributeError, EOFError, IndexError, KeyError, RuntimeError, TypeError, UnpicklingError, struct.error)

_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_ETAG_TIMEOUT": "5",
    # converting other people's weights on a server, in a background thread, is not what a benchmark is for
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def disable_telemetry() -> None:
    """Set what the hubs and MLflow read from the environment when they are imported; call it before.

    Values that the user has set are left alone.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def from_hub(load: Callable[[bool], Loaded], *, encoder: str, repository: str, revision: str | None = None) -> Loaded:
    """Return ``load(True)``, from the local cache, or else ``load(False)``, which may download.

    Args:
        load: Loads the weights; its argument says whether only local files may be used.
        encoder: Registered name of the encoder, for messages.
        repository: What is looked for, ``owner/name`` or ``name``.
        revision: Branch, tag or commit; None: the hub's current one.

    Raises:
        WeightsError: Not in the cache, and the hub is switched off, out of reach, or has no such thing.
    """
    disable_telemetry()
    from safetensors import SafetensorError

    try:
        return load(True)
    except (OSError, ValueError):  # what the libraries raise for files that the cache lacks
        _ask_hub(encoder, repository, revision)
    except (SafetensorError, *_DAMAGE) as error:
        raise WeightsError(
            f"encoder '{encoder}': what the hub's cache holds of '{repository}' is damaged ({_brief(error)}). Delete its folder "
            "in the cache ($HF_HUB_CACHE, else $HF_HOME/hub) and fetch it again."
        ) from error
    try:
        return load(False)
    except WeightsError:
        raise
    except Exception as error:
        raise _not_at_hand(encoder, repository, revision, f"the download failed ({_brief(error)})") from error


def _ask_hub(encoder: str, repository: str, revision: str | None) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _not_at_hand(encoder, repository, revision, "offline mode is on (HF_HUB_OFFLINE), so nobody was asked")
    try:
        huggingface_hub.HfApi().model_info(repository, revision=revision, timeout=HUB_TIMEOUT_SECONDS)
    except Exception as error:  # the hub's HTTP library, and with it the error, differs between versions
        raise _not_at_hand(encoder, repository, revision, f"the hub did not help ({_brief(error)})") from error


def _not_at_hand(encoder: str, repository: str, revision: str | None, why: str) -> WeightsError:
    pinned = f" --revision {revision}" if revision else ""
    folder = f"weights/{repository.rsplit('/', 1)[-1]}"
    return WeightsError(
        f"encoder '{encoder}': the pre-trained weights of '{repository}'"
        f"{f' at revision {revision}' if revision else ''} are not on this machine.\n"
        f"  Looked in the hub's cache ($HF_HUB_CACHE, else $HF_HOME/hub); {why}.\n"
        f"  Do one of these:\n"
        f"  - on a connected machine: hf download {repository}{pinned} --local-dir {folder}\n"
        f"    then copy the folder here and give the encoder 'path: {folder}'\n"
        f"  - run once with the network, which fills the cache\n"
        f"  - set 'pretrained: false' to accept random weights; every output is then marked as such"
    )


def _brief(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
