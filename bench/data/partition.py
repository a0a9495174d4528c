"""How a data set is parted into train pool, validation and test: by group, stratified, the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.data.images import ImageStore
from bench.data.raw import TEST, TRAIN, VALIDATION
from bench.data.splits import Splits, shuffled
from bench.errors import UserError
from bench.store.keys import canonical_json, digest_bytes


def partition(
    store: ImageStore,
    *,
    validation: float = 0.15,
    test: float = 0.2,
    max_train: int | None = None,
    max_test: int | None = None,
    upstream: float | None = None,
    groups: np.ndarray | None = None,
) -> Splits:
    """Parts the images.

    Official test and validation splits are kept; others are cut off by whole groups, stratified by class as well as
    the groups allow. A train image whose pixels occur in the test or validation split is dropped, and so is a
    validation image that occurs in the test split. Unlabelled images stay in the train pool; where
    their group is held out, they are in no split.

    Args:
        store: the images; only what is known of them is read, no pixels.
        validation: share of the training images (all that are not test) kept for validation.
        test: share kept for test where there is no official test split.
        max_train: most training images, train pool and validation together; a stratified subset.
        max_test: most test images; a stratified subset.
        upstream: share of the train pool, by whole groups, that is kept for pretraining alone; unlabelled images are.
        groups: int64 [N], images with one number stay on one side; None: those of the store. They name the groups of
            images that are in a split; what is in none keeps its own.

    Raises:
        UserError: a split would be empty.
    """
    given, store = store.groups, store if groups is None else replace(store, groups=groups)
    names = (store.fingerprint, "split")
    train, held, tests = _official(store)
    held, tests = _judged(store, held), _judged(store, tests)
    if not len(tests):
        train, tests = _cut(store, train, test, *names, "test")
        tests = _judged(store, tests)
    held = _without_copies(store.contents, held, tests)
    train = _without_copies(store.contents, train, np.concatenate([tests, held]))
    tests = subset(store.labels, tests, max_test, *names, "max_test")
    if len(held):
        for_validation = None if max_train is None else max(1, round(max_train * validation))
        held = subset(store.labels, held, for_validation, *names, "max_train of validation")
        for_training = None if max_train is None else max_train - len(held)
        train = subset(store.labels, train, for_training, *names, "max_train")
    else:
        train = subset(store.labels, train, max_train, *names, "max_train")
        train, held = _cut(store, train, validation, *names, "validation")
        held = _judged(store, held)
        train = _without_copies(store.contents, train, held)
    _check_filled(train=train, validation=held, test=tests)
    if upstream is None:
        return _splits(store, given, (train, held, tests))
    train, apart = _for_labels(store, *_cut(store, train, upstream, *names, "upstream"))
    train = _without_copies(store.contents, train, apart)
    _check_filled(train=train, upstream=apart)
    return _splits(store, given, (train, held, tests), apart)


def _splits(
    store: ImageStore,
    given: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    upstream: np.ndarray | None = None,
) -> Splits:
    """The splits under their digest; images in none of them have the groups given."""
    every = parts if upstream is None else (*parts, upstream)
    groups, used = given.copy(), np.concatenate(every)
    groups[used] = store.groups[used]
    digest = _digest(store.fingerprint, groups, every)
    return Splits(*parts, store.labels, groups, store.class_names, digest, upstream)


def is_partition(store: ImageStore, splits: Splits) -> bool:
    """Whether splits that were read are those that their digest names."""
    parts = (splits.train, splits.validation, splits.test, splits.upstream)
    return splits.digest == _digest(store.fingerprint, splits.groups, [part for part in parts if part is not None])


def draws_splits(official: np.ndarray | None) -> bool:
    """Whether a split is drawn, test or validation, rather than given: int8 [N] or None."""
    return official is None or not {VALIDATION, TEST} <= set(np.unique(official).tolist())


def _official(store: ImageStore) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train, validation and test indices as the set gives them; all are train where it gives none."""
    if store.official is None:
        return np.arange(len(store.labels)), np.array([], np.int64), np.array([], np.int64)
    train, held, tests = (np.flatnonzero(store.official == code) for code in (TRAIN, VALIDATION, TEST))
    return train, held, tests


def _for_labels(store: ImageStore, train: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves the unlabelled images of what labels are bought from to the images for pretraining, as their group may."""
    labelled = store.groups[train[store.labels[train] >= 0]]
    spare = ~np.isin(store.groups[train], labelled)
    return train[~spare], np.sort(np.concatenate([apart, train[spare]]))


def _judged(store: ImageStore, indices: np.ndarray) -> np.ndarray:
    """Those that a method can be judged on: an unlabelled image of a group that is held out is in no split."""
    return indices if store.masks is not None else indices[store.labels[indices] >= 0]


def _cut(store: ImageStore, indices: np.ndarray, share: float, *names: object) -> tuple[np.ndarray, np.ndarray]:
    """Parts sorted indices into the rest and a stratified share, by whole groups; both sorted.

    Groups of several images go first, largest first, each taken when it brings the class counts nearer to what is
    wanted; single images then fill up each class exactly.
    """
    labels, groups = store.labels[indices], np.unique(store.groups[indices], return_inverse=True)[1]
    classes = len(store.class_names)
    wanted = share * np.bincount(labels[labels >= 0], minlength=classes)
    taken = np.zeros(classes)
    sizes = np.bincount(groups)
    chosen = np.zeros(len(sizes), bool)
    candidates = shuffled(np.flatnonzero(sizes > 1), *names, "groups")
    counts = _group_counts(labels, groups, candidates, classes)
    for row in np.argsort(-sizes[candidates], kind="stable"):
        gain = _misfit(taken, wanted) - _misfit(taken + counts[row], wanted)
        if gain > 0:
            chosen[candidates[row]] = True
            taken += counts[row]
    singles = np.flatnonzero((sizes[groups] == 1) & (labels >= 0))
    for label in range(classes):
        missing = max(0, int(wanted[label] - taken[label] + 0.5))
        of_class = shuffled(singles[labels[singles] == label], *names, label)
        chosen[groups[of_class[:missing]]] = True
    out = chosen[groups]
    return indices[~out], indices[out]


def _group_counts(labels: np.ndarray, groups: np.ndarray, candidates: np.ndarray, classes: int) -> np.ndarray:
    """Labelled images of each class in each candidate group: float [candidates, classes]."""
    row = np.full(groups.max(initial=-1) + 1, -1)
    row[candidates] = np.arange(len(candidates))
    counts = np.zeros((len(candidates), classes))
    counted = (row[groups] >= 0) & (labels >= 0)
    np.add.at(counts, (row[groups[counted]], labels[counted]), 1)
    return counts


def _misfit(counts: np.ndarray, wanted: np.ndarray) -> float:
    """Chi-square distance of class counts from those wanted: a rare class weighs as much as a common one."""
    return float((((counts - wanted) ** 2) / np.maximum(wanted, 1e-9)).sum())


def _without_copies(contents: np.ndarray, indices: np.ndarray, others: np.ndarray) -> np.ndarray:
    return indices[~np.isin(contents[indices], contents[others])]


def subset(labels: np.ndarray, indices: np.ndarray, most: int | None, *names: object) -> np.ndarray:
    """A stratified subset of at most `most` of the sorted indices, sorted; a smaller one lies within a larger one.

    Each class keeps its share, and at least one image while there is room; unlabelled images count as a class.
    """
    if most is None or most >= len(indices):
        return indices
    # each image stands at (rank in its class + 1/2) / (size of its class): taking the lowest is taking equal shares
    place = np.empty(len(indices))
    for label in np.unique(labels[indices]):
        members = np.flatnonzero(labels[indices] == label)
        order = shuffled(members, *names, int(label))
        place[order] = (np.arange(len(order)) + 0.5) / len(order)
        place[order[0]] -= 1.0  # the first of every class before the second of any
    return np.sort(indices[np.argsort(place, kind="stable")[: max(0, most)]])


def _check_filled(**splits: np.ndarray) -> None:
    empty = [name for name, indices in splits.items() if not len(indices)]
    if empty:
        sizes = ", ".join(f"{name} {len(indices)}" for name, indices in splits.items())
        raise UserError(f"data: no images for {' and '.join(empty)} ({sizes}); more images or larger shares are needed")


def _digest(fingerprint: str, groups: np.ndarray, splits: Sequence[np.ndarray]) -> str:
    head = canonical_json({"fingerprint": fingerprint, "sizes": [len(split) for split in splits]})
    return digest_bytes(head.encode() + b"".join(array.astype(np.int64).tobytes() for array in (*splits, groups)))
