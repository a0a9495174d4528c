"""A few inputs of each target in the ordinary suite; `make fuzz` reads 104,000."""

from __future__ import annotations

import pytest

from tests.fuzz.harness import Target, run_target
from tests.fuzz.targets import NAMES, target

INPUTS = 40


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_taken_or_refused(name: str) -> None:
    outcome = run_target(name, target(name), seed=1, inputs=INPUTS)
    assert outcome.failures == []
    assert outcome.taken + outcome.refused == INPUTS


def test_a_traceback_a_wrong_value_and_a_hang_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.harness.SECONDS", 0.05)

    def read(made: int, folder: object) -> bool:
        assert made != 1
        while made == 2:
            pass
        return bool(1 / made)

    made = iter([0, 1, 2, 3])
    outcome = run_target("example", Target(lambda rng: next(made), read, share=1), seed=0, inputs=4)
    assert (outcome.failed, outcome.taken) == (3, 1)
    assert [failure["error"].split(":")[0] for failure in outcome.failures] == [
        "ZeroDivisionError",
        "AssertionError",
        "SlowError",
    ]
