"""Fragments: small immutable Parquet files, each written whole by the worker that computed its rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import Literal

import polars as pl

from bench.errors import UserError
from bench.store.files import place
from bench.store.keys import digest_text
from bench.store.mirror import mirror_of
from bench.store.quarantine import set_aside
from bench.store.schema import ROWS, SCHEMA_VERSION, TRIALS
from bench.store.stamps import file_digest, is_sound, stamped
from bench.store.whole import beside

Table = Literal["rows", "trials"]
Query = Callable[[pl.LazyFrame], pl.LazyFrame]
TABLES: tuple[Table, ...] = ("rows", "trials")

_SCHEMAS: dict[Table, pl.Schema] = {"rows": ROWS, "trials": TRIALS}
_IDENTITY: dict[Table, list[str]] = {"rows": ["row_key"], "trials": ["search_key", "number"]}
_SETTLED: dict[Table, tuple[str, str]] = {"rows": ("status", "failed"), "trials": ("state", "failed")}
_MAGIC = b"PAR1"
_SUFFIX = ".parquet"
_TRIES = 7  # of a reader whose files are merged away under its hands
_REST_SECONDS = 0.05  # before the second try; twice as long before each that follows
_GROUP_ROWS = 1 << 14  # of a compacted file: the rows of one study lie in few groups, the others are not read


class Fragments:
    """One table of the store: the Parquet files of `<root>/<table>/`, read as one frame without duplicates."""

    def __init__(self, root: Path, table: Table) -> None:
        self.table: Table = table
        self.folder = Path(root) / table
        self.schema = _SCHEMAS[table]
        self.identity = _IDENTITY[table]

    def write(self, frame: pl.DataFrame) -> Path:
        """Writes rows as one fragment, named by the keys it holds and by the digest of its content.

        Writing the same rows again replaces the file.

        Raises:
            ValueError: a column is missing, unknown, or of another type than the schema says.
        """
        frame = self._conform(frame)
        name = self._name(frame)
        before = list(self.folder.glob(f"{name}.*"))  # not later: of two writers each would remove the other's
        with beside(self.folder / name) as temporary:
            frame.write_parquet(temporary, compression="zstd")
            path = self._place(temporary, name)
        self._remove([old for old in before if old != path])
        return path

    def _place(self, temporary: Path, stem: str) -> Path:
        """Moves a finished file to its place, under a name with its digest."""
        path = self.folder / stamped(stem, file_digest(temporary), _SUFFIX)
        place(temporary, path)
        return path

    def _remove(self, files: list[Path]) -> None:
        mirror = mirror_of(self.folder)
        if mirror is not None and files:
            mirror.withdraw(files)
        for path in files:
            path.unlink(missing_ok=True)

    def _name(self, frame: pl.DataFrame) -> str:
        keys = frame.select(pl.concat_str(pl.col(self.identity).cast(pl.String), separator=":")).to_series().sort()
        column, failed = _SETTLED[self.table]
        # A failure is kept beside the success that may follow it, not in its place.
        return digest_text("\n".join(keys)) + ("-failed" if (frame[column] == failed).any() else "")

    def _conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        frame = frame.with_columns(pl.lit(SCHEMA_VERSION, dtype=pl.Int64).alias("schema_version"))
        missing = [name for name in self.schema if name not in frame.columns]
        extra = [name for name in frame.columns if name not in self.schema]
        if missing or extra:
            raise ValueError(f"{self.table}: missing columns {missing}, unknown columns {extra}")
        frame = frame.select(list(self.schema))
        wrong = {name: dtype for name, dtype in frame.schema.items() if dtype not in (self.schema[name], pl.Null)}
        if wrong:
            raise ValueError(f"{self.table}: columns of the wrong type: {wrong}")
        return frame.cast(self.schema)

    def files(self) -> list[Path]:
        """The sound fragments, in name order; one that is damaged, or foreign, is left out (see `damaged`).

        Listed anew where one was gone when it was looked at: its rows are in another by now (see `compact`).
        """
        for _ in range(_TRIES):
            found = self._candidates()
            sound = [path for path in found if _is_whole(path)]
            if all(path.exists() for path in set(found).difference(sound)):
                break
        return sound

    def damaged(self) -> list[Path]:
        """Files that look like fragments, and whose content is not what their name says, or is no Parquet."""
        return [path for path in self._candidates() if not _is_whole(path) and path.exists()]

    def quarantine(self) -> list[Path]:
        """Moves what is damaged to `<root>/quarantine/`; its rows are missing from then on, and computed again.

        Returns:
            The files that were damaged, by the names they had.
        """
        damaged = self.damaged()
        for path in damaged:
            set_aside(self.folder.parent, path, "not the content that its name says")
        mirror = mirror_of(self.folder)
        if mirror is not None and damaged:
            mirror.sync([self.table])  # those that are sound at the address
        return damaged

    def _candidates(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))

    def scan(self, keys: Collection[str] | None = None) -> pl.LazyFrame:
        """Every row once, with every column of today's schema; columns that an older fragment lacks are null.

        Where a key was written twice the settled row stands before the failed one, then the older before the newer.

        Args:
            keys: only the rows with these keys (the first column of the identity); None means all.
        """
        return self._merge(self.files(), keys)

    def read(self, query: Query, keys: Collection[str] | None = None) -> pl.DataFrame:
        """What a query over `scan` answers, also while fragments are merged: begun anew where one is gone meanwhile.

        Args:
            query: of the frame that `scan` gives.
            keys: as for `scan`.
        """
        for attempt in range(_TRIES - 1):
            try:
                return query(self.scan(keys)).collect()
            except FileNotFoundError:
                time.sleep(_REST_SECONDS * 2**attempt)  # files go one after another: many a listing has some
        return query(self.scan(keys)).collect()

    def _merge(self, files: list[Path], keys: Collection[str] | None = None) -> pl.LazyFrame:
        if not files:
            return pl.LazyFrame(schema=self.schema)
        frame = pl.scan_parquet(files, schema=self.schema, missing_columns="insert", extra_columns="ignore", glob=False)
        if keys is not None:
            frame = self._only(frame, keys)
        column, failed = _SETTLED[self.table]
        return frame.sort(pl.col(column) == failed, "finished", maintain_order=True).unique(
            self.identity, keep="first", maintain_order=True
        )

    def _only(self, frame: pl.LazyFrame, keys: Collection[str]) -> pl.LazyFrame:
        """The rows with these keys; their span of time is found first, so that other files and row groups are skipped.

        Duplicates share a key: to filter first and merge then gives the same rows, and sorts no others.
        """
        key = self.identity[0]
        wanted = pl.LazyFrame({key: list(keys)}, schema={key: self.schema[key]})
        times = frame.select(key, "finished").join(wanted, on=key, how="semi").select("finished")
        when = pl.col("finished")
        span = times.select(when.min().alias("first"), when.max().alias("last"), when.null_count().alias("unknown"))
        first, last, unknown = span.collect(engine="streaming").row(0)
        if first is not None and not unknown:
            frame = frame.filter(when.is_between(first, last))
        return frame.join(wanted, on=key, how="semi")

    def newest_schema(self) -> int:
        """The highest schema version among the fragments; 0 for an empty table."""
        files = self.files()
        if not files:
            return 0
        versions = pl.scan_parquet(files, schema={"schema_version": pl.Int64()}, extra_columns="ignore", glob=False)
        return int(versions.select(pl.col("schema_version").max()).collect().item() or 0)

    def check_readable(self) -> None:
        """Raises:
        UserError: a fragment was written by a newer schema than this version of bench knows.
        """
        newest = self.newest_schema()
        if newest > SCHEMA_VERSION:
            raise UserError(
                f"{self.folder}: written with schema {newest}, this version of bench reads up to {SCHEMA_VERSION}; "
                "upgrade bench to read it"
            )

    def keys(self, settled: bool = True) -> set[str]:
        """Row keys present (rows table only); `settled` leaves out those whose only row says failed."""
        column, failed = _SETTLED[self.table]
        wanted = pl.col(column) != failed if settled else pl.lit(True)
        return set(self.read(lambda frame: frame.filter(wanted).select(self.identity[0])).to_series())

    def compact(self) -> Path | None:
        """Merges all fragments into one and removes the merged ones; None when there is nothing to merge.

        A crash between the two steps leaves rows in two files, which `scan` reads once.
        """
        files = self.files()
        if len(files) < 2:
            return None
        stem = f"compact-{digest_text(chr(10).join(path.name for path in files))}"
        with beside(self.folder / stem) as temporary:
            self._merge(files).sink_parquet(temporary, compression="zstd", row_group_size=_GROUP_ROWS)
            target = self._place(temporary, stem)
        self._remove(files)
        return target


def _is_whole(path: Path) -> bool:
    """Whether a file has the digest in its name; where none is, as in earlier versions, it must be readable."""
    sound = is_sound(path)
    if sound is not None:
        return sound
    try:
        state = path.stat()
    except OSError:
        return False
    return _reads(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _reads(path: Path, size: int, changed: int) -> bool:
    """Whether a file is Parquet whose every column can be read, and has the type of the schema where it knows it."""
    try:
        with path.open("rb") as file:
            if size < 2 * len(_MAGIC) or file.read(4) != _MAGIC:
                return False
        found = pl.read_parquet(path, glob=False).schema
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False
    known = next((schema for table, schema in _SCHEMAS.items() if table == path.parent.name), pl.Schema())
    return all(dtype == known.get(name, dtype) for name, dtype in found.items())
