"""Temperature scaling (Guo et al., arXiv 1706.04599, section 4.2) and the calibration error it leaves."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from bench.protocols.metrics import ECE_BINS

HOTTEST = 20.0  # temperatures from 1 / HOTTEST to HOTTEST: a split without a mistake would ask for 0
_LEAST = math.log(2.0**-52)  # of a log probability: one class without labels shall not decide


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature at which the images' negative log-likelihood is least; 1 without images.

    Args:
        logits: [N, K].
        labels: int64 [N].
    """
    if not len(labels):
        return 1.0
    values = logits.double()

    def loss(log_temperature: float) -> float:
        log_probabilities = torch.log_softmax(values / math.exp(log_temperature), 1)
        return -float(log_probabilities.gather(1, labels[:, None]).clamp(min=_LEAST).mean())

    bound = math.log(HOTTEST)
    return math.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error with 15 equal bins of the largest probability, of logits [N, K]."""
    shares = torch.softmax(logits.double(), 1)
    return float(multiclass_calibration_error(shares, labels, logits.shape[1], n_bins=ECE_BINS, norm="l1"))
