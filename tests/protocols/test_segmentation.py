"""What segmentation promises: frozen is frozen, cells stand alone, selection is blind to the test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.catalog import Dataset, open_dataset
from bench.data.dense_draws import dense_budget
from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.methods.registry import build_method
from bench.protocols.base import Evaluation, Score
from bench.protocols.dense_metrics import DenseCounts
from bench.protocols.dense_training import DenseRecipe, Source, schedule, turned
from bench.protocols.features import Features
from bench.protocols.segmentation import DenseTrainer, run, validation_miou
from bench.study.methods import PixelsOptions, RandomInitOptions
from bench.study.protocols import Cell, SegmentationOptions, cells
from bench.study.spec import DataSpec

METRICS = {"miou", "pixel_accuracy", "macro_f1", "boundary_f1"}


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(DataSpec(name="land_cover", images=60, image_size=16), tmp_path_factory.mktemp("land"))


def built(dataset: Dataset, name: str) -> Encoder:
    options = PixelsOptions() if name == "pixels" else RandomInitOptions(encoder=name)
    mean, std = dataset.mean.tolist(), dataset.std.tolist()
    return build_method(options.name, options, dataset.shape, mean, std, 0).encoder().eval()


@pytest.fixture(scope="module")
def conv(land: Dataset) -> Encoder:
    return built(land, "conv_nano")


def small(**changes: object) -> SegmentationOptions:
    quick = {"label_budgets": [2, 12], "draws": 2, "steps": 4, "epochs": 1, "batch_size": 4, "folds": 2}
    return SegmentationOptions(**{**quick, **changes})


def task(
    dataset: Dataset, encoder: Encoder, options: SegmentationOptions, wanted: list[Cell] | None = None
) -> Evaluation:
    asked = cells(options, ["last"]) if wanted is None else wanted
    return Evaluation(dataset, lambda: encoder, Features({}, dataset.splits.train), options, asked, 0, Path())


def same(left: Score, right: Score) -> bool:
    return left.metrics == right.metrics and left.selected == right.selected and left.extra == right.extra


def test_scores_are_the_cells_asked_for_and_count_every_pixel(land: Dataset, conv: Encoder) -> None:
    options = small(lr_grid=[1e-3, 1e-2])
    before = {key: value.clone() for key, value in conv.state_dict().items()}
    asked = task(land, conv, options)
    scores = run(asked)
    assert [score.cell for score in scores] == asked.cells
    for score in scores:
        assert set(score.metrics) == METRICS
        assert all(0 <= value <= 1 for value in score.metrics.values())
        assert score.n_labels == int(score.cell.label_budget)
        assert score.selection == ("fixed" if score.cell.label_budget == "2" else "within_budget")
        assert (score.n_candidates, score.n_selection_labels) == (1 if score.selection == "fixed" else 3, 0)
        assert score.extra["n_test"] == len(land.splits.test)
        assert score.extra["bytes_added"] > 0
        confusion = np.array(score.extra["confusion"])
        test = land.images.masks[land.splits.test]
        np.testing.assert_array_equal(confusion.sum(1), [(test == label).sum() for label in range(6)])
        counts = DenseCounts(6)
        counts.confusion += confusion
        assert np.nanmean(counts.class_iou) == pytest.approx(score.metrics["miou"])
    assert all((conv.state_dict()[key] == value).all() for key, value in before.items())


@pytest.mark.parametrize("state", ["frozen", "trained"])
def test_a_subset_of_the_cells_has_the_same_scores(state: str, land: Dataset, conv: Encoder) -> None:
    options = small(encoder_state=state)
    everything = {score.cell: score for score in run(task(land, conv, options))}
    for score in run(task(land, conv, options, list(everything)[1::2][::-1])):
        assert same(score, everything[score.cell])


@pytest.mark.parametrize("selection", ["within_budget", "held_out"])
def test_selection_never_sees_test_masks(selection: str, land: Dataset, conv: Encoder) -> None:
    masks = np.array(land.images.masks)
    masks[land.splits.test] = np.random.default_rng(0).integers(0, 6, masks[land.splits.test].shape)
    blind = replace(land, images=replace(land.images, masks=masks))
    options = small(label_budgets=[5], draws=1, selection=selection, lr_grid=[1e-4, 1e-2])
    honest, blinded = (run(task(dataset, conv, options))[0] for dataset in (land, blind))
    assert honest.selected == blinded.selected
    assert honest.selection == selection
    assert honest.n_selection_labels == (len(land.splits.validation) if selection == "held_out" else 0)
    assert blinded.metrics["miou"] < 0.2


def test_more_masks_and_a_trained_encoder_help(land: Dataset, conv: Encoder) -> None:
    options = small(label_budgets=[1, 30], draws=1, steps=80, batch_size=8, lr=5e-3)
    one, many = (score.metrics["miou"] for score in run(task(land, conv, options)))
    assert many > one + 0.05
    assert many > 0.3


@pytest.fixture(scope="module")
def resnet(land: Dataset) -> Encoder:
    """A network with batch norms."""
    return built(land, "timm/resnet18")


class TestEncoderState:
    def trained(self, land: Dataset, encoder: Encoder, **changes: object) -> dict[str, torch.Tensor]:
        trainer = DenseTrainer(land, encoder, small(**changes), 0, "cpu")
        indices = dense_budget(land.images, land.splits, "8", 0)
        return trainer.train(Cell("8", 0, "last", None), indices, 1e-3).encoder.state_dict()

    @pytest.mark.parametrize("augmentation", ["none", "flip_rotate"])
    def test_frozen_keeps_weights_and_batch_statistics(self, land: Dataset, resnet: Encoder, augmentation: str) -> None:
        after = self.trained(land, resnet, augmentation=augmentation)
        assert all(torch.equal(after[name], value) for name, value in resnet.state_dict().items())

    @pytest.mark.parametrize(
        ("changes", "moved"),
        [
            ({"encoder_state": "trained"}, True),
            ({"unfreeze_at": 1}, True),  # two steps of 4 are an epoch of 8
            ({"unfreeze_at": 2}, False),  # which would begin with the fifth of four steps
        ],
    )
    def test_the_encoder_trains_from_its_epoch_on(
        self, land: Dataset, resnet: Encoder, changes: dict[str, object], moved: bool
    ) -> None:
        after = self.trained(land, resnet, **changes)
        for name in ("backbone.conv1.weight", "backbone.bn1.running_mean"):
            assert torch.equal(after[name], resnet.state_dict()[name]) != moved

    def test_bytes_are_those_of_what_training_made(self, land: Dataset, conv: Encoder) -> None:
        frozen, trained = (
            run(task(land, conv, small(label_budgets=[2], draws=1, encoder_state=state)))[0].extra["bytes_added"]
            for state in ("frozen", "trained")
        )
        assert trained - frozen == 4 * sum(parameter.numel() for parameter in conv.parameters())


@pytest.mark.parametrize("encoder", ["conv_nano", "vit_nano", "unet_nano"])
@pytest.mark.parametrize("decoder", ["unet", "pspnet", "deeplabv3plus", "fpn", "upernet"])
def test_every_decoder_learns_on_every_family(decoder: str, encoder: str, land: Dataset) -> None:
    options = small(label_budgets=[1], draws=1, steps=2, epochs=0, decoder=decoder)  # one image: batch norms hold
    score = run(task(land, built(land, encoder), options))[0]
    assert np.isfinite(list(score.metrics.values())).all()


def test_kept_maps_of_a_frozen_encoder_change_nothing(
    land: Dataset, conv: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = run(task(land, conv, small()))
    monkeypatch.setattr("bench.protocols.dense_training.BANK_BYTES", 0)
    for score, expected in zip(run(task(land, conv, small())), kept, strict=True):
        assert score.metrics == pytest.approx(expected.metrics, abs=0.02)


def test_a_class_map_names_what_is_told_apart(land: Dataset, conv: Encoder) -> None:
    mapping = {"green": ["field", "tree"], "built": ["road", "building"], "ignore": ["water", "bare"]}
    score = run(task(land, conv, small(class_map=mapping, label_budgets=[2], draws=1)))[0]
    test = land.images.masks[land.splits.test]
    names = land.splits.class_names
    green = sum(int((test == names.index(name)).sum()) for name in mapping["green"])
    assert set(score.extra["class_iou"]) == {"green", "built"}
    assert np.array(score.extra["confusion"]).sum(1)[1] == green  # "built" comes first


def test_all_test_pixels_ignored_is_said(land: Dataset, conv: Encoder) -> None:
    ignored = {"a": ["field"], "b": ["bare"], "ignore": ["water", "road", "building", "tree"]}
    test = land.splits.test
    histograms = land.images.histograms.copy()
    histograms[test, :2] = 0
    blank = replace(land, images=replace(land.images, histograms=histograms))
    with pytest.raises(UserError, match="no test pixel of land_cover has a class that counts"):
        run(task(blank, conv, small(class_map=ignored)))


def test_one_vector_per_image_is_refused(land: Dataset) -> None:
    vectors = built(land, "pixels")
    vectors.layers["pixels"] = vectors.layers["pixels"]._replace(stride=16)
    with pytest.raises(UserError, match="patch tokens or maps"):
        run(task(land, vectors, small()))


def test_the_search_objective_is_the_miou_of_validation_images(
    land: Dataset, conv: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.protocols.segmentation.JUDGE", small())
    training = conv.training
    value = validation_miou(land, conv, "1", 0)
    assert 0 < value < 1
    assert value == validation_miou(land, conv, "1", 0)
    assert conv.training == training


def test_views_are_the_symmetries_of_a_square() -> None:
    picture = torch.arange(9).reshape(3, 3)
    assert len({tuple(turned(picture, view).flatten().tolist()) for view in range(8)}) == 8
    channels_last = torch.stack([picture, picture + 9], -1)
    for view in range(8):
        assert torch.equal(turned(channels_last, view, (0, 1))[..., 0], turned(picture, view))


def test_image_and_mask_turn_together(land: Dataset, conv: Encoder) -> None:
    """Where the mask is a function of the image, it is so in every view."""
    images = np.repeat(land.images.masks[..., None] * 40, 3, axis=3).astype(np.uint8)
    same_images = replace(land, images=replace(land.images, images=images))
    recipe = DenseRecipe(same_images, conv, small(encoder_state="trained"), np.arange(256, dtype=np.uint8), 6, "cpu")
    seen: list[torch.Tensor] = []
    source = Source(recipe, lambda batch: seen.append(batch) or batch, land.splits.train[:8], 4)
    for seed in range(4):
        _, target = source.batch(np.arange(8), seed)
        assert torch.equal((seen[-1][:, 0] * 255 / 40).round().long(), target)
    assert not torch.equal(seen[0], seen[1])


def test_the_rate_falls_as_published() -> None:
    rates = [5e-4 * schedule(epoch, 50) for epoch in range(50)]
    assert rates[0] == pytest.approx(5e-4)
    assert rates[20] == pytest.approx((5e-4 + 1e-5) / 2)
    assert rates[40:] == pytest.approx([1e-5] * 10)


# (version, pixel accuracy and mIoU of the last cell); when they change on purpose, bump the version of the options
GOLDEN = {"frozen": (3, 0.26237, 0.13037), "trained": (3, 0.25488, 0.12683)}


@pytest.mark.parametrize("state", sorted(GOLDEN))
def test_numbers_are_those_of_the_version(state: str, land: Dataset, conv: Encoder) -> None:
    metrics = run(task(land, conv, small(encoder_state=state, steps=10, label_budgets=[12], draws=1, lr=3e-3)))[
        -1
    ].metrics
    version, accuracy, miou = GOLDEN[state]
    assert SegmentationOptions.version == version, "record the new version's numbers here"
    assert (metrics["pixel_accuracy"], metrics["miou"]) == pytest.approx((accuracy, miou), abs=5e-3), "bump the version"
