"""Scoring maps of classes: every test pixel once, chips put together into their scenes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bench.data.images import ImageStore
from bench.data.raw import IGNORE
from bench.protocols.dense_metrics import DenseCounts, mean

BATCH = 64  # images predicted at a time

Predict = Callable[[np.ndarray], np.ndarray]  # numbers of images, int64 [n] -> class probabilities, [n, K, H, W]


def score_maps(
    predict: Predict,
    images: ImageStore,
    indices: np.ndarray,
    table: np.ndarray,
    n_classes: int,
    blocks: np.ndarray | None = None,
) -> DenseCounts:
    """Counts over all pixels of some images, none dropped and none counted twice.

    Args:
        predict: gives class probabilities of images.
        images: with masks.
        indices: int64 [n], numbers of the images.
        table: uint8 [256], the class that each value of a mask stands for; see `class_table`.
        n_classes: K.
        blocks: int64 [N], block of each image from 0; given, each block is counted by itself too, as a part. The chips
            of a scene are in one block.
    """
    counts = DenseCounts(n_classes)
    if blocks is None:
        for _, truth, predicted in _maps(predict, images, indices, table):
            counts.add(truth, predicted)
        return counts
    counts.parts = [DenseCounts(n_classes) for _ in np.unique(blocks[indices])]
    place = np.unique(blocks[indices], return_inverse=True)[1]
    of = dict(zip(indices.tolist(), place.tolist(), strict=True))
    for shown, truth, predicted in _maps(predict, images, indices, table):
        block = np.array([of[int(image)] for image in shown])
        for number in np.unique(block):
            counts.parts[number].add(truth[block == number], predicted[block == number])
    counts.confusion = np.sum([part.confusion for part in counts.parts], axis=0)
    counts.boundary = np.sum([part.boundary for part in counts.parts], axis=0)
    return counts


def count_details(counts: DenseCounts, class_names: Sequence[str]) -> dict[str, object]:
    """What has no column: mean class accuracy, IoU by class (null where the truth has none), the confusion, and where
    blocks of test images were counted, the metrics without each of them."""
    left_out = counts.left_out()
    iou = zip(class_names, counts.class_iou.tolist(), strict=True)
    return {
        "mean_class_accuracy": mean(counts.class_accuracy),
        "class_iou": {name: None if np.isnan(value) else value for name, value in iou},
        "confusion": counts.confusion.tolist(),
        **({"item_jackknife": left_out} if left_out else {}),
    }


def class_table(targets: tuple[int | None, ...]) -> np.ndarray:
    """The target of each value of a mask, uint8 [256]; 255 where it counts nowhere.

    Args:
        targets: for each class of the data the number of its target, None where it is ignored.
    """
    table = np.full(256, IGNORE, np.uint8)
    for label, target in enumerate(targets):
        table[label] = IGNORE if target is None else target
    return table


def masks_of(images: ImageStore) -> np.ndarray:
    """The masks, uint8 [N, H, W]. Raises ValueError where the set has none: the plan was to refuse it."""
    if images.masks is None:
        raise ValueError("the data set has no masks")
    return images.masks


def _maps(
    predict: Predict, images: ImageStore, indices: np.ndarray, table: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Numbers of images [n], and classes, true (uint8) and predicted, [n, H, W] each: of whole images in batches, or of
    a scene at a time, which goes by the number of its first chip."""
    masks = masks_of(images)
    if images.boxes is None:
        for batch in batches(indices):
            yield batch, table[masks[batch]], predict(batch).argmax(1)
        return
    for scene in np.unique(images.boxes[indices, 0]):
        chips = indices[images.boxes[indices, 0] == scene]
        yield chips[:1], *_scene(predict, masks, images.boxes, chips, table)


def _scene(
    predict: Predict, masks: np.ndarray, boxes: np.ndarray, chips: np.ndarray, table: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Classes of a scene, [1, H, W] each: probabilities are averaged where chips overlap; gaps count nowhere.

    The scene has the resolution of its chips as they are stored.
    """
    side = masks.shape[1]
    corners = np.rint(boxes[chips, 1:3] * side / boxes[chips, 3:]).astype(np.int64)
    corners -= corners.min(0)
    height, width = corners.max(0) + side
    truth = np.full((1, height, width), IGNORE, np.uint8)
    total: np.ndarray | None = None
    for batch in batches(np.arange(len(chips))):
        for place, probabilities in zip(batch, predict(chips[batch]), strict=True):
            top, left = corners[place]
            window = (slice(top, top + side), slice(left, left + side))
            if total is None:
                total = np.zeros((len(probabilities), height, width))
            total[:, *window] += probabilities  # the mean over chips has its maximum where the sum has
            truth[0, *window] = table[masks[chips[place]]]
    assert total is not None  # nosec B101 # for mypy: a scene has chips
    return truth, total.argmax(0)[None]


def batches(indices: np.ndarray) -> Iterator[np.ndarray]:
    """The indices in portions of BATCH."""
    for start in range(0, len(indices), BATCH):
        yield indices[start : start + BATCH]
