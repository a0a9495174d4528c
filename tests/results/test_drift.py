"""Which pretrainings drift compares, what is said where some are missing, and what the table says to freeze."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from bench.errors import UserError
from bench.results.drift import drift_runs, selector
from bench.results.drift_figure import drift_figure
from bench.results.drift_tried import tried, tried_lines
from bench.results.drift_words import advice, between, comparison, setting_text
from bench.results.opening import open_results
from bench.store.drift import DRIFT, drift_path, read_drift, write_drift
from tests.results.noisy import write_noisy

BLOCKS = ("enc1", "enc2", "bottleneck", "dec2", "dec1")


def lines(frozen: int = 2, contrast: tuple[float, float] = (-0.4, -0.1), setting: str = "noise=flip") -> pl.DataFrame:
    """A table of one setting."""
    about = {"method": "noisy_labels", "setting": setting, "information_loss": 0.38, "realised_noise_rate": 0.21}
    about |= {"n_clean": 4, "n_noisy": 4, "n_permuted": 4, "n_images": 16, "level": 0.95, "threshold": 0.5}
    records = [
        dict.fromkeys(DRIFT)
        | about
        | {"part": "decoder" if block.startswith("dec") else "encoder", "block": block, "place": place}
        | {"drift": 0.1 * place, "low": 0.1 * place - 0.05, "high": 0.1 * place + 0.2, "frozen_blocks": frozen}
        | {"noisy": 0.2, "floor": 0.1, "ceiling": 0.5}
        for place, block in enumerate(BLOCKS)
    ]
    low, high = contrast
    ends = {"part": "contrast", "block": "encoder - decoder", "place": 5, "drift": (low + high) / 2, "low": low}
    records.append(dict.fromkeys(DRIFT) | about | ends | {"high": high, "frozen_blocks": frozen})
    return pl.DataFrame(records, schema=DRIFT)


def test_runs_are_sorted_into_kinds(tmp_path: Path) -> None:
    write_noisy(tmp_path, realisations=(0, 1), seeds=4)
    runs = drift_runs(tmp_path)
    assert (len(runs.clean), len(runs.permuted)) == (4, 8)
    assert [(setting.name, len(setting.keys)) for setting in runs.noisy] == [
        ("noise=flip, rate=0.5", 8),
        ("noise=flip, rate=1", 8),
    ]
    assert runs.noisy[0].information_loss == pytest.approx(0.38)
    chosen = drift_runs(tmp_path, noisy=selector(["rate=0.5"], "--noisy"))
    assert [setting.name for setting in chosen.noisy] == ["noise=flip, rate=0.5"]
    other = drift_runs(tmp_path, clean={"rate": "0.5", "noise": "flip"})
    assert [setting.name for setting in other.noisy] == ["noise=none, rate=0", "noise=flip, rate=1"]


def test_missing_runs_are_counted_in_one_line(tmp_path: Path) -> None:
    write_noisy(tmp_path, seeds=3)
    with pytest.raises(UserError) as told:
        drift_runs(tmp_path)
    assert str(told.value) == (
        "layer drift needs 4 pretrainings of each kind, but study 'noisy' has 3 clean (rate=0), 3 permuted "
        "(noise=permuted, rate=1), 3 noise=flip, rate=0.5, 3 noise=flip, rate=1; run it with --set seeds=4"
    )
    with pytest.raises(UserError, match=r"0 permuted \(rate=0.7\).* add permuted \(rate=0.7\) to its settings"):
        drift_runs(tmp_path, permuted={"rate": "0.7"})


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study here"):
        drift_runs(tmp_path)
    write_noisy(tmp_path)
    with pytest.raises(UserError, match="unknown method of the study 'mae'"):
        drift_runs(tmp_path, method="mae")
    with pytest.raises(UserError, match="unknown option 'sigma'"):
        drift_runs(tmp_path, noisy={"sigma": "1"})
    with pytest.raises(UserError, match="--noisy: 'rate' is no KEY=VALUE"):
        selector(["rate"], "--noisy")


def test_the_table_is_kept_with_its_study(tmp_path: Path) -> None:
    assert read_drift(tmp_path, "key") is None
    write_drift(tmp_path, "key", lines())
    found = read_drift(tmp_path, "key")
    assert found is not None
    assert found.equals(lines())
    drift_path(tmp_path, "key").write_bytes(b"PAR1")
    assert read_drift(tmp_path, "key") is None


def test_words_say_what_to_freeze_and_which_part_drifts_more() -> None:
    assert advice(lines()).startswith("Freeze enc1 and enc2, whose drift lies below 0.5; train bottleneck.")
    assert advice(lines()).endswith("{encoder_state: partial, frozen_blocks: 2}")
    assert advice(lines(0)).endswith("{encoder_state: trained}")
    assert advice(lines(3)).endswith("{encoder_state: frozen}")
    assert comparison(lines()).startswith("Encoder blocks drift less than decoder blocks: mean difference -0.25")
    assert comparison(lines(contrast=(-0.1, 0.2))).startswith("Whether encoder blocks drift less")
    assert comparison(lines(contrast=(0.1, 0.2))).startswith("Encoder blocks drift more")
    assert comparison(lines().filter(pl.col("part") != "contrast")) == ""
    first = lines().row(0, named=True)
    assert setting_text(first) == "noise=flip: 21 % of the pixels wrong, 38 % of the information lost"
    assert between(first | {"low": None}) == "up to 0.20"
    assert between(first | {"high": None}) == "from -0.05"
    assert between(first | {"low": None, "high": None}) == "unknown"


def test_the_figure_keeps_encoder_and_decoder_apart() -> None:
    figure = drift_figure(pl.concat([lines(), lines(setting="<b>")]))
    assert len(figure.data) == 2
    assert figure.data[1].name == "&lt;b&gt;"
    assert list(figure.layout.xaxis.ticktext) == list(BLOCKS)
    upright = [shape for shape in figure.layout.shapes if shape.x0 == shape.x1]
    assert [shape.x0 for shape in upright] == [2.5]


def test_what_was_tried_is_scored_by_what_was_frozen(tmp_path: Path) -> None:
    judged = [
        {"encoder_state": "frozen", "frozen_blocks": None, "steps": 9},
        {"encoder_state": "partial", "frozen_blocks": 2, "steps": 9},
        {"encoder_state": "trained", "frozen_blocks": None, "steps": 99},  # compared with nothing
    ]
    write_noisy(tmp_path / "two", realisations=(0, 1), seeds=2, judged=judged)
    opened = open_results(tmp_path / "two")
    table = tried(opened, "noisy_labels", "noise=flip, rate=0.5")
    assert table["entrant"].unique().sort().to_list() == [
        "encoder_state=frozen",
        "encoder_state=partial, frozen_blocks=2",
    ]
    assert table["n_seeds"].unique().to_list() == [4]
    rows = opened.rows.filter(pl.col("axes").str.contains('"rate": 0.5'), pl.col("label_budget") == "16")
    expected = rows.filter(pl.col("protocol_options").str.contains("partial"))["miou"].mean()
    assert table.filter(pl.col("label_budget") == "16")["score"][1] == pytest.approx(expected)
    lines = tried_lines(table)
    assert [line.partition(" ")[0] for line in lines] == ["4", "16", "64"]
    assert "with encoder_state=frozen; " in lines[0]
    write_noisy(tmp_path / "one", seeds=2)
    assert tried(open_results(tmp_path / "one"), "noisy_labels", "noise=flip, rate=0.5").is_empty()
