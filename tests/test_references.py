from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest

from bench.references import References


def test_an_object_is_imported_when_it_is_asked_for() -> None:
    known: References[type] = References({"fraction": "fractions:Fraction", "absent": "no_such_module:Nothing"})
    assert list(known) == ["fraction", "absent"]
    assert len(known) == 2
    assert "absent" in known
    assert "other" not in known
    assert known["fraction"] is Fraction
    assert known.named(Fraction) == "fraction"
    for wrong in (lambda: known["other"], lambda: known.named(int)):
        with pytest.raises(KeyError):
            wrong()
    with pytest.raises(ModuleNotFoundError):
        known["absent"]


PROGRAM = """
import sys
import bench.engine.evaluate
from bench.methods.registry import METHODS
from bench.protocols.registry import PROTOCOLS
METHODS["simclr"], PROTOCOLS["linear"]
print([name for name in ("sklearn", "skimage", "scipy.stats", "matplotlib") if name in sys.modules])
"""


def test_a_process_that_evaluates_loads_no_library_of_another_method() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
