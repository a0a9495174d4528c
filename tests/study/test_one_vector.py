"""What a cascade cannot be asked ends with one line when the study is read."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import UserError
from bench.study.load import parse_study

LEFT = "of self_masking_cascade, which leaves one vector of several networks; valid"


def ask(encoder: str, methods: list[str] | None = None, **entry: Any) -> None:
    raw = {
        "study": "s",
        "data": {"name": "digits"},
        "methods": {"self_masking_cascade": {"encoder": encoder}, "random_init": {"encoder": encoder}},
        "evaluate": [{"label_budgets": [1], "methods": methods, **entry}],
    }
    parse_study(raw, "test")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"protocol": "segmentation"}, "protocol: segmentation reads maps"),
    ({"protocol": "few_shot", "fold": 0}, "protocol: few_shot reads patch tokens"),
    ({"protocol": "fusion", "partner": "conv_nano", "fuse": ["gated", "cross_attention"]}, "fuse: 'cross_attention'"),
    ({"protocol": "finetune", "last_blocks": 0}, "last_blocks: 0 asks for the depth"),
    ({"protocol": "finetune", "layer_decay": 0.7}, "layer_decay: 0.7 asks for the depth"),
    ({"protocol": "finetune", "drop_path": 0.1}, "drop_path: 0.1 asks for the depth"),
]


@pytest.mark.parametrize(("entry", "says"), REFUSED)
def test_what_a_cascade_lacks_is_refused(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=rf"evaluate\.0\.{says}.*{LEFT}"):
        ask("vit_nano", **entry)
    ask("vit_nano", ["random_init"], **entry)


@pytest.mark.parametrize("encoder", ["conv_nano", "vit_nano"])
def test_the_rest_is_not(encoder: str) -> None:
    for entry in (
        {"protocol": "finetune"},
        {"protocol": "finetune_mask"},
        {"protocol": "fusion", "partner": "conv_nano", "fuse": ["concat", "gated"]},
        {"protocol": "robustness"},
    ):
        ask(encoder, **entry)
