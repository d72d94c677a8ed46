"""The kinds of plugins, in a module that imports nothing: a quick listing reads it too."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# kind -> the hook that registers it; the order is the order of `fusionbench list`
KINDS: Final = {
    "tasks": "register_tasks",
    "encoders": "register_encoders",
    "imputers": "register_imputers",
    "strategies": "register_fusion_strategies",
    "regularisers": "register_regularisers",
    "missingness": "register_missingness",
    "papers": "register_papers",
    "executors": "register_executors",
    "observers": "register_observers",
}
