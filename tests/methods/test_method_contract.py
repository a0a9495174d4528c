"""What every registered method keeps to."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import load_encoder, save_encoder
from bench.methods.registry import METHODS, build_method
from bench.study.methods import METHODS as OPTIONS
from tests.methods.conftest import CLASSES

COUNT = 6
NAMES = list(OPTIONS)
TRAINED = [name for name, options in OPTIONS.items() if options.trains]
SHAPES = [ImageShape(1, 8, 8), ImageShape(3, 8, 8), ImageShape(3, 16, 24)]
Make = Callable[..., Method]


def images_for(method: Method) -> torch.Tensor:
    return torch.rand((COUNT, *method.encoder().shape), generator=torch.Generator().manual_seed(1))


def targets_for(method: Method) -> tuple[torch.Tensor, ...]:
    """Masks of three classes and ignored pixels, for the methods that learn from masks."""
    if not method.needs_masks:
        return ()
    size = (COUNT, *method.encoder().shape[1:])
    masks = torch.randint(0, CLASSES + 1, size, generator=torch.Generator().manual_seed(2))
    return (masks.where(masks < CLASSES, 255),)


def test_registries_agree() -> None:
    assert list(METHODS) == list(OPTIONS)
    for attribute in ("trains", "needs_masks"):
        assert {name: getattr(method, attribute) for name, method in METHODS.items()} == {
            name: getattr(options, attribute) for name, options in OPTIONS.items()
        }


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", TRAINED)
def test_loss_is_a_finite_scalar_that_reaches_every_parameter(name: str, shape: ImageShape, make: Make) -> None:
    method = make(name, shape)
    loss, logged = method(images_for(method), Draws(3, COUNT), *targets_for(method))
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert all(value.ndim == 0 for value in logged.values())
    loss.backward()
    trainable = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trainable.items() if parameter.grad is None] == []
    assert [name for name, parameter in trainable.items() if not parameter.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", TRAINED)
def test_loss_depends_on_the_draws_alone(name: str, make: Make) -> None:
    method = make(name)
    images, targets = images_for(method), targets_for(method)
    first, again, other = (method.loss(images, Draws(seed, COUNT), *targets)[0].item() for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TRAINED])
def test_an_untrained_method_has_no_loss(name: str, make: Make) -> None:
    method = make(name)
    with pytest.raises(TypeError, match="nothing to train"):
        method.loss(images_for(method), Draws(0, COUNT))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_as_the_layers_say(name: str, shape: ImageShape, make: Make) -> None:
    encoder = make(name, shape).encoder()
    height, width = encoder.shape.height, encoder.shape.width
    maps = encoder.eval().forward_layers(images_for(make(name, shape)))
    assert list(maps) == list(encoder.layers)
    for layer, info in encoder.layers.items():
        expected = (COUNT, info.channels, -(-height // info.stride), -(-width // info.stride))
        assert maps[layer].shape == expected, layer


@pytest.mark.parametrize("name", NAMES)
def test_layers_can_be_asked_for_one_by_one(name: str, make: Make) -> None:
    method = make(name)
    encoder, images = method.encoder().eval(), images_for(method)
    everything = encoder.forward_layers(images)
    for layer, features in everything.items():
        torch.testing.assert_close(encoder.forward_layers(images, [layer])[layer], features, rtol=0, atol=0)
    torch.testing.assert_close(encoder.forward_layers(images, ["last"])["last"], everything[encoder.default_layer])
    vectors = encoder.embed(images, ["last"])["last"]
    torch.testing.assert_close(encoder(images), vectors)
    if name != "pixels":
        torch.testing.assert_close(vectors, everything[encoder.default_layer].mean((2, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_layer_is_an_error_that_lists_the_layers(name: str, make: Make) -> None:
    method = make(name)
    with pytest.raises(UserError, match=method.encoder().default_layer):
        method.encoder().embed(images_for(method), ["block99"])


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_encoder_is_loaded_bit_for_bit(name: str, make: Make, tmp_path: Path) -> None:
    encoder = make(name, SHAPES[2]).encoder().eval()
    save_encoder(encoder, tmp_path)
    before = torch.random.get_rng_state()
    loaded = load_encoder(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    images = torch.rand(COUNT, *encoder.shape)
    assert not loaded.training
    assert loaded.layers == encoder.layers
    for layer, features in encoder.forward_layers(images).items():
        assert torch.equal(loaded.forward_layers(images)[layer], features)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone(name: str, make: Make) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (make(name, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    if OPTIONS[name].seeded:
        assert any(not torch.equal(first[key], other[key]) for key in first)
    else:
        assert all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_previews_are_pictures(name: str, shape: ImageShape, make: Make) -> None:
    method = make(name, shape)
    images = images_for(method)
    pictures = method.preview(images, Draws(3, COUNT))
    assert next(iter(pictures)) == "input"
    for picture in pictures.values():
        assert picture.shape == images.shape
        assert not picture.requires_grad
        assert 0 <= picture.min() <= picture.max() <= 1


def test_an_unknown_method_is_an_error_that_lists_the_methods() -> None:
    with pytest.raises(UserError, match="did you mean 'mae'"):
        build_method("may", OPTIONS["mae"](), SHAPES[0], [0.5], [0.5], 0)


def test_methods_import_no_ray() -> None:
    code = "import sys, bench.methods.registry, bench.training.loop; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_method_is_documented() -> None:
    assert all(inspect.getdoc(method) for method in METHODS.values())
