"""Train pool, validation and test, and the labelled draws of the train pool."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from bench.errors import UserError
from bench.seeds import named_seed
from bench.store.files import replacing
from bench.store.mirror import fetched
from bench.store.quarantine import set_aside

SPLIT_NAMES = ("train", "validation", "test")
UPSTREAM = "upstream"  # a fourth part, where pretraining and label budgets share no image
Strategy = Literal["balanced", "uniform", "coverage"]


@dataclass(frozen=True)
class Splits:
    """Which image is where; indices point into the image store.

    Attributes:
        train: int64, the train pool, sorted; may hold unlabelled images (label -1).
        validation: int64, sorted.
        test: int64, sorted; position in it is the `item` of a row's bitmap.
        labels: int64 [N], of the whole store.
        groups: int64 [N], of the whole store; where near duplicates stay together, joined for all images in use.
        class_names: in the order of the labels.
        digest: content digest of all this and of the images' fingerprint.
        upstream: int64, sorted, images for pretraining alone, none of them in the train pool; None: there are none.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    class_names: tuple[str, ...]
    digest: str
    upstream: np.ndarray | None = None

    @property
    def pretraining(self) -> np.ndarray:
        """What a pretraining may read: int64, sorted; the train pool, unless images are kept for it alone."""
        return self.train if self.upstream is None else self.upstream

    @cached_property
    def labelled(self) -> np.ndarray:
        """The labelled part of the train pool: int64, sorted."""
        return np.asarray(self.train[self.labels[self.train] >= 0])

    @cached_property
    def pool_counts(self) -> np.ndarray:
        """Labelled train-pool images of each class: int64 [classes]."""
        return np.bincount(self.labels[self.labelled], minlength=len(self.class_names))

    def budget(self, label_budget: str, draw: int, strategy: Strategy = "balanced") -> np.ndarray:
        """The images whose labels a protocol may see.

        A smaller budget of the same draw and strategy is a prefix of a larger one, so draws nest.

        Args:
            label_budget: labels a class ("1", "10"), or "all" for every labelled image of the train pool.
            draw: number of the draw, from 0; "all" has draw 0 only.
            strategy: "balanced" takes the budget from every class; "uniform" takes budget x classes images from the
                pool as they come, so that a rare class may be missing.
                "coverage" needs the images: see `Dataset.budget`.

        Returns:
            int64 indices into the image store, without repetition.

        Raises:
            UserError: the budget is no positive number, is larger than the smallest class ("balanced") or than the
                pool ("uniform"), or "all" is asked for with another draw.
            ValueError: there is no such strategy.
        """
        if label_budget == "all":
            if draw != 0:
                raise UserError(f"label budget 'all' has one draw, 0; draw {draw} was asked for")
            return self.labelled
        count = _parse_budget(label_budget)
        if strategy == "balanced":
            return self._balanced(count, draw)
        if strategy == "uniform":
            return self._uniform(count, draw)
        raise ValueError(f"unknown draw strategy {strategy!r}; valid: balanced, uniform")

    def _balanced(self, count: int, draw: int) -> np.ndarray:
        smallest = int(self.pool_counts.argmin())
        available = int(self.pool_counts[smallest])
        if count > available:
            raise UserError(
                f"label budget {count} is larger than the smallest class of the train pool, "
                f"{self.class_names[smallest]!r} with {available}; the largest valid budget is {available}"
            )
        pools = [self.labelled[self.labels[self.labelled] == label] for label in range(len(self.class_names))]
        firsts = [shuffled(pool, self.digest, "draw", draw, label)[:count] for label, pool in enumerate(pools)]
        return np.stack(firsts, axis=1).reshape(-1)  # by rank, then class: what makes a smaller budget a prefix

    def _uniform(self, count: int, draw: int) -> np.ndarray:
        largest = len(self.labelled) // len(self.class_names)
        if count > largest:
            raise UserError(
                f"label budget {count} x {len(self.class_names)} classes is larger than the train pool of "
                f"{len(self.labelled)}; the largest valid budget is {largest}"
            )
        return shuffled(self.labelled, self.digest, "uniform draw", draw)[: count * len(self.class_names)]

    def table(self) -> pl.DataFrame:
        """One row an image in use: item (position within its split), index, split, label, group."""
        parts = [(name, getattr(self, name)) for name in SPLIT_NAMES]
        if self.upstream is not None:
            parts.append((UPSTREAM, self.upstream))
        return pl.concat(
            pl.DataFrame(
                {
                    "item": np.arange(len(indices), dtype=np.int64),
                    "index": indices,
                    "split": [name] * len(indices),
                    "label": self.labels[indices],
                    "group": self.groups[indices],
                },
                schema=_TABLE,
            )
            for name, indices in parts
        )

    def save(self, root: Path) -> None:
        """Writes the table atomically to `<root>/splits/<digest>.parquet`; an existing one is the same and stays."""
        path = splits_path(root, self.digest)
        if path.exists():
            return
        with replacing(path) as temporary:
            self.table().write_parquet(temporary)


_TABLE = {"item": pl.Int64, "index": pl.Int64, "split": pl.String, "label": pl.Int64, "group": pl.Int64}


def splits_path(root: Path, digest: str) -> Path:
    """Where the table of the splits with this digest lies."""
    return Path(root) / "splits" / f"{digest}.parquet"


def load_splits(
    root: Path, digest: str, labels: np.ndarray, groups: np.ndarray, class_names: tuple[str, ...]
) -> Splits | None:
    """The splits saved under this digest, for the store with these labels and groups; None where there are none.

    The groups of images in use are those of the table.

    A table that cannot be read is put in quarantine.
    """
    path = fetched(splits_path(root, digest))
    if not path.exists():
        return None
    try:
        table = pl.read_parquet(path, columns=["index", "split", "group"])
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        set_aside(Path(root), path, str(error).splitlines()[0])
        return None
    parts = {name: table.filter(pl.col("split") == name)["index"].to_numpy() for name in (*SPLIT_NAMES, UPSTREAM)}
    upstream, groups = parts.pop(UPSTREAM), groups.copy()
    rows, names = table["index"].to_numpy(), table["group"].to_numpy()
    there = (rows >= 0) & (rows < len(groups))  # all of them, but in a table that is damaged
    groups[rows[there]] = names[there]
    known = {"labels": labels, "groups": groups, "class_names": class_names, "digest": digest}
    return Splits(**parts, **known, upstream=upstream if len(upstream) else None)


def shuffled(indices: np.ndarray, *names: object) -> np.ndarray:
    """The indices in an order that depends on the names and on nothing else."""
    return np.random.default_rng(named_seed(*names)).permutation(indices)


def _parse_budget(label_budget: str) -> int:
    try:
        count = int(label_budget)
    except ValueError:
        count = 0
    if count < 1:
        raise UserError(f"label budget {label_budget!r} is neither a positive number of labels a class nor 'all'")
    return count
