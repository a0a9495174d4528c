"""The scores a row may hold, by name: columns of the schema, known without importing Polars."""

from __future__ import annotations

SCORES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "macro_auroc",
    "mean_specificity",
    "combined",
    "nll",
    "ece",
    "miou",
    "pixel_accuracy",
    "boundary_f1",
    "exact_ratio",
)
