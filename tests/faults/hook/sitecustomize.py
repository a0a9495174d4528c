"""Read by every process whose PYTHONPATH names this folder, those that Ray starts too: they keep the journal.

What counts is patched in when a process imports the module that does the work, and no module is imported for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

JOURNAL, PAUSE = "FAULTS_JOURNAL", "FAULTS_PAUSE"
LOOP, EVALUATE = "bench.training.loop", "bench.engine.evaluate"


class Watch(MetaPathFinder):
    """Finds two modules as the others would, and patches them once they are there."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in (LOOP, EVALUATE):
            return None
        found = (other.find_spec(name, path, target) for other in sys.meta_path if other is not self)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                watched(name, module)

            spec.loader.exec_module = exec_module
        return spec


def watched(name: str, module: ModuleType) -> None:
    from tests.faults.journal import Journal, count_rows, count_steps

    journal = Journal(Path(os.environ[JOURNAL]))
    if name == LOOP:
        count_steps(module, journal, float(os.environ.get(PAUSE, "0")))
    else:
        count_rows(module, journal)


if JOURNAL in os.environ:
    sys.meta_path.insert(0, Watch())
