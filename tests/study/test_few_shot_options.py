from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.load import parse_study
from bench.study.plan import build_plan
from bench.study.protocols import FewShotOptions, cells

NAMES = (
    "background",
    "facade",
    "window",
    "door",
    "cornice",
    "sill",
    "balcony",
    "blind",
    "deco",
    "molding",
    "pillar",
    "shop",
)
SHOWN = tuple((60, 60, 60, 40, 40, 40, 6, 40, 40, 40, 40, 40) for _ in range(3))


@pytest.fixture
def facades(record: DataRecord) -> DataRecord:
    return replace(
        record, name="cmp_facade", class_names=NAMES, pool_counts=(9,) * 12, image_shape=(32, 32, 3), masked=True,
        shown=SHOWN,
    )  # fmt: skip


def plan(raw: dict[str, Any], record: DataRecord, encoder: str = "vit_nano", **entry: Any) -> Any:
    raw = {**raw, "methods": {"random_init": {"encoder": encoder}}, "scientific": {}, "nuisance": {}, "claims": []}
    raw |= {"reference": [], "evaluate": [{"protocol": "few_shot", "fold": 0, "label_budgets": [1, 5], **entry}]}
    study = parse_study(raw, "s")
    assert parse_study(study.as_json(), "s") == study
    return build_plan(study, record, {})


def test_the_curve_of_shares_and_folds_is_one_study(raw: dict[str, Any], facades: DataRecord) -> None:
    shares = [0.02, 0.1, 0.5]
    planned = plan(raw, facades, supervision=["image", "mixed", "pixel"], mask_share=shares, fold=[0], draws=2)
    entries = [unit.protocol for unit in planned.pretrainings[0].units]
    found = {(entry.supervision, entry.mask_share) for entry in entries}
    assert found == {("image", 0.0), ("pixel", 1.0), *(("mixed", share) for share in shares)}
    assert len(entries) == 5  # image and pixel have no share to choose
    assert [len(unit.cells) for unit in planned.pretrainings[0].units] == [4] * 5


def test_cells_are_shots_and_trainings() -> None:
    options = FewShotOptions(label_budgets=[5, 1], draws=2)
    asked = [(cell.label_budget, cell.draw, cell.fuse) for cell in cells(options, ["block2"])]
    assert asked == [("1", 0, None), ("1", 1, None), ("5", 0, None), ("5", 1, None)]
    assert "cache_gb" not in options.value_options()


def test_folds_of_the_published_sets() -> None:
    voc = FewShotOptions(fold="mean").class_folds("voc", ("background", *(f for fold in VOC for f in fold)))
    assert [fold.novel for fold in voc] == [tuple(range(5 * f + 1, 5 * f + 6)) for f in range(4)]
    assert all(len(fold.base) == 15 and not set(fold.base) & {0, *fold.novel} for fold in voc)


VOC = (
    ("aeroplane", "bicycle", "bird", "boat", "bottle"),
    ("bus", "car", "cat", "chair", "cow"),
    ("diningtable", "dog", "horse", "motorbike", "person"),
    ("pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ways": 4}, r"evaluate\.0\.ways: 4 is more than the 3 novel classes of the fold door, sill, balcony"),
        ({"label_budgets": [6]}, r"evaluate\.0\.label_budgets: 6 shots and a query, but 6 test images show 'balcony'"),
        ({"encoder": "conv_nano"}, r"evaluate\.0\.protocol: few_shot reads patch tokens and 'conv_nano' has none"),
        ({"folds": [["door", "sil"]]}, r"evaluate\.0\.folds: unknown class 'sil' \(did you mean 'sill'\?\)"),
        ({"fold": 3, "folds": [["door"]]}, r"evaluate\.0\.fold: 3, but there are 1"),
        ({"fold": 1, "folds": [["door"], ["roof"]]}, "unknown class 'roof'"),
        ({"validation_classes": 7}, r"evaluate\.0\.validation_classes: 7 of the 8 base classes"),
    ],
)
def test_one_line_when_planning(raw: dict[str, Any], facades: DataRecord, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        plan(raw, facades, **{"folds": [["door", "sill", "balcony"]], **changes})
    assert "\n" not in str(error.value)


def test_a_set_without_masks_is_refused(raw: dict[str, Any], record: DataRecord) -> None:
    with pytest.raises(UserError, match=r"evaluate\.0\.protocol: few_shot learns from masks"):
        plan(raw, record)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label_budgets": ["all"]}, "counts shots"),
        ({"layers": ["block1"]}, "reads the tokens of every block"),
        ({"selection": "held_out"}, "chooses on validation classes"),
        ({"pseudo_smoothing": 4}, "pseudo_smoothing: 4 is even"),
        ({"supervision": "mixed", "mask_share": 0}, "mask_share: 0 under mixed"),
        ({"folds": [["door", "door"]]}, "names a class twice"),
        ({"pseudo_threshold": 1.5}, "less than 1"),
    ],
)
def test_what_no_entry_may_ask_for(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FewShotOptions(**changes)
