"""Suspicious labels: what the other images say of each one, by confident learning on nearest neighbours."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from bench.data.audit.embedding import Neighbours
from bench.data.audit.findings import Case, Finding, counted
from bench.data.audit.survey import Survey

TRUSTED = 0.8  # balanced accuracy from which an embedding may doubt a label: its doubts are then a warning


def class_shares(labels: np.ndarray, neighbours: Neighbours, n_classes: int) -> np.ndarray:
    """Share of each class among the labelled neighbours, one added to each: float64 [N, K], rows add up to 1.

    No image has a say in its own share (leave-one-out), nor have images with the same pixels.
    """
    counts = np.zeros((len(labels), n_classes))
    near = labels[neighbours.rows]
    for label in range(n_classes):
        counts[:, label] = (near == label).sum(1)
    return (counts + 1 / n_classes) / (counts.sum(1, keepdims=True) + 1)


def suspects(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Images that confident learning puts under another class than their label: int64, the surest doubt first.

    An image counts for class j where its share of j reaches the mean share of j among the images labelled j; of several
    such classes the one with the largest share counts (Northcutt, Jiang & Chuang, Confident Learning, JAIR 2021,
    section 3.1). The score that ranks them is the share of that class less the share of the label.

    Args:
        labels: int64 [N], -1 = unlabelled.
        shares: float64 [N, K], out of sample.
    """
    known = np.flatnonzero(labels >= 0)
    present = np.unique(labels[known])
    least = np.full(shares.shape[1], np.inf)
    least[present] = [shares[labels == label, label].mean() for label in present]
    confident = np.where(shares >= least, shares, -1)
    guess = confident.argmax(1)
    doubted = known[(confident[known].max(1) >= 0) & (guess[known] != labels[known])]
    score = shares[doubted, guess[doubted]] - shares[doubted, labels[doubted]]
    return np.asarray(doubted[np.argsort(-score, kind="stable")])


def suspicious_labels(seen: Survey, neighbours: Neighbours, name: str) -> list[Finding]:
    """Labels that the neighbours in an embedding speak against; a note where the embedding is a poor judge."""
    known = np.flatnonzero(seen.labels >= 0)
    if len(np.unique(seen.labels[known])) < 2:
        return []
    shares = class_shares(seen.labels, neighbours, len(seen.class_names))
    rows = suspects(seen.labels, shares)
    if not len(rows):
        return []
    right = float(balanced_accuracy_score(seen.labels[known], shares[known].argmax(1)))
    k = neighbours.rows.shape[1]
    what = (
        f"{counted(len(rows), 'label')} ({len(rows) / len(known):.1%}) that the neighbours speak against: confident "
        f"learning on {k}-NN, leave-one-out, on {name}, whose balanced accuracy is {right:.2f}"
    )
    weak = "" if right >= TRUSTED else "; this embedding is a poor judge: read the list as a hint"
    cases = tuple(Case((seen.paths[row],), _said(seen, shares, int(row))) for row in rows)
    severity = "warning" if right >= TRUSTED else "note"
    return [Finding("suspicious_labels", severity, what, f"look at the first of them{weak}", cases)]


def _said(seen: Survey, shares: np.ndarray, row: int) -> str:
    best = int(shares[row].argmax())
    return f"labelled {seen.label_name(row)}, neighbours say {seen.class_names[best]} ({shares[row, best]:.0%})"
