from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from bench.results.budgets import budget_text
from bench.results.leaderboard import Board, make_board
from bench.results.opening import Opened, open_results
from bench.results.provenance import Code
from bench.results.render import print_board
from bench.results.summary import finding, reference_text
from bench.results.text import (
    factor_text,
    footnotes,
    interval_text,
    list_text,
    saved_text,
    score_text,
    seconds_text,
    signs,
    sparkline,
)
from tests.results.synthetic import ENTRANTS, write_study


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.742, 0.721, 0.763), "0.742 ± 0.021"),
        ((0.742, 0.701, 0.752), "0.742 [0.701 0.752]"),
        ((0.742, None, None), "0.742"),
        ((0.742, None, None, "one seed"), "0.742 ‡"),
        ((0.742, 0.721, 0.763, "few seeds, this test set only"), "0.742 ± 0.021 *†"),
        ((None, None, None), "-"),
        ((math.nan, None, None), "-"),
    ],
)
def test_scores(arguments: tuple[float | None, ...], expected: str) -> None:
    assert score_text(*arguments) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((3.1, 2.4, 4.0), "3.1x (2.4 to 4.0)"),
        ((4.1, 2.0, math.inf, ">="), ">= 4.1x (from 2.0)"),
        ((0.5, 0.0, 0.7, "<="), "<= 0.50x (up to 0.70)"),
        ((3.1, 0.0, math.inf), "3.1x"),
        ((1.0, 0.0, 1.0, "<="), "<= 1.0x"),
        ((4.1, 4.1, math.inf, ">=", "", "×"), "≥ 4.1×"),
        ((3.1, None, None, "", "one seed"), "3.1x ‡"),
        ((None, None, None), "-"),
        ((1234.4, 400.2, 3000.0), "1,234x (400 to 3,000)"),
    ],
)
def test_labels_saved(arguments: tuple[float | None, ...], expected: str) -> None:
    assert saved_text(*arguments) == expected  # type: ignore[arg-type]


def test_small_words() -> None:
    assert factor_text(0.18) == "0.18x"
    assert interval_text(None, None) == ""
    assert [budget_text(budget, ["linear", "knn"]) for budget in ("1", "5", "all")] == [
        "1 label a class",
        "5 labels a class",
        "all labels",
    ]
    assert [budget_text(budget, ["segmentation", "as_is"]) for budget in ("1", "all")] == [
        "1 labelled image",
        "all labelled images",
    ]
    assert [budget_text(budget, ["few_shot"]) for budget in ("1", "5")] == ["1 shot", "5 shots"]
    assert [budget_text(budget, ["linear", "segmentation"]) for budget in ("5", "all")] == ["budget 5", "all labels"]
    assert budget_text("5", ["of_a_plug_in_that_is_gone"]) == "5 labels a class"
    assert [list_text(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert signs("few seeds, one draw") == "*§"
    assert footnotes([None, "", "one seed", "one seed"]) == ["‡ one seed: the interval knows nothing of how seeds vary"]
    assert sparkline([0.1, 0.2, 0.3]) == "▁▅█"
    assert sparkline([0.5]) == "▄"
    assert sparkline([]) == ""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"),
        (0.0, "-"),
        (38.0, "38 s"),
        (2460.0, "41 min"),
        (7380.0, "2.0 h"),
        (90_000.0, "25 h"),
        (1e6, "11.6 d"),
    ],
)
def test_times(seconds: float | None, expected: str) -> None:
    assert seconds_text(seconds) == expected


def test_the_finding_names_factor_interval_reference_and_cost(board: Board) -> None:
    sentence = finding(board).sentence
    assert sentence.startswith("simclr + linear needs ")
    assert "x fewer labels (95 %: " in sentence
    assert "than the better of random_init + finetune and pixels + linear, and costs 41 min" in sentence
    assert sentence.endswith("2.0 h of search.")


def test_a_finding_at_a_budget_says_so(opened: Opened) -> None:
    assert finding(make_board(opened, budget="10")).claim.startswith("At 10 labels a class, ")


def with_best(board: Board, **values: object) -> Board:
    """The board with other values in its first line."""
    rows = board.frame.to_dicts()
    rows[0] |= values
    return replace(board, frame=board.frame.clear().extend(type(board.frame)(rows, schema=board.frame.schema)))


def test_what_is_censored_or_undecided_or_worse_is_said(board: Board) -> None:
    censored = finding(with_best(board, saved=8.0, saved_censored=">=", saved_low=3.0, saved_high=math.inf))
    assert "needs at least 8.0x fewer labels (95 %: from 3.0)" in censored.sentence
    undecided = finding(with_best(board, saved=1.3, saved_low=0.8, saved_high=2.1))
    assert undecided.claim.endswith("is not shown to save labels: it needs 1.3x fewer labels")
    open_ended = finding(with_best(board, saved=4.6, saved_low=0.0, saved_high=math.inf))
    assert "it needs 4.6x fewer labels (95 %: open at both ends)" in open_ended.sentence
    worse = finding(with_best(board, saved=0.5, saved_low=0.4, saved_high=0.8))
    assert "needs 2.0x more labels (95 %: 1.2 to 2.5)" in worse.sentence
    unknown = finding(with_best(board, saved=None, saved_reason="the curves share no range of scores"))
    assert "Labels saved is undefined: the curves share no range of scores." in unknown.sentence
    few = finding(with_best(board, saved_mark="few seeds"))
    assert "Fewer than 5 seeds" in few.caveat


def test_a_reference_that_leads_is_not_hidden(tmp_path: Path) -> None:
    strong = replace(ENTRANTS[0], level=0.5)
    write_study(tmp_path, entrants=[strong, ENTRANTS[5]], seeds=2, draws=2, reference=["pixels+linear"])
    found = finding(make_board(open_results(tmp_path)))
    assert "more labels" in found.claim
    assert found.caveat.startswith("pixels + linear, which uses no pretraining, leads the board.")


def test_boards_without_rivals_or_scores_have_words(tmp_path: Path) -> None:
    write_study(tmp_path / "a", entrants=ENTRANTS[:2], seeds=2, draws=2)
    only = finding(make_board(open_results(tmp_path / "a")))
    assert "leads the label-only entrants" in only.claim
    write_study(tmp_path / "b", entrants=ENTRANTS[-1:], seeds=2, draws=2)
    assert finding(make_board(open_results(tmp_path / "b"))).claim == "No entrant has a score yet"


def printed(board: Board, width: int) -> list[str]:
    console = Console(width=width, force_terminal=False, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_board(board, console)
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_printed_board_fits_and_shows_everyone(board: Board, width: int) -> None:
    lines = printed(board, width)
    assert max(map(len, lines)) <= width
    text = "".join("\n".join(lines).split())
    if width > 80:  # below, long names are folded
        for entrant in board.frame["entrant"]:
            assert "".join(entrant.split()) in text  # a bracket in a name is no markup
    assert "diverged1of5seeds" in text
    assert "collapsed" in text
    assert ("▁" in text) is (width >= 116)


def test_what_all_share_is_told_once(opened: Opened) -> None:
    edited = make_board(opened, code=Code(sources=frozenset({"another"})))
    text = "\n".join(printed(edited, 100))
    assert text.count("code edited since") == 1
    assert "all entrants: code edited since" in text


def test_many_references_are_called_by_the_study_s_names(board: Board) -> None:
    many = tuple(f"random_init[encoder={name}] + finetune" for name in "abcd")
    assert reference_text(replace(board, reference=many)) == "the best of random_init + finetune and pixels + linear"
    one_name = replace(board, reference=many, reference_names=("random_init+finetune",))
    assert reference_text(one_name) == "the best random_init + finetune"
    assert reference_text(replace(board, reference=many[:1])) == "random_init[encoder=a] + finetune"


def test_the_finding_is_about_pretraining(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:3], seeds=2, draws=2, reference=["pixels+linear"])
    assert "leads the label-only entrants" in finding(make_board(open_results(tmp_path))).claim


def test_behind_a_reference_nobody_leads(board: Board) -> None:
    ranked = board.frame.with_columns(saved=pl.lit(None, pl.Float64), saved_reason=pl.lit("no reason"))
    first = ranked.with_columns(pl.when(pl.col("is_reference")).then(0).otherwise(pl.col("place")).alias("place"))
    claim = finding(replace(board, frame=first.sort("place", nulls_last=True))).claim
    assert "is the best pretrained entrant, with" in claim
    assert "leads" in finding(replace(board, frame=ranked)).claim


def test_the_printed_board_ends_with_the_finding(board: Board) -> None:
    text = " ".join(" ".join(printed(board, 100)).split())
    assert text.endswith(finding(board).sentence)
    assert "* fewer than 5 seeds" in text
