"""What is known of a data set once its images were read: enough to plan a study without opening them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from bench.store.files import read_json, write_json
from bench.store.keys import canonical_json, digest_text
from bench.store.mirror import fetched
from bench.store.quarantine import set_aside

_DIGEST = "digest"  # in the file of a record, of everything else in it
GENERATED = ("land_cover", "shape_scenes")  # the test beds that are made rather than read
OWN = ("folder", "table", "coco", "shards", "hub")  # readers of the user's own labelled images


def shown_name(name: str) -> str:
    """The name of a data set as people read it: a test bed is called one wherever it shows."""
    return f"{name} (a generated test bed)" if name in GENERATED else name


class Duplicates(NamedTuple):
    """Images that show the same, identical ones among them: how many, in how many clusters of two or more.

    Attributes:
        images: kept on one side of the split.
        clusters: of these.
        apart: images that are not, as more of them hang together than a split could hold.
        apart_clusters: of those.
    """

    images: int
    clusters: int
    apart: int
    apart_clusters: int

    def line(self) -> str | None:
        """This in one line; None where there are none."""
        side = "stay on one side of the split"
        kept = f"{self.images:,} images in {_clusters(self.clusters)} {side}"
        apart = (
            f"{self.apart:,} in {_clusters(self.apart_clusters)} do not{'' if self.images else ' ' + side}: "
            "too many hang together (bench data audit names them; give them groups)"
        )
        said = [part for part, count in ((kept, self.images), (apart, self.apart)) if count]
        return "near duplicates: " + "; ".join(said) if said else None


def _clusters(count: int) -> str:
    return f"{count:,} {'cluster' if count == 1 else 'clusters'}"


def _digest(value: Any) -> str:
    return digest_text(canonical_json(value))


@dataclass(frozen=True)
class DataRecord:
    """Fingerprint, split, shape and counts of one data set as one study reads it."""

    data_key: str
    source_key: str
    name: str
    fingerprint: str
    split_digest: str
    image_shape: tuple[int, int, int]  # height, width, channels
    class_names: tuple[str, ...]
    pool_counts: tuple[int, ...]  # images of each class in the train pool
    n_train: int
    n_validation: int
    n_test: int
    skipped: tuple[tuple[str, str], ...] = ()  # path, reason
    masked: bool = False  # whether every pixel has a class
    n_upstream: int = 0  # images for pretraining alone, beside the train pool; 0: pretraining reads the train pool
    shown: tuple[tuple[int, ...], ...] = ()  # images of train, validation and test that show each class; of masks
    notes: tuple[str, ...] = ()  # how the images were read, where that needs to be said
    near: Duplicates | None = None  # near duplicates; None: only identical images are kept together

    @property
    def n_pretraining(self) -> int:
        """Images that a pretraining reads."""
        return self.n_upstream or self.n_train

    @staticmethod
    def path(root: Path, data_key: str) -> Path:
        """Where the record of this data key lies."""
        return Path(root) / "data" / f"{data_key}.json"

    def save(self, root: Path) -> None:
        """Writes the record atomically under the results root."""
        write_json(self.path(root, self.data_key), self.as_json() | {_DIGEST: _digest(self.as_json())})

    def as_json(self) -> dict[str, Any]:
        """The record as plain JSON data."""
        return asdict(self)

    @classmethod
    def load(cls, root: Path, data_key: str) -> DataRecord | None:
        """The record, or None where the images were not read yet; one that is damaged is put in quarantine."""
        path = fetched(cls.path(root, data_key))
        if not path.exists():
            return None
        value = read_json(path)
        said = value.pop(_DIGEST, None) if isinstance(value, dict) else ""
        if not isinstance(value, dict) or (said is not None and said != _digest(value)):  # none: an earlier version's
            set_aside(Path(root), path, "not the record that was written")
            return None
        return cls.from_json(value)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DataRecord:
        """The inverse of `as_json`."""
        known = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        known["image_shape"] = tuple(known["image_shape"])
        known["class_names"] = tuple(known["class_names"])
        known["pool_counts"] = tuple(known["pool_counts"])
        known["skipped"] = tuple((path, reason) for path, reason in known.get("skipped", ()))
        known["notes"] = tuple(known.get("notes", ()))
        known["near"] = None if known.get("near") is None else Duplicates(*known["near"])
        known["shown"] = tuple(tuple(counts) for counts in known.get("shown", ()))
        return cls(**known)
