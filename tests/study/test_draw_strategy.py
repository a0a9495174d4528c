"""How a budget is drawn is an axis of the evaluation."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bench.study.spec import Study

STUDY = {"study": "draws", "data": {"name": "digits"}, "methods": {"pixels": {}}}


def test_a_list_of_strategies_is_an_entry_for_each() -> None:
    asked = [{"protocol": "linear", "draw_strategy": ["balanced", "uniform", "coverage"]}, {"protocol": "knn"}]
    entries = Study.model_validate({**STUDY, "evaluate": asked}).evaluate
    assert [entry.draw_strategy for entry in entries] == ["balanced", "uniform", "coverage", "balanced"]


@pytest.mark.parametrize("protocol", ["few_shot", "segmentation"])
def test_budgets_of_images_are_not_chosen_by_coverage(protocol: str) -> None:
    asked = [{"protocol": protocol, "draw_strategy": "coverage"}]
    with pytest.raises(ValidationError, match="draw_strategy"):
        Study.model_validate({**STUDY, "evaluate": asked})
