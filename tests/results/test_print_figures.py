"""Figures for print: files that are what they say, the same every time, with every name as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import polars as pl
import pytest
from PIL import Image

from bench.results.leaderboard import Board, make_board
from bench.results.opening import Opened, open_results
from bench.results.palette import styles
from bench.results.print_figures import curves_print, forest_print, response_print
from bench.results.print_files import drawings, figure_bytes, write_print_figures
from bench.results.sweep import axes_of, lines
from tests.results.synthetic import ENTRANTS, Truth, write_study

ROOT = Path(__file__).parents[2]
ODD = ("$x^2$ & <b>", "_hidden", r"\frac{a}{b}", "per % cent")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    write_study(root, entrants=[*ENTRANTS[:2], *ENTRANTS[3:7]], seeds=2, draws=2, n_test=100)
    return root


def looks(board: Board) -> dict:
    return styles(board.frame["entrant"].to_list(), board.reference)


def pdf_text(content: bytes) -> str:
    """What the text operators of a PDF show, in order; glyph 0 of a font of ligatures is `fi`."""
    found = b""
    for match in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        try:
            page = zlib.decompress(match[1])
        except zlib.error:
            continue
        for shown in re.findall(rb"BT\n(.*?)\nET", page, re.DOTALL):
            found += b"".join(re.findall(rb"\(((?:\\.|[^()\\])*)\)", shown, re.DOTALL)) + b"\0\n"
    return re.sub(rb"\\(.)", rb"\1", found, flags=re.DOTALL).decode("utf-16-be").replace("\0", "fi")


def test_every_format_is_what_it_says_and_the_same_twice(small: Path, tmp_path: Path) -> None:
    opened = open_results(small)
    board = make_board(opened)
    before = dict(matplotlib.rcParams)
    files = write_print_figures(opened, board, looks(board), tmp_path / "a")
    assert dict(matplotlib.rcParams) == before
    names = ["curves", "forest", "response_mae.mask_ratio_linear"]
    assert [file.name for file in files] == [f"{name}.{ending}" for name in names for ending in ("svg", "pdf", "png")]
    svg, pdf, png = (files[place] for place in range(3))
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert pdf.read_bytes().rstrip().endswith(b"%%EOF")
    with Image.open(png) as image:
        image.verify()
        assert image.width == 1680
    assert not re.search(rb"CreationDate|<dc:date|\d{4}-\d\d-\d\dT", b"".join(file.read_bytes() for file in files[:2]))
    program = (
        "import sys; from pathlib import Path; from tests.results.test_print_figures import *; "
        "board = make_board(open_results(Path(sys.argv[1]))); order = board.ranked['entrant'].to_list(); "
        "[sys.stdout.buffer.write(figure_bytes(lambda: curves_print(board, looks(board), order), ending)) "
        "for ending in ('svg', 'pdf', 'png')]"
    )
    again = subprocess.run([sys.executable, "-c", program, str(small)], check=True, cwd=ROOT, capture_output=True)
    assert again.stdout == b"".join(file.read_bytes() for file in files[:3])


def test_names_stand_in_the_files(small: Path) -> None:
    opened = open_results(small)
    board = make_board(opened)
    drawn = drawings(opened, board, looks(board))
    svg, pdf = figure_bytes(drawn["curves"], "svg").decode(), pdf_text(figure_bytes(drawn["curves"], "pdf"))
    for name in board.ranked["entrant"]:
        assert f"<!-- {name} -->" in svg
        assert name in pdf
    forest = figure_bytes(drawn["forest"], "svg").decode()
    shown = board.ranked.filter(~pl.col("is_reference"))["entrant"]
    assert all(f"<!-- {name} -->" in forest for name in shown)


def test_nothing_in_a_name_is_mathematics_or_markup(tmp_path: Path) -> None:
    odd = [Truth(name, "linear", 0.1 * place, 0.25, (("$a_b$", name),)) for place, name in enumerate(ODD)]
    odd += [Truth(ODD[0], "linear", 0.3, 0.25, (("$a_b$", "$other$"),))]
    write_study(tmp_path, entrants=[*ENTRANTS[:2], *odd], seeds=2, draws=2, n_test=100)
    opened = open_results(tmp_path)
    board = make_board(opened)
    drawn = drawings(opened, board, looks(board))
    for figure in ("curves", "forest"):
        text = pdf_text(figure_bytes(drawn[figure], "pdf"))
        assert all(name in text for name in ODD), (figure, text)
    (response,) = [name for name in drawn if name.startswith("response")]
    assert re.fullmatch(r"[A-Za-z0-9._-]+", response)
    text = pdf_text(figure_bytes(drawn[response], "pdf"))
    assert f"{ODD[0]}.$a_b$" in text
    assert "$other$" in text
    ElementTree.fromstring(figure_bytes(drawn[response], "svg"))


def test_figures_show_what_the_board_says(opened: Opened, board: Board) -> None:
    order = board.ranked["entrant"].to_list()
    (axes,) = curves_print(board, looks(board), order).axes
    assert len(axes.lines) == len(axes.collections) == len(order)
    best = board.curves.filter(pl.col("entrant") == order[0]).sort("n_labels")
    assert axes.lines[-1].get_ydata().tolist() == best["score"].to_list()  # on top
    (axes,) = forest_print(board, looks(board), order).axes
    saved = board.ranked.filter(pl.col("saved").is_not_null(), ~pl.col("is_reference"))
    assert [label.get_text() for label in axes.get_yticklabels()] == saved["entrant"].to_list()
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() not in ("None", None, "")]
    assert points == pytest.approx(saved["saved"].to_list())
    axis = axes_of(opened.rows)[0]
    found = lines(opened, axis, metric="accuracy", protocol="linear")
    (axes,) = response_print(found, axis, metric="accuracy", protocol="linear").axes
    assert axes.lines[0].get_ydata().tolist() == found[0].table.sort("value")["score"].to_list()


def test_matplotlib_is_not_read_before_a_figure_is_wanted() -> None:
    program = "import sys, bench.results.export, bench.results.takeaway, dashboards.loading; "
    program += "sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_where_nobody_saves_labels_there_is_no_forest(board: Board, opened: Opened) -> None:
    nobody = replace(board, frame=board.frame.with_columns(saved=pl.lit(None, pl.Float64)))
    assert "forest" not in drawings(opened, nobody, looks(board))
