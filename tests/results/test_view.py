from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from bench.console import show_leaderboard
from bench.errors import UserError
from bench.results.leaderboard import Board, make_board
from bench.results.opening import Opened
from bench.results.render import print_board
from bench.results.summary import finding
from bench.results.tables import flat
from bench.results.view import FORMATS, View, show
from bench.stats.label_efficiency import labels_saved_at
from tests.results.synthetic import ENTRANTS, START, Truth, write_study

TARGET = 0.6


def text(root: Path, view: View, form: str) -> str:
    return FORMATS[form](show(root, view))


def test_csv_has_the_numbers_of_the_board(root: Path, board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(text(root, View(), "csv"))))
    expected = flat(board.frame)
    assert [line["entrant"] for line in lines] == expected["entrant"].to_list()
    for name in ("score", "score_low", "saved", "saved_high", "score@10"):
        assert [float(line[name]) if line[name] else None for line in lines] == expected[name].to_list()
    assert {(line["study"], line["metric"], line["budget"], line["target"]) for line in lines} == {
        ("mae-mask-ratio", "balanced_accuracy", "", "")
    }


def test_json_has_the_numbers_of_the_board(root: Path, opened: Opened) -> None:
    (part,) = json.loads(text(root, View(budget="10", metric="accuracy"), "json"))
    board = make_board(opened, budget="10", metric="accuracy")
    assert (part["metric"], part["budget"], part["dataset"]) == ("accuracy", "10", "fashion_mnist")
    for line, row in zip(part["entrants"], board.frame.to_dicts(), strict=True):
        assert {key: line[key] for key in ("entrant", "score", "score_low", "place", "tags", "budgets")} == {
            key: row[key] for key in ("entrant", "score", "score_low", "place", "tags", "budgets")
        }


def test_at_a_target_labels_saved_is_what_the_statistics_say(root: Path, opened: Opened) -> None:
    (shown,) = show(root, View(target=TARGET))
    scored = opened.scored("balanced_accuracy")
    found = labels_saved_at(scored, opened.test_items, target=TARGET, reference=opened.reference)
    expected = {row["entrant"]: (row["factor"], row["low"], row["high"]) for row in found.to_dicts()}
    for row in shown.board.ranked.to_dicts():
        assert (row["saved"], row["saved_low"], row["saved_high"]) == expected[row["entrant"]]
    sentence = finding(shown.board).sentence
    assert (
        "than the better of random_init + finetune and pixels + linear to reach balanced accuracy 0.6, and" in sentence
    )
    assert f"{TARGET}" in text(root, View(target=TARGET), "latex")


def test_a_target_where_labels_saved_is_undefined_says_so(root: Path) -> None:
    (shown,) = show(root, View(target=0.05))
    assert finding(shown.board).caveat == (
        "Labels saved at balanced accuracy 0.05 is undefined: both curves are beyond the target at their fewest labels."
    )


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View(by="layers"), "--by: unknown grouping 'layers'; valid: axis, dataset, method"),
        (View(target=1.2), "--target: 1.2 is no score"),
        (View(target=0.5, budget="10"), "give --target or --budget, not both"),
        (View(metric="miou"), "--metric: unknown metric 'miou'; valid: accuracy"),
        (View(budget="3"), "--budget: no rows at label budget '3'; valid: 1, 2"),
        (View(study="no"), "--study: unknown study 'no'; valid: mae-mask-ratio"),
    ],
)
def test_wrong_choices_name_the_right_ones(root: Path, view: View, message: str) -> None:
    with pytest.raises(UserError) as error:
        show(root, view)
    assert message in str(error.value)


def test_groups_hold_every_line_with_its_place(root: Path, board: Board) -> None:
    (methods,) = show(root, View(by="method"))
    assert [part.title for part in methods.groups] == board.frame["method"].unique(maintain_order=True).to_list()
    assert methods.lines.drop("group").sort("entrant").equals(board.frame.sort("entrant"))
    (axes,) = show(root, View(by="axis"))
    assert [part.title for part in axes.groups] == ["mask_ratio=0.5", "mask_ratio=0.75", "no axis"]
    assert axes.groups[0].lines["entrant"].to_list() == ["mae[mask_ratio=0.5] + linear"]
    grouped = list(csv.DictReader(io.StringIO(text(root, View(by="axis"), "csv"))))
    assert len(grouped) == board.frame.height
    assert text(root, View(by="method"), "latex").count(r"\begin{table}") == len(methods.groups)


def test_an_entrant_with_two_axes_stands_in_both_groups(tmp_path: Path) -> None:
    two = tuple((name, 0.5) for name in ("mask_ratio", "noise_level"))
    write_study(tmp_path, entrants=[ENTRANTS[0], Truth("mae", "linear", 0.0, 0.2, two)], seeds=2, draws=2)
    (shown,) = show(tmp_path, View(by="axis"))
    assert [part.title for part in shown.groups] == ["mask_ratio=0.5", "noise_level=0.5", "no axis"]
    assert len(text(tmp_path, View(by="axis"), "csv").splitlines()) == 1 + 3


def test_by_dataset_takes_the_newest_study_of_each(tmp_path: Path) -> None:
    write_study(tmp_path, name="old", entrants=ENTRANTS[:2], seeds=2, draws=2)
    write_study(tmp_path, name="new", entrants=ENTRANTS[:2], seeds=3, draws=2, created=START + timedelta(days=1))
    (shown,) = show(tmp_path, View(by="dataset"))
    assert shown.board.study is not None
    assert shown.board.study.name == "new"
    assert shown.groups[0].title == "fashion_mnist"
    assert len(show(tmp_path, View(by="dataset", study="old"))) == 1


def wide(count: int) -> list[Truth]:
    """Entrants with long names, a reference at the end."""
    noise = [(("encoder", "vit_small"), ("noise_level", 0.01 * at)) for at in range(count)]
    many = [Truth("denoise", "linear", -0.01 * at, 0.2, axes) for at, axes in enumerate(noise)]  # type: ignore[arg-type]
    return [*many, ENTRANTS[2]]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("crowd")
    write_study(folder, entrants=wide(30), seeds=2, draws=2, n_test=100, reference=["random_init+linear"])
    return show(folder, View())[0].board


def printed(board: Board, width: int, *, everyone: bool) -> list[str]:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_board(board, console, everyone=everyone)
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_names_stay_on_one_line_and_columns_give_way(crowd: Board, width: int) -> None:
    lines = printed(crowd, width, everyone=False)
    assert max(map(len, lines)) <= width
    names = crowd.frame["entrant"].head(20).to_list()
    assert all(any(name in line for line in lines) for name in names)
    assert any("… and 10 more (bench leaderboard --all)" in line for line in lines)
    assert any("random_init + linear (ref" in line for line in lines)
    heading = next(line for line in lines if "entrant" in line)
    assert ("pretrain" in heading) is (width == 140)


def test_all_shows_all(crowd: Board) -> None:
    lines = printed(crowd, 100, everyone=True)
    assert all(any(name in line for line in lines) for name in crowd.frame["entrant"])
    assert not any("more (bench" in line for line in lines)


def test_the_board_of_a_narrow_terminal_folds_rather_than_cuts(crowd: Board) -> None:
    lines = printed(crowd, 40, everyone=False)
    assert max(map(len, lines)) <= 40
    assert "vit_small" in "".join("".join(lines).split())


def test_the_table_ends_with_the_verdicts_on_the_claims(tmp_path: Path) -> None:
    key = write_study(tmp_path, entrants=ENTRANTS[:4], seeds=2, draws=2)
    claims = [
        {"name": "contrast", "metric": "linear.accuracy", "better": {"simclr": None}, "worse": {"pixels": None}},
        {"name": "[bold]elsewhere", "not_testable": "it takes other images"},
    ]
    path = tmp_path / "studies" / f"{key}.json"
    manifest = json.loads(path.read_text())
    manifest["spec"]["claims"] = claims
    path.write_text(json.dumps(manifest))
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show_leaderboard(tmp_path, View(), console)
    lines = console.export_text().splitlines()
    place = next(at for at, line in enumerate(lines) if line.endswith(": contrast"))
    assert lines[place + 1].startswith("  The difference is +0.")
    assert lines[place + 2 : place + 4] == [
        "not testable here: [bold]elsewhere",
        "  It cannot be tested here: it takes other images.",
    ]
    for form in FORMATS:
        assert "elsewhere" not in text(tmp_path, View(), form)
