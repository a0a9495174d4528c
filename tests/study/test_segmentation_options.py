"""What a study may ask of segmentation, and a line for every mistake before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.load import parse_study
from bench.study.plan import Plan, build_plan
from bench.study.protocols import SegmentationOptions
from bench.study.spec import Objective

CLASSES = ("land", "water", "road")
RAW: dict[str, Any] = {
    "study": "s",
    "data": {"name": "land_cover"},
    "methods": {"random_init": {"encoder": "conv_nano"}},
    "evaluate": [{"protocol": "segmentation", "label_budgets": [2, "all"], "draws": 3}],
    "seeds": 1,
}


@pytest.fixture
def masked(record: DataRecord) -> DataRecord:
    return replace(
        record, image_shape=(32, 32, 3), class_names=CLASSES, pool_counts=(60, 40, 0), n_train=100, masked=True
    )


def planned(record: DataRecord, entry: dict[str, Any] | None = None, **changes: Any) -> Plan:
    evaluate = [{**RAW["evaluate"][0], **(entry or {})}]
    return build_plan(parse_study({**RAW, "evaluate": evaluate, **changes}, "test"), record, {})


def test_cells_count_images(masked: DataRecord) -> None:
    plan = planned(masked, {"decoder": ["unet", "fpn"], "encoder_state": ["frozen", "trained"]})
    (pretraining,) = plan.pretrainings
    assert len(pretraining.units) == 4
    assert all(len(unit.cells) == 3 + 1 for unit in pretraining.units)
    assert {cell.layer for unit in pretraining.units for cell in unit.cells.values()} == {"last"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            {},
            r"evaluate.0.methods: as_is scores a network that learned to segment, and random_init did not; valid: ",
        ),
        (
            {"methods": ["noisy_labels"], "class_map": {"a": ["land"], "b": ["water"]}},
            r"evaluate.0.class_map: road left",
        ),
        ({"methods": ["noisy_labels"], "label_budgets": [101]}, r"101 labelled images.*has 100; valid: 1 to 100"),
        ({"methods": ["noisy_labels"], "layers": ["stage1"]}, "layers must be"),
        ({"methods": ["noisy_labels"], "draw_strategy": "uniform"}, "draw_strategy"),
        ({"methods": ["noisy_labels"], "selection": "held_out"}, "selection"),
    ],
)
def test_mistakes_about_the_network_as_it_is_are_one_line(masked: DataRecord, entry: dict[str, Any], told: str) -> None:
    methods = {"random_init": {"encoder": "conv_nano"}, "noisy_labels": {"encoder": "conv_nano"}}
    evaluate = [{"protocol": "as_is", "label_budgets": [2], **entry}]
    with pytest.raises(UserError, match=told) as caught:
        build_plan(parse_study({**RAW, "methods": methods, "evaluate": evaluate}, "test"), masked, {})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"label_budgets": [101]}, r"evaluate.0.label_budgets: 101 labelled images.*has 100; valid: 1 to 100, or all"),
        ({"class_map": {"a": ["land"], "b": ["water"]}}, r"evaluate.0.class_map: road left out"),
        ({"class_map": {"a": ["land"], "b": ["water", "sea"]}}, r"evaluate.0.class_map.b: unknown class 'sea'"),
        ({"class_map": {"a": ["land", "road"], "b": ["water", "road"]}}, r"class_map.b: class 'road' stands twice"),
        ({"class_map": {"a": ["land"], "ignore": ["water", "road"]}}, "class_map: two classes or more"),
        ({"decoder": "unett"}, "unet"),
        ({"width": 100}, "width"),
        ({"layers": ["stage1"]}, "layers must be"),
        ({"draw_strategy": "uniform"}, "draw_strategy"),
        ({"encoder_state": "trained", "unfreeze_at": 2}, "unfreeze_at"),
        ({"methods": ["pixels"]}, r"evaluate.0: segmentation: 'pixels' gives one vector per image"),
        ({"protocol": "linear"}, r"2 labels per class, but class 'road' is the largest part of only 0 images"),
    ],
)
def test_mistakes_are_one_line(masked: DataRecord, entry: dict[str, Any], told: str) -> None:
    methods = {"random_init": {"encoder": "conv_nano"}, "pixels": {}}
    with pytest.raises(UserError, match=told) as caught:
        planned(masked, {"methods": ["random_init"], **entry}, methods=methods)
    assert len(str(caught.value).splitlines()) == 1


def test_data_without_masks_is_refused(record: DataRecord) -> None:
    with pytest.raises(UserError, match=r"evaluate.0.protocol: segmentation learns from masks, and digits has none"):
        planned(record)


def test_a_class_map_gives_each_class_its_target() -> None:
    options = SegmentationOptions(class_map={"wet": "water", "dry": ["road"], "ignore": ["land"]})
    assert options.targets(CLASSES) == (("dry", "wet"), (None, 1, 0))
    other = SegmentationOptions(class_map={"ignore": ["land"], "dry": ["road"], "wet": ["water"]})
    assert other.targets(CLASSES) == options.targets(CLASSES)  # they have the same keys
    assert SegmentationOptions().targets(CLASSES) == (CLASSES, (0, 1, 2))


class TestObjective:
    def test_it_is_read(self) -> None:
        objective = Objective.parse("segmentation.miou@20")
        assert (objective.protocol, objective.metric, objective.label_budget) == ("segmentation", "miou", "20")

    @pytest.mark.parametrize("text", ["segmentation.accuracy@20", "linear.miou@5", "segmentation.miou"])
    def test_other_pairs_are_not(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not understood"):
            Objective.parse(text)

    @pytest.mark.parametrize(
        ("objective", "told"),
        [
            ("segmentation.miou@200", "search.objective: 200 labelled images"),
            ("linear.accuracy@1", "search.objective: 1 labels per class, but class 'road'"),
        ],
    )
    def test_its_budget_is_checked(self, masked: DataRecord, objective: str, told: str) -> None:
        changes = {
            "methods": {"simclr": {"encoder": "conv_nano", "batch_size": 50}},
            "nuisance": {"simclr.lr": {"loguniform": [1e-3, 1e-2]}},
        }
        planned(masked, search={"trials": 2, "objective": "segmentation.miou@20"}, **changes)
        with pytest.raises(UserError, match=told):
            planned(masked, search={"trials": 2, "objective": objective}, **changes)

    def test_its_decoder_needs_maps(self, masked: DataRecord) -> None:
        changes = {
            "methods": {"random_init": {"encoder": "conv_nano"}, "pca_pixels": {}},
            "nuisance": {"pca_pixels.components": {"choice": [8, 16]}},
        }
        with pytest.raises(UserError, match=r"search.objective: segmentation: 'pca_pixels' gives one vector"):
            planned(masked, {"methods": ["random_init"]}, search={"objective": "segmentation.miou@20"}, **changes)


def test_one_study_has_one_class_set() -> None:
    coarse = {**RAW["evaluate"][0], "class_map": {"wet": ["water"], "dry": ["road", "land"]}}
    with pytest.raises(UserError, match=r"evaluate.1.class_map: differs from that of evaluate.0"):
        parse_study({**RAW, "evaluate": [RAW["evaluate"][0], coarse]}, "test")
    assert len(parse_study({**RAW, "evaluate": [coarse, {**coarse, "loss": "ce"}]}, "test").evaluate) == 2
