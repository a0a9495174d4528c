"""Options of the linear probe."""

from __future__ import annotations

from typing import ClassVar

from bench.study.protocols.options import HeadOptions


class LinearOptions(HeadOptions):
    """Linear probe: multinomial logistic regression on one frozen layer (Alain & Bengio, arXiv 1610.01644)."""

    name: ClassVar[str] = "linear"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "logistic regression on a frozen layer"
