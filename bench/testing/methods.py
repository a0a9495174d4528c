"""What every method keeps to."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.data.draws import Draws
from bench.data.raw import IGNORE
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import load_encoder, save_encoder
from bench.methods.registry import METHODS, build_method
from bench.study.methods import METHODS as OPTIONS
from bench.testing.expect import raises

COUNT = 6  # images of a batch
POOL = 160  # images that a fit or the stages of a cascade may read
CLASSES = 3  # of masks


class AnyMethod:
    """The part of the contract that holds whether or not the method is trained.

    Attributes:
        name: of the method, in a study.
        options: those of its options that are not their defaults, to make it small.
        shapes: of the images that it is tried on.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    shapes: ClassVar[tuple[ImageShape, ...]] = (ImageShape(1, 8, 8), ImageShape(3, 8, 8), ImageShape(3, 16, 24))

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """pytest's hook: a test that takes a shape is run with each."""
        if "shape" in metafunc.fixturenames:
            metafunc.parametrize("shape", self.shapes, ids=str)

    def make(self, shape: ImageShape | None = None, seed: int = 0) -> Method:
        """The method, initialised; fitted to noise where it fits, its later trainings as they start."""
        shape = shape or self.shapes[0]
        mean, std = [0.3] * shape.channels, [0.2] * shape.channels
        method = build_method(self.name, OPTIONS[self.name](**self.options), shape, mean, std, seed, CLASSES)
        size = POOL, shape.height, shape.width, shape.channels
        noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        if method.fits:
            method.fit(noise, np.arange(POOL), seed)
        if OPTIONS[self.name].staged:
            list(method.stages(noise, np.arange(POOL), seed))
        return method

    def test_options_and_network_agree(self) -> None:
        assert OPTIONS[self.name].name == self.name
        for attribute in ("trains", "needs_masks"):
            assert getattr(METHODS[self.name], attribute) == getattr(OPTIONS[self.name], attribute), attribute
        assert inspect.getdoc(METHODS[self.name]), "the method has no docstring"

    def test_maps_are_as_the_layers_say(self, shape: ImageShape) -> None:
        method = self.make(shape)
        encoder = method.encoder().eval()
        height, width = encoder.shape.height, encoder.shape.width
        maps = encoder.forward_layers(images_for(method))
        assert list(maps) == list(encoder.layers)
        for layer, info in encoder.layers.items():
            expected = (COUNT, info.channels, -(-height // info.stride), -(-width // info.stride))
            assert maps[layer].shape == expected, layer

    def test_layers_can_be_asked_for_one_by_one(self) -> None:
        method = self.make()
        encoder, images = method.encoder().eval(), images_for(method)
        everything = encoder.forward_layers(images)
        for layer, features in everything.items():
            torch.testing.assert_close(encoder.forward_layers(images, [layer])[layer], features, rtol=0, atol=0)
        torch.testing.assert_close(encoder.forward_layers(images, ["last"])["last"], everything[encoder.default_layer])
        vectors = encoder.embed(images, ["last"])["last"]
        torch.testing.assert_close(encoder(images), vectors)
        self.check_vectors(vectors, everything[encoder.default_layer])

    def check_vectors(self, vectors: Tensor, features: Tensor) -> None:
        """What an image's vector is of its map: the mean over its places, unless the method has reason to differ."""
        torch.testing.assert_close(vectors, features.mean((2, 3)))

    def test_an_unknown_layer_is_an_error_that_lists_the_layers(self) -> None:
        method = self.make()
        with raises(UserError, method.encoder().default_layer):
            method.encoder().embed(images_for(method), ["block99"])

    def test_a_saved_encoder_is_loaded_bit_for_bit(self, tmp_path: Path) -> None:
        encoder = self.make(self.shapes[-1]).encoder().eval()
        save_encoder(encoder, tmp_path)
        before = torch.random.get_rng_state()
        loaded = load_encoder(tmp_path)
        assert torch.equal(torch.random.get_rng_state(), before)
        images = torch.rand(COUNT, *encoder.shape)
        assert not loaded.training
        assert loaded.layers == encoder.layers
        for layer, features in encoder.forward_layers(images).items():
            assert torch.equal(loaded.forward_layers(images)[layer], features), layer

    def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone(self) -> None:
        before = torch.random.get_rng_state()
        first, again, other = (self.make(seed=seed).state_dict() for seed in (1, 1, 2))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(first[key], again[key]) for key in first)
        differs = any(not torch.equal(first[key], other[key]) for key in first)
        assert differs == OPTIONS[self.name].seeded, "whether the seed matters is not what the options say"

    def test_previews_are_pictures(self, shape: ImageShape) -> None:
        method = self.make(shape)
        images = images_for(method)
        pictures = method.preview(images, Draws(3, COUNT))
        assert next(iter(pictures)) == "input"
        for name, picture in pictures.items():
            assert picture.shape == images.shape, name
            assert not picture.requires_grad, name
            assert 0 <= picture.min() <= picture.max() <= 1, name


class UntrainedMethodContract(AnyMethod):
    """The contract of a method without a pretext task."""

    def test_an_untrained_method_has_no_loss(self) -> None:
        assert not OPTIONS[self.name].trains
        method = self.make()
        with raises(TypeError, "nothing to train"):
            method.loss(images_for(method), Draws(0, COUNT))


class MethodContract(AnyMethod):
    """The contract of a pretext task."""

    def test_loss_is_a_finite_scalar_that_reaches_every_parameter(self, shape: ImageShape) -> None:
        method = self.make(shape)
        loss, logged = method(images_for(method), Draws(3, COUNT), *targets_for(method))
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
        assert all(value.ndim == 0 for value in logged.values())
        loss.backward()
        gradients = {name: weight.grad for name, weight in method.named_parameters() if weight.requires_grad}
        assert [name for name, gradient in gradients.items() if gradient is None] == []
        assert [name for name, gradient in gradients.items() if not gradient.isfinite().all()] == []

    def test_loss_depends_on_the_draws_alone(self) -> None:
        method = self.make()
        images, targets = images_for(method), targets_for(method)
        first, again, other = (method.loss(images, Draws(seed, COUNT), *targets)[0].item() for seed in (3, 3, 4))
        assert first == again
        assert first != other


def images_for(method: Method) -> Tensor:
    """Noise: float32 [COUNT, C, H, W] in [0, 1]."""
    return torch.rand((COUNT, *method.encoder().shape), generator=torch.Generator().manual_seed(1))


def targets_for(method: Method) -> tuple[Tensor, ...]:
    """Masks of some classes and ignored pixels, int64 [COUNT, H, W], for the methods that learn from masks."""
    if not method.needs_masks:
        return ()
    size = (COUNT, *method.encoder().shape[1:])
    masks = torch.randint(0, CLASSES + 1, size, generator=torch.Generator().manual_seed(2))
    return (masks.where(masks < CLASSES, IGNORE),)
