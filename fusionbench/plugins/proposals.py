"""What is proposed where nobody names a plugin: an encoder for each kind of input."""

from __future__ import annotations

from fusionbench.errors import ConfigError
from fusionbench.plugins.catalogue import Plugins


def proposed_encoders(plugins: Plugins) -> dict[str, str]:
    """Return by kind of input the encoder whose class says that it is proposed for it.

    Raises:
        ConfigError: Two are proposed for one kind.
    """
    found: dict[str, str] = {}
    for entry in plugins.catalogue("encoders"):
        if plugins.problem_with("encoders", entry.name):
            continue  # offered twice: whoever names it is told
        for kind in sorted(getattr(plugins.get("encoders", entry.name).target, "proposed_for", ())):
            if kind in found:
                raise ConfigError(
                    f"encoders '{found[kind]}' and '{entry.name}' are both proposed for {kind}; leave one out"
                )
            found[kind] = entry.name
    return found
