from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import polars as pl

from bench.results.importance import LEAST, Importance, importance, importance_text
from bench.results.importance_figure import importance_figure
from bench.results.trials import REACHED


def trials(count: int, *, noise: float = 0.01, state: str = "complete") -> pl.DataFrame:
    """A search whose objective follows the logarithm of lr, a little the encoder, and never the decay."""
    random = np.random.default_rng(5)
    rows = []
    for number in range(count):
        lr = 10 ** random.uniform(-4, -1)
        encoder = ["conv_nano", "vit_nano"][random.integers(2)]
        values = {"lr": lr, "encoder": encoder, "decay": random.uniform(), "batch": 64}
        score = 0.5 - 0.1 * abs(math.log10(lr) + 2) + 0.02 * (encoder == "vit_nano") + noise * random.normal()
        row = {"setting": encoder, "parameters": f"{lr:.9f}", "number": number, "state": state, REACHED: score}
        rows.append(row | {"values": json.dumps(values)})
    return pl.DataFrame(rows)


def test_what_moves_the_objective_comes_first() -> None:
    found = importance(trials(60))
    assert found.names == ("lr", "encoder", "decay")
    assert found.drops[0] > 10 * abs(found.drops[2])
    assert found.trials == 60
    assert 0.7 < found.explained < 1
    assert "60 finished trials" in importance_text(found)


def test_the_same_trials_give_the_same_numbers_in_any_order() -> None:
    frame = trials(20)
    assert importance(frame) == importance(frame.sample(fraction=1.0, shuffle=True, seed=1))


def test_too_few_trials_are_refused_with_their_number() -> None:
    found = importance(trials(LEAST - 1))
    assert found.reason == f"it takes {LEAST} finished trials, and there are {LEAST - 1}"
    assert found.names == ()
    pruned = pl.concat([trials(LEAST - 1), trials(9, state="pruned")])
    assert importance(pruned) == found
    assert importance(trials(LEAST)).reason == ""


def test_what_cannot_be_weighed_has_words() -> None:
    frame = trials(10)
    assert importance(frame.with_columns(pl.lit(0.5).alias(REACHED))).reason == "all trials reached the same objective"
    same = frame.with_columns(pl.lit('{"lr": 1}').alias("values"))
    assert importance(same).reason == "nothing was varied in them"


def test_noise_is_called_so() -> None:
    found = importance(trials(12, noise=10.0))
    assert found.explained <= 0
    assert "no better than the mean" in importance_text(found)


def test_a_parameter_that_only_some_trials_have_is_no_accident() -> None:
    frame = trials(12)
    values = [json.loads(text) | ({"momentum": 0.9} if place % 2 else {}) for place, text in enumerate(frame["values"])]
    values[1]["momentum"] = 0.8
    found = importance(frame.with_columns(pl.Series("values", [json.dumps(value) for value in values])))
    assert set(found.names) == {"lr", "encoder", "decay", "momentum"}


def test_the_figure_has_a_bar_each_and_reads_no_markup() -> None:
    figure = importance_figure(Importance(("<b>x</b>", "y"), (0.4, -0.01), (0.1, 0.0), 9, 0.5))
    assert list(figure.data[0].x) == [0.4, -0.01]
    assert [note.text for note in figure.layout.annotations] == ["&lt;b&gt;x&lt;/b&gt;", "y"]


def test_scikit_learn_is_not_read_before_it_is_wanted() -> None:
    code = "import sys, bench.results.importance, bench.results.importance_figure; sys.exit('sklearn' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
