"""The land-cover test bed: the same for everyone, exact, varied, learnable but not by looks alone, in 1 to 13 bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bench.data.catalog import open_dataset
from bench.data.land_cover import generate, read_land_cover
from bench.data.objects import objects
from bench.data.spectra import BANDS, CLASSES, MOST_BANDS, mean_reflectance
from bench.errors import UserError
from bench.store.datasets import shown_name
from bench.study.load import parse_study
from bench.study.spec import DataSpec


def spec(**options: object) -> DataSpec:
    return DataSpec(name="land_cover", **options)


def test_the_first_images_are_the_same_however_many_there_are() -> None:
    few, more = (read_land_cover(spec(images=count, image_size=16)) for count in (20, 70))
    assert few.pixels.shape == (20, 16, 16, 3)
    np.testing.assert_array_equal(few.pixels, more.pixels[:20])
    np.testing.assert_array_equal(few.masks, more.masks[:20])
    assert len({image.tobytes() for image in more.pixels}) == 70


def test_every_class_is_there_and_images_differ_in_what_they_show() -> None:
    raw = read_land_cover(spec(images=100))
    assert raw.class_names == CLASSES
    assert set(np.unique(raw.masks)) == set(range(len(CLASSES)))
    shares = np.stack([(raw.masks == label).mean((1, 2)) for label in range(len(CLASSES))], 1)
    assert (shares.mean(0) > 0.02).all()
    assert (shares.std(0) > 0.02).all()
    assert shares[:, CLASSES.index("water")].min() == 0


def test_colour_alone_tells_much_but_not_all() -> None:
    train, test = generate(0, 64, 3), generate(1, 64, 3)
    pixels, labels = train[0].reshape(-1, 3)[::40] / 255, train[1].ravel()[::40]
    model = LogisticRegression(max_iter=300).fit(pixels, labels)
    accuracy = model.score(test[0].reshape(-1, 3)[::40] / 255, test[1].ravel()[::40])
    assert 0.4 < accuracy < 0.75


@pytest.mark.parametrize("bands", [1, 4, 13])
def test_bands_see_the_same_land(bands: int) -> None:
    pixels, masks = generate(0, 24, bands)
    assert pixels.shape == (50, 24, 24, bands)
    np.testing.assert_array_equal(masks, generate(0, 24, 3)[1])
    table = mean_reflectance(bands)
    assert table.shape == (len(CLASSES), bands)
    water = pixels[masks == CLASSES.index("water")].mean(0)
    if bands > 3:  # water is black in the near infrared, where plants are bright
        assert water[3] < pixels[masks == CLASSES.index("field")].mean(0)[3] / 2


def test_thirteen_bands_are_stored_and_measured(tmp_path: Path) -> None:
    data = open_dataset(spec(images=40, image_size=16, bands=13), tmp_path)
    assert len(BANDS) == MOST_BANDS == 13
    assert data.shape == (13, 16, 16)
    pool = data.images.images[data.splits.train] / 255
    np.testing.assert_allclose(data.mean, pool.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(data.std, pool.std((0, 1, 2)), rtol=1e-5)
    assert data.images.masks is not None


def test_options_are_part_of_the_key(tmp_path: Path) -> None:
    found = {open_dataset(spec(images=40, image_size=16, **more), tmp_path).fingerprint for more in ({}, {"bands": 2})}
    found.add(open_dataset(spec(images=41, image_size=16), tmp_path).fingerprint)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"root": "."}, "data.root: data set 'land_cover' is generated"),
        ({"chip": 16}, "data.chip: land_cover is generated"),
        ({"channels": 3}, "data.channels: land_cover is generated"),
    ],
)
def test_what_only_files_have_is_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_land_cover(spec(**options))


@pytest.mark.parametrize(
    ("data", "told"),
    [({"name": "digits", "bands": 3}, "only land_cover and shape_scenes are generated"), ({"bands": 14}, "13")],
)
def test_options_of_the_generator_are_checked(data: dict[str, object], told: str) -> None:
    raw = {"study": "s", "data": {"name": "land_cover", **data}, "methods": {"random_init": {}}}
    with pytest.raises(UserError, match=told):
        parse_study(raw | {"evaluate": [{"protocol": "segmentation"}]}, "test")


def test_objects_are_connected_parts_of_a_class() -> None:
    mask = np.array([[0, 0, 1, 0], [1, 1, 1, 0], [0, 255, 1, 2]], np.uint8)
    numbers, classes = objects(mask, 3)
    np.testing.assert_array_equal(numbers, [[1, 1, 4, 2], [4, 4, 4, 2], [3, 0, 4, 5]])
    np.testing.assert_array_equal(classes, [0, 0, 0, 1, 2])


def test_it_is_called_a_test_bed_where_it_shows() -> None:
    assert shown_name("land_cover") == "land_cover (a generated test bed)"
    assert shown_name("dubai_aerial") == "dubai_aerial"
