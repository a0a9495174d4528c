"""Pictures of a pretext task: written beside the encoder, from validation images, never in the way of a training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.data.draws import Draws
from bench.engine.pictures import sheet, write_pictures
from bench.engine.site import Site
from bench.engine.trained import build, keep, train
from bench.methods.base import Method
from bench.results.pictures import pictures
from bench.study.methods import METHODS
from bench.study.spec import DataSpec, Resources

KEY = "0" * 32


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("results"), DataSpec(name="digits", max_train=200, max_test=60), Resources())


def kept(site: Site, key: str, name: str, **options: object) -> Path:
    asked = METHODS[name].model_validate({"encoder": "vit_nano", "epochs": 1, "batch_size": 64, **options})
    keep(site, key, *train(site, key, name, asked))
    return site.root / "artifacts" / "encoders" / key


def test_a_kept_pretraining_has_its_pictures(site: Site) -> None:
    folder = kept(site, KEY, "mae")
    found = pictures(site.root, KEY)
    assert [picture.name for picture in found] == ["input", "corrupted", "reconstruction"]
    sizes = {Image.open(picture.path).size for picture in found}
    assert sizes == {(8 * 64 + 7 * 2, 64)}  # eight digits of 8 x 8 pixels, eight times as large
    assert found[0].read() == found[0].path.read_bytes() != found[1].read()
    assert (folder / "training.json").is_file()


def test_pictures_are_the_same_images_of_the_validation_split(site: Site) -> None:
    data = site.dataset()
    kept(site, "1" * 32, "simclr", encoder="conv_nano", lr=1e-4)
    (first, *_), (other, *_) = pictures(site.root, "1" * 32), pictures(site.root, KEY)
    assert first.read() == other.read()
    tile = np.asarray(Image.open(first.path))[::8, : 8 * 8 : 8]
    validation = np.asarray(data.images.images[data.splits.validation])[..., 0]
    test = np.asarray(data.images.images[data.splits.test])[..., 0]
    assert (validation == tile).all((1, 2)).any()
    assert not (test == tile).all((1, 2)).any()


class Fake(Method):
    def __init__(self, view: Callable[[Tensor], dict[str, Tensor]]) -> None:
        torch.nn.Module.__init__(self)
        self.norm = torch.nn.BatchNorm2d(1)
        self.view = view

    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        return self.view(self.norm(images + torch.rand(1).to(images)))


def test_what_goes_wrong_ends_nothing(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def wrong(images: Tensor) -> dict[str, Tensor]:
        raise RuntimeError("no luck")

    with caplog.at_level(logging.WARNING):
        write_pictures(tmp_path, site.dataset(), Fake(wrong))
    assert "no pictures of Fake: RuntimeError: no luck" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_the_method_changes_and_nothing_is_left_by_chance(site: Site, tmp_path: Path) -> None:
    method = Fake(lambda images: {"input": images, "other thing": images})
    before, state = {k: v.clone() for k, v in method.state_dict().items()}, torch.random.get_rng_state()
    contents = []
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        write_pictures(tmp_path / run, site.dataset(), method)
        contents.append((tmp_path / run / "previews" / "1_other thing.png").read_bytes())
    assert contents[0] == contents[1]
    assert method.training
    assert method.norm.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_an_input_alone_is_no_picture(site: Site, tmp_path: Path) -> None:
    options = METHODS["pixels"].model_validate({})
    write_pictures(tmp_path, site.dataset(), build(site, KEY, "pixels", options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (12, "RGB")])
def test_any_number_of_channels_can_be_seen(channels: int, mode: str) -> None:
    images = np.random.default_rng(0).uniform(-1, 2, (3, channels, 10, 20)).astype(np.float32)
    images[0, 0, 0, 0] = np.nan
    row = sheet(images)
    assert (row.mode, row.size) == (mode, (3 * 80 + 2 * 2, 40))
    expected = np.clip(np.nan_to_num(images[:, 0]), 0, 1) * 255
    found = np.asarray(row).reshape(40, 244, -1)[::4, :80:4, 0]
    np.testing.assert_allclose(found, expected[0], atol=0.5)


def test_a_large_image_is_shrunk() -> None:
    assert sheet(np.zeros((2, 3, 600, 300), np.float32)).size == (2 * 128 + 2, 256)
