"""Layer drift of a study's pretrainings, as `bench drift` measured it: one Parquet file a study."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bench.store.files import replacing
from bench.store.schema import Column

ENCODER, DECODER, CONTRAST = "encoder", "decoder", "contrast"  # parts of a network, and the comparison of the two

DRIFT_COLUMNS = (
    Column("method", pl.String(), "the method whose pretrainings are compared"),
    Column("setting", pl.String(), "the noisy setting, e.g. noise=flip, rate=0.5"),
    Column("information_loss", pl.Float64(), "realised 1 - I(Y; Y~) / H(Y) of its labels, mean over its runs"),
    Column("realised_noise_rate", pl.Float64(), "share of the pixels whose label is wrong, mean over its runs"),
    Column(
        "part", pl.String(), "encoder, decoder, or contrast: mean drift of encoder blocks minus that of the decoder"
    ),
    Column("block", pl.String(), "name of the layer the block ends with"),
    Column("place", pl.Int64(), "order from the image on, from 0"),
    Column("drift", pl.Float64(), "0: as far as two clean runs; 1: as far as clean from permuted; null: undefined"),
    Column("low", pl.Float64(), "lower end of the interval over the runs; null: open"),
    Column("high", pl.Float64(), "upper end of the interval over the runs; null: open"),
    Column("noisy", pl.Float64(), "mean 1 - linear CKA of a clean and a noisy run"),
    Column("floor", pl.Float64(), "mean 1 - linear CKA of two clean runs"),
    Column("ceiling", pl.Float64(), "mean 1 - linear CKA of a clean and a permuted run"),
    Column("n_clean", pl.Int64(), "pretrainings on clean labels"),
    Column("n_noisy", pl.Int64(), "pretrainings of the setting"),
    Column("n_permuted", pl.Int64(), "pretrainings on permuted labels"),
    Column("n_images", pl.Int64(), "test images the activations are of"),
    Column("level", pl.Float64(), "confidence level of the intervals"),
    Column("threshold", pl.Float64(), "a block is frozen where its interval and those below it end under this drift"),
    Column("frozen_blocks", pl.Int64(), "blocks of the encoder, from the image on, that the threshold says to freeze"),
)
DRIFT = pl.Schema({column.name: column.dtype for column in DRIFT_COLUMNS})


def drift_path(root: Path, study_key: str) -> Path:
    """Where the drift of a study lies."""
    return root / "drift" / f"{study_key}.parquet"


def write_drift(root: Path, study_key: str, frame: pl.DataFrame) -> Path:
    """Writes the drift of a study, columns of DRIFT, in place of what was there."""
    path = drift_path(root, study_key)
    with replacing(path) as temporary:
        frame.select(list(DRIFT)).write_parquet(temporary)
    return path


def read_drift(root: Path, study_key: str) -> pl.DataFrame | None:
    """The drift of a study; None where it was not measured, or by another version."""
    path = drift_path(root, study_key)
    if not path.is_file():
        return None
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        return None
    return frame if frame.schema == DRIFT else None
