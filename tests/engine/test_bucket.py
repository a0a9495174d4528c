"""A study whose results lie in a bucket: run, and read from a machine that has none of it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from bench.engine.trained import find_trained
from bench.store.fragments import Fragments
from tests.engine.conftest import bench, environment
from tests.s3 import BUCKET, Bucket, bucket

__all__ = ["bucket"]
pytestmark = pytest.mark.ray

STUDY = {
    "study": "tiny",
    "data": {"name": "digits", "max_train": 200, "max_test": 100},
    "methods": {"pixels": {}, "simclr": {"encoder": "conv_nano", "epochs": 1, "batch_size": 64}},
    "evaluate": [{"protocol": "linear", "label_budgets": [1, 2], "draws": 2}],
    "seeds": 1,
    "reference": ["pixels+linear"],
}


def test_a_study_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    study, place = tmp_path / "tiny.yaml", f"s3://{BUCKET}/study"
    study.write_text(yaml.safe_dump(STUDY))
    bucket.patch.setenv("BENCH_CACHE", str(tmp_path / "driver"))
    done = bench(study, "--results", place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"rows: {place}/rows/*.parquet" in done.stdout
    root = bucket.machine("reader", "study")
    rows = Fragments(root, "rows").scan().collect()
    assert (rows.height, set(rows["status"])) == (8, {"ok"})
    key = rows.filter(rows["method"] == "simclr")["pretrain_key"][0]
    found = find_trained(root, key)
    assert found is not None
    assert found[0].is_relative_to(root)
    bucket.requests.clear()
    bucket.patch.setenv("BENCH_CACHE", str(tmp_path / "elsewhere"))
    again = bench(study, "--results", place)  # on a machine that has nothing of it, Ray is not even started
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing to do" in again.stdout
    assert "simclr + linear" in again.stdout
    assert bucket.sent("PUT") <= 2  # the probe and the manifest
    assert len(bucket.requests) < 40
    _read_from_elsewhere(bucket, place, tmp_path)


def _read_from_elsewhere(bucket: Bucket, place: str, tmp_path: Path) -> None:
    """What a person does with results of others: a table, a bundle, the winner, by the address alone."""

    def told(*arguments: object) -> str:
        bucket.patch.setenv("BENCH_CACHE", str(tmp_path / f"cache_of_{arguments[0]}"))
        line = [sys.executable, "-m", "bench.cli", *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    table = told("leaderboard", "--results", place, "--format", "csv")
    assert set(pl.read_csv(io.StringIO(table))["entrant"]) == {"simclr + linear", "pixels + linear"}
    told("export", "--results", place, "--format", "bundle", "--to", tmp_path / "bundle")
    assert "as stated, 8 rows" in told("verify", tmp_path / "bundle")
    told("weights", "best", "--results", place, "--to", tmp_path / "winner")
    assert (tmp_path / "winner" / "encoder.safetensors").is_file()


def test_a_bucket_that_is_not_there_stops_it_before_anything_starts(bucket: Bucket, tmp_path: Path) -> None:
    bucket.patch.setenv("BENCH_CACHE", str(tmp_path))
    done = bench("--results", "s3://no-such-bucket/study")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: --results s3://no-such-bucket/study: cannot be listed")
    assert done.stdout == ""
