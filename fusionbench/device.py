"""Where models are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusionbench.errors import ConfigError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` takes CUDA where there is one, else the CPU.

    Raises:
        ConfigError: The name is no device, or the device is not on this machine.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as problem:
        first_line = str(problem).split("\n", 1)[0]
        raise ConfigError(f"--device {name}: {first_line}; accepted: auto, cpu, cuda, cuda:<n>, mps") from None
    return device
