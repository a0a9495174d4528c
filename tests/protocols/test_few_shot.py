"""Few-shot classification and segmentation: what is learned, from which labels, and how it is scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.blocks import image_blocks
from bench.data.catalog import Dataset
from bench.data.episodes import Episode, Episodes, stack
from bench.engine.pictures import write_answers
from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.protocols import few_shot
from bench.protocols.base import Cell, Score
from bench.protocols.cst import Cst
from bench.protocols.few_shot_data import PairData
from bench.protocols.few_shot_pictures import contact_sheet
from bench.protocols.few_shot_training import Thresholds, Trained, answers, guess, started
from bench.results.pictures import pictures
from bench.study.methods import PixelsOptions, RandomInitOptions
from bench.study.protocols import FewShotOptions, cells
from tests.protocols.conftest import build
from tests.protocols.shapes import FOLDS, NAMES, QUICK, SIDE, pairs, run, squares, task


@pytest.fixture(scope="module")
def data() -> Dataset:
    return squares(96, SIDE)


@pytest.fixture(scope="module")
def vit(data: Dataset) -> Encoder:
    return build(data, RandomInitOptions(encoder="vit_nano", patch_size=4))


def facts(score: Score) -> tuple[object, ...]:
    return score.cell, score.metrics, score.selected, dict(score.extra)


def test_it_learns_to_tell_and_to_find_classes_it_has_never_seen(data: Dataset, vit: Encoder) -> None:
    (score,) = run(
        data, vit, label_budgets=[1], steps=90, batch_size=12, validation_every=45, validation_episodes=20,
        test_episodes=60,
    )  # fmt: skip
    assert score.metrics["exact_ratio"] > 0.8
    assert score.metrics["miou"] > 0.5 > 3 * score.extra["miou_all_foreground"]


def test_a_subset_of_the_cells_has_the_same_scores_and_nothing_is_drawn_from_the_outside(
    data: Dataset, vit: Encoder
) -> None:
    before, weights = torch.get_rng_state(), {name: value.clone() for name, value in vit.state_dict().items()}
    everything = {score.cell: facts(score) for score in run(data, vit, draws=2, steps=12, batch_size=8)}
    assert [*everything] == cells(FewShotOptions(**QUICK, draws=2), ["block2"])
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in vit.state_dict().items())
    wanted = [Cell("2", 1, "last", None)]
    assert [facts(score) for score in run(data, vit, wanted, draws=2, steps=12, batch_size=8)] == [
        everything[wanted[0]]
    ]
    assert everything[Cell("1", 0, "last", None)][1] != everything[Cell("1", 1, "last", None)][1]


def test_what_a_row_holds(data: Dataset, vit: Encoder) -> None:
    for score in run(data, vit, fold="mean", ways=2, steps=12, batch_size=8):
        assert score.n_labels == 2 * int(score.cell.label_budget)
        extra, metrics = score.extra, score.metrics
        for name in ("exact_ratio", "miou"):
            assert metrics[name] == pytest.approx((extra[f"{name}_fold0"] + extra[f"{name}_fold1"]) / 2)
            assert 0 <= extra[f"{name}_low"] <= metrics[name] <= extra[f"{name}_high"] <= 1
        assert extra["n_test"] == 40
        assert extra["training_masks"] == np.mean([trained_masks(data, fold) for fold in (0, 1)])
        assert score.selection == "held_out"
        assert score.n_selection_labels == len(data.splits.validation)
        assert score.class_counts is None
        assert score.correct is None


def trained_masks(data: Dataset, number: int) -> int:
    judge = few_shot.FewShot(task(data, build(data, RandomInitOptions(encoder="vit_nano")), fold=number))
    classes, kept = judge.parted(number, judge.folds[number], 0)
    assert not set(classes) & set(kept)
    assert not {NAMES.index(name) for name in FOLDS[number]} & {*classes, *kept}
    return int((data.images.histograms[data.splits.train][:, list(classes)] > 0).any(1).sum())


def with_masks(data: Dataset, masks: np.ndarray) -> Dataset:
    return replace(data, images=replace(data.images, masks=masks))


def flipped(data: Dataset, part: np.ndarray) -> Dataset:
    """The same images and image-level labels, the masks of a part upside down."""
    masks = data.images.masks.copy()
    masks[part] = masks[part][:, ::-1]
    return with_masks(data, masks)


def test_image_supervision_never_looks_at_a_training_mask_and_pixel_supervision_does(
    data: Dataset, vit: Encoder
) -> None:
    other = flipped(data, np.concatenate([data.splits.train, data.splits.validation]))
    for supervision, blind in (("image", True), ("pixel", False)):
        weights = []
        for part in (data, other):
            judge = few_shot.FewShot(task(part, vit, supervision=supervision))
            trained, _, _ = judge.learn(0, judge.folds[0], 0)
            weights.append(torch.cat([weight.flatten() for weight in trained.network.parameters()]))
        assert torch.equal(*weights) == blind


MIXED = {
    "supervision": "mixed", "mask_share": 1.0, "enhancer_steps": 40, "label_budgets": [1], "steps": 25, "batch_size": 8
}  # fmt: skip


@pytest.fixture(scope="module")
def mixed(data: Dataset, vit: Encoder) -> Score:
    return run(data, vit, **MIXED)[0]


def test_test_masks_change_the_score_alone(data: Dataset, vit: Encoder, mixed: Score) -> None:
    other = run(flipped(data, data.splits.test), vit, **MIXED)[0]
    assert mixed.selected == other.selected
    assert mixed.metrics["miou"] != other.metrics["miou"]
    # the masks of support images are no help either, but under pixel supervision: what is said stays the same
    assert mixed.metrics["exact_ratio"] == other.metrics["exact_ratio"]


def test_mixed_supervision_knows_a_share_of_the_training_masks_and_a_smaller_share_is_part_of_a_larger(
    data: Dataset, vit: Encoder
) -> None:
    known = {}
    for share in (0.1, 0.5, 1.0):
        judge = few_shot.FewShot(task(data, vit, supervision="mixed", mask_share=share))
        _, tested, count = judge.learn(0, judge.folds[0], 0)
        known[share] = set(np.flatnonzero(tested.known))
        assert count == len(known[share]) == max(1, round(share * trained_masks(data, 0)))
        assert known[share] <= set(data.splits.train.tolist())
        assert tested.enhancer is not None
    assert known[0.1] < known[0.5] < known[1.0]


def test_chance_is_what_never_and_always_saying_yes_would_score(data: Dataset, vit: Encoder) -> None:
    (score,) = run(data, vit, label_budgets=[1], test_episodes=400)
    # every image shows one class, so that only the class of the query can be present: half of the episodes
    assert abs(score.extra["exact_ratio_all_absent"] - 0.5) < 4 * 0.5 / 20
    total = score.extra["exact_ratio_all_absent"] + score.extra["exact_ratio_all_present"]
    assert total == pytest.approx(1)


def asked(data: Dataset, ways: int, shots: int, count: int = 4) -> tuple[Episodes, Episode]:
    classes = tuple(range(1, len(NAMES)))
    episodes = Episodes(data.images.histograms, data.splits.train, classes, ways, shots, ("t",))
    return episodes, stack([episodes[number] for number in range(count)])


def untrained(data: PairData) -> Trained:
    network = started(lambda: Cst(data.tokens.channels, data.tokens.grid, data.support_grid), 0, data)
    return Trained(network.eval(), 0, Thresholds(), 1)


@torch.no_grad()
def test_permuting_ways_permutes_the_answers(data: Dataset, vit: Encoder) -> None:
    known = pairs(data, vit)
    network = untrained(known).network
    _, episode = asked(data, ways=3, shots=2)
    order = [2, 0, 1]
    other = Episode(
        episode.query,
        episode.query_class,
        *(part[:, order] for part in (episode.classes, episode.support, episode.present)),
    )
    left, right = guess(network, known, episode), guess(network, known, other)
    torch.testing.assert_close(right.presence, left.presence[:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(right.masks, left.masks[:, order], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_shots_are_averaged(data: Dataset, vit: Encoder) -> None:
    known = pairs(data, vit)
    network = untrained(known).network
    _, episode = asked(data, ways=2, shots=3)
    alone = [
        guess(network, known, episode._replace(support=episode.support[:, :, shot : shot + 1])) for shot in range(3)
    ]
    together = guess(network, known, episode)
    torch.testing.assert_close(together.masks, sum(part.masks for part in alone) / 3, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.presence, sum(part.presence for part in alone) / 3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ignore", ["excluded", "as_published"])
def test_answers_are_counted_pixel_by_pixel(data: Dataset, vit: Encoder, ignore: str) -> None:
    known = pairs(data, vit, ignore=ignore)
    trained = untrained(known)
    episodes, episode = asked(data, ways=2, shots=1, count=8)
    found = answers(trained, known, known, episodes, range(8))
    with torch.no_grad():
        guesses = guess(trained.network, known, episode)
    for e, n in np.ndindex(8, 2):
        truth = data.images.masks[episode.query[e]]
        chances = guesses.masks[e].numpy()
        said = (chances.argmax(0) == n) & (chances.max(0) >= 0.5)
        inside = truth == episode.classes[e, n]
        counts = truth != 255 if ignore == "excluded" else np.ones_like(inside)
        assert found.intersection[e, n] == (said & inside & counts).sum()
        assert found.union[e, n] == ((said | inside) & counts).sum()
        assert found.pixels[e, n] == counts.sum()
        assert found.claimed[e, n] == (float(guesses.presence[e, n]) > 0.5)
        assert found.present[e, n] == inside.any()


def test_thresholds_may_be_fixed(data: Dataset, vit: Encoder) -> None:
    (score,) = run(data, vit, thresholds="fixed", label_budgets=[1])
    assert (score.selected["presence"], score.selected["mask"]) == (0.5, 0.5)


def test_pictures_of_episodes(data: Dataset, vit: Encoder) -> None:
    known = pairs(data, vit)
    episodes, _ = asked(data, ways=2, shots=2)
    sheet = contact_sheet(untrained(known), known, episodes, range(3))
    assert sheet.shape == (3 * SIDE, 6 * SIDE, 3)
    assert sheet.dtype == np.uint8
    query = episodes[1].query
    np.testing.assert_array_equal(sheet[SIDE : 2 * SIDE, 2 * SIDE : 3 * SIDE], data.images.images[query])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ways": 3}, "ways: 3 is more than the 2 novel classes"),
        ({"label_budgets": [9]}, r"label_budgets: 9 shots and a query, but \d test images show '\w+'; valid: up to"),
        ({"validation_classes": 3}, "validation_classes: 3 of the 4 base classes"),
        ({"folds": ()}, "folds: none known for 'squares'"),
        ({"folds": [["red", "pink"]]}, "unknown class 'pink'.*valid: blue, cyan"),
        ({"fold": 2}, "fold: 2, but there are 2"),
    ],
)
def test_one_line_before_anything_is_encoded(data: Dataset, changes: dict[str, object], says: str) -> None:
    def never() -> Encoder:
        raise AssertionError("encoded")

    asked = replace(task(data, build(data, PixelsOptions()), **changes), encoder=never)
    with pytest.raises(UserError, match=says) as error:
        few_shot.run(asked)
    assert "\n" not in str(error.value)


def test_an_encoder_without_patch_tokens_and_a_set_without_masks_are_refused(data: Dataset, vit: Encoder) -> None:
    with pytest.raises(UserError, match="has no class token"):
        run(data, build(data, RandomInitOptions(encoder="conv_nano")))
    bare = replace(data, images=replace(data.images, masks=None, histograms=None))
    with pytest.raises(UserError, match="few_shot: data set 'squares' has no masks"):
        run(bare, vit)


def test_numbers_are_those_of_the_version(mixed: Score) -> None:
    assert FewShotOptions.version == 2, "record the new version's numbers here"
    found = mixed.metrics["exact_ratio"], mixed.metrics["miou"]
    assert found == pytest.approx((0.95, 0.252737), rel=2e-2), "numbers changed: bump the version"


def test_a_row_holds_its_scores_without_each_block_of_query_images(data: Dataset, vit: Encoder) -> None:
    evaluation = task(data, vit, fold="mean", steps=1, label_budgets=[1], test_episodes=60)
    judge = few_shot.FewShot(evaluation)
    (score,), blocks = few_shot.run(evaluation), image_blocks(data.splits)
    learners = [(fold, *judge.learn(number, fold, 0)) for number, fold in judge.folds.items()]
    found = [judge.tested(score.cell, number, *learner[:3]) for number, learner in enumerate(learners)]
    held = score.extra["item_jackknife"]
    for block in range(blocks.max() + 1):
        kept = [np.flatnonzero([blocks[query] != block for query in answer.query]) for answer in found]
        right = [(a.claimed == a.present).all(1)[rest].mean() for a, rest in zip(found, kept, strict=True)]
        assert held["exact_ratio"][block] == pytest.approx(np.mean(right))
        ious = [
            np.mean([
                a.intersection[rest][a.classes[rest] == label].sum() / a.union[rest][a.classes[rest] == label].sum()
                for label in np.unique(a.classes[rest])
            ])
            for a, rest in zip(found, kept, strict=True)
        ]  # fmt: skip
        assert held["miou"][block] == pytest.approx(np.mean(ious))
    assert len(held["miou"]) == len(held["exact_ratio"]) == blocks.max() + 1 == 20


def test_blocks_hold_whole_groups_of_test_images_alone(data: Dataset) -> None:
    splits = replace(data.splits, groups=data.splits.groups // 2)
    blocks = image_blocks(splits)
    assert (blocks[splits.test] >= 0).all()
    assert (np.delete(blocks, splits.test) == -1).all()
    assert all(len(set(blocks[splits.test][splits.groups[splits.test] == g])) == 1 for g in splits.groups[splits.test])
    assert np.ptp(np.bincount(image_blocks(data.splits)[data.splits.test])) <= 1


def test_only_generated_images_leave_pictures_and_only_of_the_first_cell(data: Dataset, vit: Encoder) -> None:
    assert all(not score.pictures for score in run(data, vit, draws=2))
    found = run(replace(data, name="land_cover"), vit, draws=2, fold="mean", supervision="mixed", mask_share=0.5)
    assert [bool(score.pictures) for score in found] == [score.cell[:2] == ("1", 0) for score in found]
    ((name, picture),) = next(score.pictures for score in found if score.pictures).items()
    assert name == "1-way 1-shot episodes of fold 0, mixed 0.5"
    assert picture.shape == (few_shot.PICTURED * SIDE, 5 * SIDE, 3)


def test_pictures_lie_beside_the_encoder_where_the_runs_page_finds_them(
    data: Dataset, vit: Encoder, tmp_path: Path
) -> None:
    scores = run(replace(data, name="land_cover"), vit)
    folder = tmp_path / "artifacts" / "encoders" / "key"
    folder.mkdir(parents=True)
    for _ in range(2):
        write_answers(folder, scores)
        (found,) = pictures(tmp_path, "key")
        assert found.name == "1-way 1-shot episodes of fold 0, pixel"
        assert found.read() is not None
    assert [path.name for path in folder.iterdir()] == ["previews"]


def test_where_groups_are_few_images_are_dealt_one_by_one(data: Dataset) -> None:
    splits = replace(data.splits, groups=data.splits.groups // 12)
    np.testing.assert_array_equal(image_blocks(splits), image_blocks(data.splits))
