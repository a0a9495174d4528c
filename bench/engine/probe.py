"""The objective of a search: a head on few labels, scored on validation images. Test images are never touched."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.methods.feature_maps import Encoder
from bench.protocols.heads import fit_heads
from bench.protocols.segmentation import validation_miou
from bench.study.spec import Objective

DRAWS = 3  # averaged, so that a setting is not chosen by the luck of ten images
BATCH = 512


def score(encoder: Encoder, dataset: Dataset, objective: Objective) -> float:
    """The objective of this encoder, at its default layer, as the mean over a few draws of the label budget.

    The linear probe has the fixed default regulariser, C = 1 on features standardised over the labelled images'
    pool; k-NN has k = min(5, labels per class); segmentation trains a U-Net decoder on the frozen encoder
    for a hundred steps.
    """
    draws = 1 if objective.label_budget == "all" else DRAWS
    if objective.protocol == "segmentation":
        device = encoder.device.type
        found = [validation_miou(dataset, encoder, objective.label_budget, draw, device) for draw in range(draws)]
        return float(np.mean(found))
    budgets = [dataset.splits.budget(objective.label_budget, draw) for draw in range(draws)]
    pool = np.unique(np.concatenate([*budgets, dataset.splits.validation]))
    features = _standardised(encoder, dataset, pool)
    place = {int(index): position for position, index in enumerate(pool)}
    labels = dataset.splits.labels
    held = np.array([place[int(index)] for index in dataset.splits.validation])
    truth = labels[dataset.splits.validation]
    scores = []
    for budget in budgets:
        seen = np.array([place[int(index)] for index in budget])
        guess = _predict(objective, features[seen], labels[budget], features[held], len(dataset.splits.class_names))
        scores.append(_metric(objective, truth, guess))
    return float(np.mean(scores))


def _standardised(encoder: Encoder, dataset: Dataset, pool: np.ndarray) -> np.ndarray:
    """Features [len(pool), D] float64, standardised over the train-pool images among them."""
    layer = encoder.default_layer
    parts = []
    training = encoder.training
    encoder.eval()
    with torch.inference_mode():
        for start in range(0, len(pool), BATCH):
            images = to_float(dataset.images.images[pool[start : start + BATCH]], encoder.device)
            parts.append(encoder.embed(images, [layer])[layer].double().cpu().numpy())
    encoder.train(training)
    features = np.concatenate(parts)
    seen = features[np.isin(pool, dataset.splits.train)]
    deviation = seen.std(0)
    return (features - seen.mean(0)) / np.where(deviation > 1e-12, deviation, np.inf)


def _predict(
    objective: Objective, features: np.ndarray, labels: np.ndarray, held: np.ndarray, classes: int
) -> np.ndarray:
    if objective.protocol == "knn":
        k = min(5, int(np.bincount(labels).max()))
        return KNeighborsClassifier(n_neighbors=k).fit(features, labels).predict(held)
    heads = fit_heads(
        torch.from_numpy(features)[None], torch.from_numpy(labels)[None], classes, torch.tensor([1.0]).double()
    )
    return heads.probabilities(torch.from_numpy(held))[0, 0].argmax(-1).numpy()


def _metric(objective: Objective, truth: np.ndarray, guess: np.ndarray) -> float:
    right = truth == guess
    if objective.metric == "accuracy":
        return float(right.mean())
    return float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))
