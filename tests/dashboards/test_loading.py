from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dashboards.frame import plain
from dashboards.loading import ENVIRONMENT, load_board, load_studies, results_root
from dashboards.looks import stamp
from tests.dashboards.conftest import DASHBOARDS
from tests.results.synthetic import ENTRANTS, write_study


def test_the_argument_goes_before_the_environment_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["app.py"])
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert results_root() == Path("results")
    monkeypatch.setenv(ENVIRONMENT, "~/there")
    assert results_root() == Path("~/there").expanduser()
    monkeypatch.setattr("sys.argv", ["app.py", "--results", "here", "--unknown"])
    assert results_root() == Path("here")


def test_new_rows_are_seen_and_old_ones_are_not_computed_twice(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:2], seeds=1, draws=1)
    before = stamp(tmp_path)
    first = load_board(tmp_path, None, None, None)
    assert load_board(tmp_path, None, None, None) is first
    write_study(tmp_path, entrants=ENTRANTS[:3], seeds=1, draws=1, name="later")
    assert stamp(tmp_path) != before
    assert load_board(tmp_path, "later", None, None).frame.height > first.frame.height
    assert len(load_studies(tmp_path)) == 2


def test_a_missing_root_has_a_stamp(tmp_path: Path) -> None:
    assert stamp(tmp_path / "nowhere") == (0, 0)


def test_markup_is_escaped() -> None:
    assert plain("a_b *c* [d](e) `f` $g$ :h: <i> #j\nk") == (r"a\_b \*c\* \[d\]\(e\) \`f\` \$g\$ \:h\: \<i\> \#j k")


def test_the_theme_lies_beside_the_app_for_light_and_dark() -> None:
    theme = tomllib.loads((DASHBOARDS / ".streamlit" / "config.toml").read_text())["theme"]
    assert theme["light"].keys() == theme["dark"].keys()


def test_the_dashboard_imports_neither_torch_nor_ray() -> None:
    program = "import sys, dashboards.frame, dashboards.loading, bench.results.forest, bench.results.figures\n"
    program += "print([name for name in ('torch', 'ray', 'timm') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pandas_is_whole_before_any_page_is_drawn() -> None:
    """Two readers' first pages are two threads: plotly looks at what one of them has half imported."""
    program = "import sys, dashboards.frame\nprint(hasattr(sys.modules.get('pandas'), 'Series'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
