"""The best encoder that the results hold, and images outside any data set as its features."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from PIL import Image

from bench.data.audit.embedding import Embedding
from bench.data.audit.survey import decode_whole, picture_of, read_bytes
from bench.data.batches import to_float
from bench.data.decode import fit
from bench.data.raw import RawImages
from bench.data.shape import ImageShape
from bench.errors import UserError, unknown
from bench.methods.encoder import load_encoder
from bench.store.artifacts import Artifacts
from bench.store.fragments import Fragments

_JUDGES = ("linear", "knn")  # protocols that read one layer of the encoder and nothing else
_BATCH = 256


class Chosen(NamedTuple):
    """An encoder of the results: its folder, the layer to read, and what it is in words."""

    folder: Path
    layer: str
    name: str


def choose_encoder(root: Path, dataset: str | None = None, key: str | None = None) -> Chosen | None:
    """The encoder with the highest mean balanced accuracy under a linear probe or k-NN, over budgets and draws.

    Only scores of one data set, protocol and set of budgets can be compared: those on `dataset` count where there are
    any, else those on the data set with most rows; the linear probe goes before k-NN, and of encoders judged at several
    sets of budgets those with most rows.

    Args:
        root: results folder.
        dataset: name of the data set that the images belong to.
        key: of the pretraining to take; None takes the best.

    Returns:
        None where the results hold no encoder that was judged.

    Raises:
        UserError: no results folder, or no such encoder in it.
    """
    if not root.is_dir():
        raise UserError(f"--results: no folder {str(root)!r}")
    kept = Artifacts(root).keys("encoders")
    if key is not None and key not in kept:
        raise unknown("pretraining", key, kept, "--encoder")
    table = _scores(root, [key] if key else list(kept))
    if not len(table):
        return None if key is None else Chosen(_folder(root, key), "last", f"the encoder {key}")
    best = (
        _comparable(table, dataset)
        .sort("score", "pretrain_key", "layer", descending=[True, False, False])
        .row(0, named=True)
    )
    name = f"{best['method']} ({best['encoder']}, {best['layer']}), best by {best['protocol']} on {best['dataset']}"
    return Chosen(_folder(root, best["pretrain_key"]), best["layer"], name)


def _folder(root: Path, key: str) -> Path:
    folder = Artifacts(root).find("encoders", key)
    if folder is None:
        raise UserError(f"--encoder: {key!r} was damaged, and is in quarantine now")
    return folder


def _scores(root: Path, keys: list[str]) -> pl.DataFrame:
    """Mean balanced accuracy and number of rows of each encoder, layer, protocol and data set."""
    wanted = (pl.col("pretrain_key").is_in(keys), pl.col("protocol").is_in(_JUDGES), pl.col("status") == "ok")
    groups = ("dataset", "protocol", "pretrain_key", "method", "encoder", "layer")
    found = (pl.col("balanced_accuracy").mean().alias("score"), pl.len().alias("rows"))
    return Fragments(root, "rows").read(lambda rows: rows.filter(*wanted).group_by(groups).agg(*found))


def _comparable(table: pl.DataFrame, dataset: str | None) -> pl.DataFrame:
    """The part of the table whose scores mean the same."""
    if dataset not in table["dataset"].to_list():
        most = table.group_by("dataset").agg(pl.col("rows").sum()).sort("rows", "dataset", descending=[True, False])
        dataset = most["dataset"][0]
    table = table.filter(pl.col("dataset") == dataset)
    protocol = next(name for name in _JUDGES if name in table["protocol"].to_list())
    table = table.filter(pl.col("protocol") == protocol)
    return table.filter(pl.col("rows") == table["rows"].max())


def embed_images(chosen: Chosen, raw: RawImages, rows: np.ndarray) -> Embedding:
    """Features of some images, each standardised over them: float32 [n, D].

    Raises:
        UserError: the encoder reads other bands than grey or colour.
    """
    encoder = load_encoder(chosen.folder)
    if encoder.shape.channels not in (1, 3):
        raise UserError(f"--encoder: {chosen.name} reads {encoder.shape.channels} bands; valid: encoders of 1 or 3")
    parts = []
    with torch.inference_mode():
        for part in np.split(rows, range(_BATCH, len(rows), _BATCH)):
            images = np.stack([_fitted(raw, int(row), encoder.shape) for row in part])
            parts.append(encoder.embed(to_float(images), [chosen.layer])[chosen.layer].double().numpy())
    features = np.concatenate(parts)
    deviation = features.std(0)
    scaled = (features - features.mean(0)) / np.where(deviation > 1e-6, deviation, np.inf)
    return Embedding(scaled.astype(np.float32), chosen.name)


def _fitted(raw: RawImages, row: int, shape: ImageShape) -> np.ndarray:
    """An image in the shape that the encoder was built for: uint8 [H, W, C]."""
    pixels = raw.pixels[row] if raw.pixels is not None else decode_whole(read_bytes(raw, row))
    picture = picture_of(pixels)
    if shape.height == shape.width and picture.size != (shape.width, shape.height):
        return fit(picture, shape.height, shape.channels)
    if picture.size != (shape.width, shape.height):
        picture = picture.resize((shape.width, shape.height), Image.Resampling.BICUBIC)
    return fit(picture, None, shape.channels)
