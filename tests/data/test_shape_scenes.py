"""The shape_scenes test bed: the same for everyone, exact, every class in every split, novel classes of known parts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.data.catalog import open_dataset
from bench.data.objects import objects
from bench.data.shape_scenes import MOST, painted, read_shape_scenes, scene, shape
from bench.errors import UserError
from bench.store.datasets import shown_name
from bench.study.load import parse_study
from bench.study.protocols import FewShotOptions
from bench.study.shape_classes import CLASSES, GROUND, LOOKS, PATTERNS, SHAPE_FOLDS, SHAPES
from bench.study.spec import DataSpec


def spec(**options: object) -> DataSpec:
    return DataSpec(name="shape_scenes", **options)


def test_the_first_images_are_the_same_however_many_there_are() -> None:
    few, more = (read_shape_scenes(spec(images=count, image_size=24)) for count in (8, 20))
    assert few.pixels.shape == (8, 24, 24, 3)
    assert few.pixels.dtype == few.masks.dtype == np.uint8
    np.testing.assert_array_equal(few.pixels, more.pixels[:8])
    np.testing.assert_array_equal(few.masks, more.masks[:8])
    assert len({image.tobytes() for image in more.pixels}) == 20


def test_an_image_shows_one_to_three_objects_of_different_classes_that_do_not_touch() -> None:
    counts = Counter()
    for number in range(60):
        mask = scene(number, 48)[1]
        shown = set(np.unique(mask)) - {0}
        places = (mask > 0).astype(np.uint8)
        bodies = [
            np.bincount(mask[objects(places, 2)[0] == body]) for body in np.unique(objects(places, 2)[0][mask > 0])
        ]
        assert all((body > 0).sum() == 1 for body in bodies)  # a connected body has one class
        assert (mask == 0).mean() > 0.35
        counts[len(shown)] += 1
    assert set(counts) == set(range(1, MOST + 1))


def test_every_class_is_there_and_the_label_is_that_of_the_largest_object() -> None:
    raw = read_shape_scenes(spec(images=200))
    assert raw.class_names == CLASSES
    assert raw.class_names[0] == GROUND
    assert set(np.unique(raw.masks)) == set(range(len(CLASSES)))
    areas = np.stack([(raw.masks == label).sum((1, 2)) for label in range(len(CLASSES))], 1)
    assert (areas[np.arange(200), raw.labels] == areas[:, 1:].max(1)).all()
    assert (raw.labels > 0).all()


def test_a_class_is_no_fixed_colour_but_patterns_are_what_they_are_called() -> None:
    y, x = np.mgrid[:48, :48] + 0.5
    means = []
    for seed in range(30):
        numbers = np.random.default_rng(seed)
        look = LOOKS[seed % len(LOOKS)]
        picture = painted(look, x, y, 1.0, numbers)[..., 0]
        down, across = (np.ptp(picture, axis=axis).max() for axis in (0, 1))
        assert (down > 0, across > 0) == {
            "plain": (False, False), "rows": (True, False), "columns": (False, True),
        }.get(look.pattern, (True, True))  # fmt: skip
        means.append(painted(LOOKS[0], x, y, 1.0, numbers).mean((0, 1)))
    assert (np.std(means, axis=0) > 0.02).all()


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_one_piece_within_their_circle(name: str) -> None:
    y, x = np.mgrid[-1.2:1.2:96j, -1.2:1.2:96j]
    inside = shape(name, x, y, np.random.default_rng(0))
    assert len(objects(inside.astype(np.uint8), 2)[1][1:]) >= 1
    assert inside[48, 48]
    assert np.hypot(x, y)[inside].max() < 1.02
    assert 0.15 < inside.mean() < 0.5


def test_novel_classes_are_made_of_known_hues_patterns_and_shapes() -> None:
    looks = {look.name: look for look in LOOKS}
    assert len(looks) == len(set(LOOKS)) == 20
    assert sorted(name for fold in SHAPE_FOLDS for name in fold) == sorted(looks)
    for fold in SHAPE_FOLDS:
        novel, base = ([looks[n] for n in looks if (n in fold) == held] for held in (True, False))
        for part in range(3):
            assert len({look[part] for look in novel}) == 4
            assert {look[part] for look in novel} <= {look[part] for look in base}
    options = FewShotOptions(validation_classes=4)
    folds = options.class_folds("shape_scenes", CLASSES)
    assert len(folds) == len(PATTERNS)
    assert all(0 not in (*fold.novel, *fold.base) and len(fold.base) == 16 for fold in folds)


def test_every_split_shows_every_class(tmp_path: Path) -> None:
    data = open_dataset(spec(images=400, image_size=24), tmp_path)
    splits = data.splits
    for part in (splits.train, splits.validation, splits.test):
        assert (data.images.histograms[part][:, 1:] > 0).sum(0).min() >= 2
    assert shown_name(data.name) == "shape_scenes (a generated test bed)"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"root": "."}, "data.root: data set 'shape_scenes' is generated"),
        ({"chip": 16}, "data.chip: shape_scenes is generated"),
    ],
)
def test_what_only_files_have_is_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_shape_scenes(spec(**options))


def test_it_has_three_bands() -> None:
    raw = {"study": "s", "data": {"name": "shape_scenes", "bands": 4}, "methods": {"random_init": {}}}
    with pytest.raises(UserError, match="bands: 4, but shape_scenes has colours; valid: 3"):
        parse_study(raw | {"evaluate": [{"protocol": "few_shot"}]}, "test")
