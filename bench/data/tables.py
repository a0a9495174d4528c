"""The user's own images listed in a table: CSV or Parquet with path, label, and perhaps group and split."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bench.data.listing import File
from bench.data.naming import codes_or_none, inner_path, number_classes, number_groups, split_code
from bench.data.raw import TRAIN, RawImages
from bench.errors import UserError
from bench.store.keys import digest_bytes

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
COLUMNS = ("path", "label", "group", "split")
_ABSENT = -1  # bytes of a file that is not there


def read_table(root: Path) -> RawImages:
    """The images that a table names, by paths relative to its folder.

    An empty label is an unlabelled image, used for pretraining only. Images of one group stay on one side of a split.
    A split is train, validation (val) or test; an empty one is train. Without a test split one is cut off.

    Raises:
        UserError: the table cannot be read, has no column `path` or `label`, names an image twice, or leads elsewhere.
    """
    table, folder = load_table(root), root.resolve().parent
    labels, classes = number_classes(table["label"].to_list())
    codes = [
        TRAIN if name is None else split_code(name, f"data.root: {root.name}, row {row}, split")
        for row, name in enumerate(table["split"].to_list(), start=1)
    ]
    groups = table["group"].to_list()
    return RawImages(
        paths=tuple(_paths(table, root)),
        labels=labels,
        class_names=classes,
        root=folder,
        groups=number_groups(groups) if any(group is not None for group in groups) else None,
        official=codes_or_none(codes),
    )


def table_files(root: Path) -> list[object]:
    """The table by its content, and size and time of change of every image that it names."""
    paths, folder = _paths(load_table(root), root), root.resolve().parent
    return [digest_bytes(root.read_bytes()), *(_file(folder, path) for path in sorted(paths))]


def load_table(root: Path) -> pl.DataFrame:
    """The four columns as text, empty cells null: path, label, group, split.

    Raises:
        UserError: as `read_table`.
    """
    try:
        read = _read_parquet if root.suffix.lower() in (".parquet", ".pq") else _read_text
        return _four_columns(read(root), root)
    except FileNotFoundError:
        raise UserError(f"data.root: no file {str(root)!r}") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"data.root: {root} cannot be read as a table ({reason})") from None


def _four_columns(table: pl.DataFrame, root: Path) -> pl.DataFrame:
    table = table.rename({name: name.strip().lower() for name in table.columns if name.strip().lower() in COLUMNS})
    for name in ("path", "label"):
        if name not in table.columns:
            raise UserError(
                f"data.root: {root} has no column {name!r}, only {', '.join(table.columns[:8])}; "
                "valid: path, label, and perhaps group and split"
            )
    absent = pl.lit(None, pl.String)
    return table.select(_clean(name) if name in table.columns else absent.alias(name) for name in COLUMNS)


def _clean(name: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text).alias(name)


def _read_parquet(root: Path) -> pl.DataFrame:
    return pl.read_parquet(root)


def _read_text(root: Path) -> pl.DataFrame:
    """A table of text whose cells are parted by commas, semicolons or tabs, whichever its first line has most of."""
    with root.open(encoding="utf-8-sig") as file:
        head = file.readline()
    separator = max(",;\t", key=head.count)
    return pl.read_csv(root, separator=separator, infer_schema=False)


def _paths(table: pl.DataFrame, root: Path) -> list[str]:
    folder = root.resolve().parent
    paths: dict[str, int] = {}
    for row, name in enumerate(table["path"].to_list(), start=1):
        where = f"data.root: {root.name}, row {row}, path"
        if name is None:
            raise UserError(f"{where}: empty; the name of an image is needed")
        path = inner_path(folder, name, where)
        if path in paths:
            raise UserError(f"{where}: {name!r} stands in row {paths[path]} already")
        paths[path] = row
    if not paths:
        raise UserError(f"data.root: {root} names no image")
    return list(paths)


def _file(folder: Path, path: str) -> File:
    try:
        status = (folder / path).stat()
    except OSError:
        return File(path, _ABSENT, 0)
    return File(path, status.st_size, status.st_mtime_ns)
