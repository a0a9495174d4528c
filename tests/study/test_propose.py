"""The study proposed for any images: one that the plan accepts, within the time, or a clear word why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.inspection import Inspection, Machine
from bench.study.load import parse_study
from bench.study.plan import build_plan
from bench.study.propose import Proposal, propose

CPU = Machine(2, 0)


def images(counts: Sequence[int] = (100, 100), **changes: Any) -> Inspection:
    side = changes.pop("side", 64)
    return Inspection(
        **{
            "kind": "folder",
            "root": "/photos",
            "labelled": {f"class {index}": count for index, count in enumerate(counts)},
            "unlabelled": 0,
            "validation": 0,
            "test": 0,
            "shorter": side,
            "pixels": float(side * side),
            "size": (side, side),
            "sizes": (side, side),
            "channels": 3,
            "bits": 8,
            "unreadable": (),
            "sampled": 200,
            **changes,
        }
    )


def check(proposal: Proposal, inspection: Inspection) -> DataRecord:
    """Plans the study on the splits that the counts give; fails where the plan refuses it."""
    study = parse_study(proposal.raw, "proposed")
    names = study.data.classes or tuple(inspection.labelled)
    share = 1.0
    pool, held, tests = [], 0, inspection.test
    for name in names:
        count = inspection.labelled[name]
        taken = 0 if inspection.test else int(study.data.test * count + 0.5)
        tests += taken
        left = count - taken
        if study.data.max_train is not None:
            everything = sum(inspection.labelled.values()) + inspection.unlabelled
            share = min(1.0, study.data.max_train / (everything * (1 if inspection.test else 0.8)))
        left = max(1, int(left * share))
        taken = 0 if inspection.validation else int(study.data.validation * left + 0.5)
        held += taken
        pool.append(left - taken)
    side = study.data.image_size or inspection.shorter
    record = DataRecord(
        data_key="d",
        source_key="s",
        name="folder",
        fingerprint="f",
        split_digest="p",
        image_shape=(side, side, inspection.channels),
        class_names=names,
        pool_counts=tuple(pool),
        n_train=sum(pool) + (0 if study.data.classes else int(share * inspection.unlabelled)),
        n_validation=held + inspection.validation,
        n_test=tests,
    )
    assert min(record.n_validation, record.n_test, *record.pool_counts) > 0
    plan = build_plan(study, record, {})
    assert plan.row_keys()
    assert {pretraining.setting.method for pretraining in plan.pretrainings} == {
        "pixels",
        "random_init",
        "simclr",
        "mae",
    }
    return record


@given(
    counts=st.lists(st.integers(3, 400), min_size=2, max_size=12),
    side=st.integers(5, 4000),
    channels=st.sampled_from([1, 3, 13]),
    unlabelled=st.integers(0, 20_000),
    official=st.tuples(st.sampled_from([0, 40]), st.sampled_from([0, 50])),
    cores=st.integers(1, 64),
    gpus=st.integers(0, 4),
    minutes=st.floats(1, 600),
)
@settings(max_examples=60, deadline=None)
def test_any_images_get_a_plan(
    counts: list[int],
    side: int,
    channels: int,
    unlabelled: int,
    official: tuple[int, int],
    cores: int,
    gpus: int,
    minutes: float,
) -> None:
    validation, test = official
    found = images(counts, side=side, channels=channels, unlabelled=unlabelled, validation=validation, test=test)
    check(propose("own", found, Machine(cores, gpus), minutes), found)


@pytest.mark.parametrize(
    "found",
    [
        images([3, 3]),
        images([4] * 100),
        images([500, 500], channels=1),
        images([500, 500], side=8),
        images([500, 500], side=5),
        images([50, 50], side=4000, size=None, sizes=(600, 4000)),
        images([20, 20], unlabelled=5000),
        images([20_000] * 10),
        images([1, 1], validation=10, test=10),
    ],
    ids=["few", "classes", "grey", "tiny", "tinier", "large", "unlabelled", "many", "official"],
)
def test_the_edges(found: Inspection) -> None:
    proposal = propose("own", found, CPU)
    check(proposal, found)
    assert proposal.seconds <= 15 * 60 or len(found.labelled) == 100


def test_budgets_go_up_to_what_the_labels_allow() -> None:
    def budgets(*counts: int, **changes: Any) -> list[Any]:
        return propose("own", images(counts, **changes), CPU).raw["evaluate"][0]["label_budgets"]

    assert budgets(3, 3) == [1, "all"]
    assert budgets(9, 500) == [1, 2, 5, "all"]
    assert budgets(100, 100) == [1, 2, 5, 10, 20, 50, "all"]
    assert budgets(5, 5, validation=5, test=5) == [1, 2, 5, "all"]
    known = propose("own", images([100, 100]), CPU, None, [12, 30]).raw["evaluate"][0]["label_budgets"]
    assert known == [1, 2, 5, 10, "all"]


def test_a_cap_is_counted_once() -> None:
    found = images([1000, *[1400] * 9])
    before = propose("own", found, CPU, 5)
    assert before.raw["data"]["max_train"] < 8000
    pool = check(before, found).pool_counts
    after = propose("own", found, CPU, 5, pool)
    assert after.raw["evaluate"][0]["label_budgets"] == before.raw["evaluate"][0]["label_budgets"]


def test_minutes_buy_pretraining() -> None:
    found = images([1000] * 10)
    short, long = propose("own", found, CPU, 5), propose("own", found, CPU, 60)
    assert short.seconds <= 300 < long.seconds <= 3600
    assert long.raw["methods"]["simclr"]["epochs"] > short.raw["methods"]["simclr"]["epochs"]
    assert propose("own", found, Machine(16, 0), 5).raw["methods"]["simclr"]["epochs"] > 4
    never = propose("own", found, CPU, 0.1)
    assert "more than the 0.1 asked for" in never.describe()[-1]


def test_small_classes_are_left_out_and_named() -> None:
    proposal = propose("own", images([50, 2, 50]), CPU)
    assert proposal.raw["data"]["classes"] == ["class 0", "class 2"]
    wanted = (
        "left out: class 'class 1' with 2; a class needs 3 labelled images: one to learn from, one to choose with, "
    )
    assert proposal.remarks[0] == wanted + "one to test on"
    with pytest.raises(
        UserError, match=r"two classes or more are needed, and a class needs 3 .* found: 'class 0' with 50,"
    ):
        propose("own", images([50, 2]), CPU)
    assert "classes" not in propose("own", images([50, 2], test=20), CPU).raw["data"]


def test_what_cannot_be_read_is_left_out_and_said() -> None:
    proposal = propose("own", images(unreadable=(("a/b.jpg", "not an image"),)), CPU)
    assert proposal.raw["data"]["on_error"] == "skip"
    assert "1 of 200 images looked at cannot be read, e.g. a/b.jpg (not an image)" in proposal.remarks[-1]


@pytest.mark.parametrize("minutes", [0, -1, float("inf"), float("nan")])
def test_minutes_are_positive(minutes: float) -> None:
    with pytest.raises(UserError, match=r"--minutes .*: a positive number is needed"):
        propose("own", images(), CPU, minutes)


def test_a_gpu_is_used() -> None:
    raw = propose("own", images([1000] * 10, side=200), Machine(8, 1)).raw
    assert raw["resources"] == {"workers": 0, "cpus_per_worker": 4, "gpus_per_worker": 1}
    assert (raw["data"]["image_size"], raw["methods"]["simclr"]["encoder"]) == (64, "conv_tiny")


def test_the_machine_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    here = Machine.here()
    assert here.cores >= 1
    assert here.gpus == 0
    assert Machine(1, 0).describe() == "1 core, no GPU"
    assert Machine(8, 2).describe() == "8 cores, 2 GPUs"
