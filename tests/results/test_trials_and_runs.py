from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.results.opening import find_study, open_results
from bench.results.pretrainings import pretrainings
from bench.results.progress import Progress
from bench.results.run_figures import loss_figure, probe_figure
from bench.results.sweep_figures import trials_figure
from bench.results.trials import REACHED, trials_of, tried
from tests.dashboards.furnished import write_rich


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rich")
    write_rich(root, seeds=2, draws=2)
    return root


def test_trials_tell_how_far_they_got(rich: Path) -> None:
    table = trials_of(rich, find_study(rich))
    assert table["state"].to_list() == ["complete"] * 3 + ["pruned", "diverged"]
    assert table[REACHED].to_list() == [0.61, 0.66, 0.64, 0.31, None]
    assert table["best"].to_list() == [False, True, False, False, False]
    assert table["setting"].unique().to_list() == ["mask_ratio=0.5"]
    assert tried(table) == ["lr", "norm_pix"]


def test_no_trials_are_an_empty_table(tmp_path: Path) -> None:
    assert trials_of(tmp_path, None).is_empty()


def test_damaged_trials_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "x.parquet").write_bytes(b"PAR1 not really PAR1")
    assert trials_of(tmp_path, None).is_empty()


def test_the_figure_shows_every_trial_and_each_state(rich: Path) -> None:
    table = trials_of(rich, None)
    figure = trials_figure(table, tried(table))
    drawn = [trace for trace in figure.data if not trace.showlegend and trace.x[0] is not None]
    assert len(drawn) == table.height
    assert {trace.line.dash for trace in drawn} == {"solid", "dot", "dash"}
    legend = [trace.name for trace in figure.data if trace.x == (None,)]
    assert legend == ["best of its search", "complete", "diverged", "pruned"]
    heights = [y for trace in drawn for y in trace.y]
    assert min(heights) == 0
    assert max(heights) == 1


def test_pretrainings_have_their_records(rich: Path) -> None:
    rows = open_results(rich).rows
    table = pretrainings(rich, rows)
    assert set(table["method"]) == {"simclr", "mae", "dino", "swav"}
    assert table["pretrain_key"].is_unique().all()
    assert table["losses"].list.len().to_list() == [20] * table.height
    assert set(table.filter(table["method"] == "swav")["status"]) == {"collapsed"}
    assert len(loss_figure(table.filter(table["method"] == "mae")).data) == 6


def test_records_that_are_gone_or_broken_leave_gaps(rich: Path, tmp_path: Path) -> None:
    rows = open_results(rich).rows
    first, second, *_ = pretrainings(rich, rows)["pretrain_key"]
    for key, text in ((first, "{"), (second, json.dumps({"losses": [1.0, float("nan"), "x"]}))):
        folder = tmp_path / "artifacts" / "encoders" / key
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(text)
    table = pretrainings(tmp_path, rows)
    assert table["losses"].to_list()[:3] == [None, [1.0, None, None], None]
    assert len(loss_figure(table).data) == 1


def test_probe_curves_are_a_line_a_trial(rich: Path) -> None:
    table = trials_of(rich, None)
    assert len(probe_figure(table).data) == table.height


def test_the_news_of_a_run() -> None:
    item = Progress("mae", 1, 2, 0, 0, 0, 0, None, "simclr 0.9", 600.0)
    assert item.news == "mae · best so far simclr 0.9 · last news 10 min ago"
