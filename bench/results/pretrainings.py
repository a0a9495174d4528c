"""The pretrainings behind a study's rows: how each ended, how long it took, how its loss fell."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl

from bench.results.entrants import LABEL_ONLY, axes_text
from bench.store.artifacts import Artifacts
from bench.store.files import read_json

_RECORD = "training.json"
_SCHEMA = {
    "pretrain_key": pl.String(),
    "method": pl.String(),
    "setting": pl.String(),
    "encoder": pl.String(),
    "seed": pl.Int64(),
    "status": pl.String(),
    "reason": pl.String(),
    "seconds": pl.Float64(),
    "images_per_second": pl.Float64(),
    "losses": pl.List(pl.Float64()),
    "parameters": pl.Int64(),
    "device": pl.String(),
    "rows": pl.Int64(),
}


def pretrainings(root: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """One line for each pretraining that these rows rest on; methods that learn nothing before labels have none.

    Args:
        root: the results root, for the records beside the encoders; `bench gc` may have dropped those.
        rows: with the columns pretrain_key, method, axes, encoder, seed, status, reason, pretrain_seconds, parameters.

    Returns:
        pretrain_key, method, setting, encoder, seed, status, reason, seconds, images_per_second, losses (mean of each
        epoch; not finite ones as null), parameters, device, rows; the last four of a record and the losses null where
        it is gone.
    """
    ok = pl.col("status") == "ok"
    lines = (
        rows.filter(~pl.col("method").is_in(LABEL_ONLY))
        .group_by("pretrain_key")
        .agg(
            pl.col("method", "axes", "encoder", "seed").first(),
            pl.when(ok.any()).then(pl.lit("ok")).otherwise(pl.col("status").first()).first().alias("status"),
            pl.col("reason").filter(~ok).drop_nulls().first(),
            pl.col("pretrain_seconds").max().alias("seconds"),
            pl.col("parameters").max(),
            pl.len().cast(pl.Int64).alias("rows"),
        )
        .sort("method", "axes", "encoder", "seed", nulls_last=True)
    )
    Artifacts(root).fetch_parts("encoders", lines["pretrain_key"], (_RECORD, "previews/"))
    folder = root / "artifacts" / "encoders"
    return pl.DataFrame([_line(folder, row) for row in lines.iter_rows(named=True)], schema=_SCHEMA)


def _line(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    record = read_json(folder / row["pretrain_key"] / _RECORD)
    record = record if isinstance(record, dict) else {}
    losses = record.get("losses")
    pace = record.get("images_per_second")
    known = {name: row[name] for name in _SCHEMA if name in row}
    return known | {
        "setting": axes_text(row["axes"]),
        "images_per_second": float(pace) if isinstance(pace, int | float) and pace > 0 else None,
        "losses": [_finite(loss) for loss in losses] if isinstance(losses, list) else None,
        "device": str(record["device"]) if record.get("device") else None,
    }


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
