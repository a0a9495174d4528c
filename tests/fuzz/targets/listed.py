"""The user's own data in files that list or hold images: tables, COCO annotations, shards."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import polars as pl

from bench.data.coco import is_coco, read_coco
from bench.data.raw import RawImages
from bench.data.shards import read_shards
from bench.data.tables import read_table
from tests.fuzz.harness import Target
from tests.fuzz.mutate import Rng, bytes_near, value_near

_CSV = b'path,label,group,split\na.png,cat,1,train\nb/c.png,dog,2,test\n"d,e.png",,3,val\nf.png,cat,,\n'
_COCO = {
    "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 7}, {"id": 2, "image_id": 2, "category_id": 8}],
    "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}],
}


def _parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"path": ["a.png", "b.png"], "label": ["cat", "dog"], "group": [1, 2]}).write_parquet(file)
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in (("a.png", b"x" * 30), ("a.cls", b"1"), ("b.jpg", b"y"), ("b.json", b'{"label": "dog"}')):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


_PARQUET, _TAR = _parquet(), _tar()


def _table(rng: Rng) -> tuple[str, bytes]:
    if rng.random() < 0.5:
        return "table.csv", bytes_near(_CSV, rng)
    return "table.parquet", bytes_near(_PARQUET, rng)


def _read_table(made: tuple[str, bytes], folder: Path) -> bool:
    path = folder / made[0]
    path.write_bytes(made[1])
    return _inside(read_table(path), folder)


def _coco(rng: Rng) -> bytes:
    if rng.random() < 0.5:
        value = value_near(_COCO, rng)
        return json.dumps(value, default=str, skipkeys=True).encode() if _writes(value) else b"[" * 100_000
    return bytes_near(json.dumps(_COCO).encode(), rng)


def _writes(value: object) -> bool:
    try:
        json.dumps(value, default=str, skipkeys=True)
    except ValueError:  # a number of more digits than Python writes
        return False
    return True


def _read_coco(made: bytes, folder: Path) -> bool:
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    path = folder / "instances.json"
    path.write_bytes(made)
    is_coco(path)
    return _inside(read_coco(path), folder)


def _shards(rng: Rng) -> bytes:
    return bytes_near(_TAR, rng)


def _read_shards(made: bytes, folder: Path) -> bool:
    path = folder / "train-000.tar"
    path.write_bytes(made)
    raw = read_shards(str(path))
    for row, place in enumerate(np.empty((0, 3)) if raw.places is None else raw.places):
        assert raw.packed is not None
        assert len(raw.packed.read(place)) == place[2], raw.paths[row]
    return _inside(raw, folder)


def _inside(raw: RawImages, folder: Path) -> bool:
    assert len(raw.paths) == len(raw.labels) > 0
    assert not any(path.startswith("/") or ".." in path.split("/") for path in raw.paths)
    return True


TABLE = Target(_table, _read_table, share=3)
COCO = Target(_coco, _read_coco, share=6)
SHARDS = Target(_shards, _read_shards, share=8)
