"""Studies that hold out one tile each, as one: which belong together, what is added up, what is said of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.cli import main
from bench.errors import UserError
from bench.results.pool import pool, pool_bundles
from bench.stats.pool import miou
from bench.store.files import read_json, write_json
from bench.store.fragments import Fragments
from bench.store.keys import content_key
from bench.store.schema import ROWS, SCHEMA_VERSION

TILES = ("Tile 1", "Tile 2", "Tile 3", "Tile 4")


def confusion(skill: float, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 600)
    guess = np.where(rng.random(600) < skill, truth, rng.integers(0, 3, 600))
    return np.bincount(3 * truth + guess, minlength=9).reshape(3, 3).tolist()


def write_tile(
    root: Path, tiles: list[str], *, updated: str = "2026-11-20", shift: float = 0.0, seeds: int = 2
) -> None:
    """A study of one held-out part: noisy labels ahead of random initialisation by 0.2 of skill."""
    spec = {"study": "dubai", "data": {"name": "dubai_aerial", "test_tiles": tiles}, "seeds": seeds,
            "reference": ["random_init+segmentation"]}  # fmt: skip
    rows = []
    for method, skill in (("random_init", 0.3), ("noisy_labels", 0.5)):
        for seed in range(seeds):
            for draw in range(2):
                place = int(content_key("cell", t=tiles, m=method, s=seed, d=draw)[:8], 16)
                rows.append(
                    dict.fromkeys(ROWS)
                    | {
                        "schema_version": SCHEMA_VERSION,
                        "row_key": content_key("row", t=tiles, m=method, s=seed, d=draw, u=updated),
                        "method": method,
                        "axes": "{}",
                        "encoder": "unet_nano",
                        "protocol": "segmentation",
                        "protocol_options": "{}",
                        "layer": "last",
                        "seed": seed,
                        "draw": draw,
                        "label_budget": "4",
                        "n_labels": 4,
                        "status": "ok",
                        "details": json.dumps({"confusion": confusion(skill + shift, place)}),
                    }
                )
    Fragments(root, "rows").write(pl.DataFrame(rows, schema=ROWS))
    key = content_key("study", tiles=tiles, updated=updated)
    manifest = {"study_key": key, "study": "dubai", "spec": spec, "data": {}, "created": updated, "updated": updated,
                "row_keys": [row["row_key"] for row in rows]}  # fmt: skip
    write_json(root / "studies" / f"{key}.json", manifest)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for tile in TILES:
        write_tile(tmp_path, [tile])
    return tmp_path


def stacked(root: Path, method: str) -> np.ndarray:
    """Confusion matrices of all tiles added up, by seed and draw: [4, K, K]."""
    rows = Fragments(root, "rows").scan().collect().filter(pl.col("method") == method)
    cells = [
        np.array([json.loads(text)["confusion"] for text in part["details"]]).sum(0)
        for _, part in rows.group_by("seed", "draw")
    ]
    return np.array(cells)


def test_the_tiles_are_added_up_and_are_the_unit(root: Path) -> None:
    found = pool(root, "dubai")
    assert (found.parts, found.metric) == (TILES, "miou")
    lines = {line["entrant"].split(" ")[0]: line for line in found.frame.to_dicts()}
    for method, line in lines.items():
        assert line["score"] == pytest.approx(miou(stacked(root, method)).mean())
        assert (line["parts"], line["replicates"], line["label_budget"]) == (4, 4, "4")
    noisy = lines["noisy_labels"]
    assert noisy["difference"] == pytest.approx(noisy["score"] - lines["random_init"]["score"])
    assert noisy["difference_low"] > 0
    assert lines["random_init"]["difference"] is None


def test_bundles_pool_as_their_studies_do(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    published = tmp_path_factory.mktemp("published")
    for path in (root / "studies").glob("*.json"):
        manifest = read_json(path)
        assert manifest is not None
        rows = Fragments(root, "rows").scan().filter(pl.col("row_key").is_in(manifest["row_keys"])).collect()
        to = published / manifest["spec"]["data"]["test_tiles"][0].replace(" ", "_").lower()
        to.mkdir()
        rows.write_parquet(to / "rows.parquet")
        write_json(to / "study.json", manifest)
    assert pool_bundles(published).frame.equals(pool(root, "dubai").frame)
    with pytest.raises(UserError, match="no bundle in a folder of"):
        pool_bundles(root)


def test_of_a_tile_run_twice_the_newest_counts(root: Path) -> None:
    before = pool(root, "dubai").frame["score"][0]
    write_tile(root, ["Tile 1"], updated="2026-11-21", shift=0.3)
    after = pool(root, "dubai")
    assert after.parts == TILES
    assert after.frame["score"][0] > before


def test_another_question_is_not_pooled(root: Path) -> None:
    write_tile(root, ["Tile 5"], seeds=3)
    assert pool(root, content_key("study", tiles=["Tile 1"], updated="2026-11-20")).parts == TILES
    with pytest.raises(UserError, match=r"1 choice of data.test_tiles"):
        pool(root, content_key("study", tiles=["Tile 5"], updated="2026-11-20"))


def test_overlapping_parts_are_refused(root: Path) -> None:
    write_tile(root, ["Tile 1", "Tile 5"])
    with pytest.raises(UserError, match="Tile 1 is held out in several studies"):
        pool(root, "dubai")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "unknown study 'nothing'"),
        (["dubai", "--metric", "boundary_f1"], "unknown metric 'boundary_f1'"),
        (["dubai", "--format", "xml"], "unknown format 'xml'"),
        (["dubai", "--reference", "pixels+linear"], "unknown entrant 'pixels+linear'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str], says: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["pool", *arguments, "--results", str(root)])
    assert left.value.code == 2
    told = capsys.readouterr().err.strip()
    assert says in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_the_command_prints_it(form: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["pool", "dubai", "--results", str(root), "--format", form])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert "noisy_labels + segmentation" in told
    assert ("over 4 parts" in told) == (form == "table")
