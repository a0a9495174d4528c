"""PretextBench: how many labels does your pretraining save?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import curves, figures, leaderboard, run_study

__all__ = ["__version__", "curves", "figures", "leaderboard", "run_study"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports the front doors when they are asked for, so that `import bench` costs nothing."""
    if name in ("curves", "figures", "leaderboard", "run_study"):
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
