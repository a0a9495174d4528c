from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bench.data.augment import augment
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.prototypes import BatchNorm, SwavHead, Usage, swapped_prediction
from bench.methods.sinkhorn import sinkhorn
from bench.study.fits import check_fits
from bench.study.methods import METHODS

Make = Callable[..., Method]
SMALL = {"batch_size": 6, "queue": 8, "prototypes": 5, "projection_out": 4, "projection_width": 8, "local_crops": 2}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_swapped(codes: torch.Tensor, logits: torch.Tensor) -> float:
    """Each large crop's code against every other crop, as the papers write it."""
    total = 0.0
    for i in range(len(codes)):
        others = [v for v in range(len(logits)) if v != i]
        for v in others:
            total -= (codes[i] * logits[v].log_softmax(dim=1)).sum(dim=1).mean().item() / len(others)
    return total / len(codes)


@pytest.mark.parametrize("views", [2, 3, 8])
def test_the_loss_is_the_plain_sum_over_pairs(views: int) -> None:
    logits = 5 * normal(views, 7, 11).double()
    codes = normal(2, 7, 11, seed=1).double().softmax(dim=2)
    assert swapped_prediction(codes, logits).item() == pytest.approx(naive_swapped(codes, logits), rel=1e-9)


def test_its_gradient_is_prediction_minus_code() -> None:
    logits = normal(2, 3, 4).double().requires_grad_()
    codes = normal(2, 3, 4, seed=1).double().softmax(dim=2)
    swapped_prediction(codes, logits).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(dim=2) - codes.flip(0)) / (2 * 3))


def head(**options: int) -> SwavHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"width": 8, "out": 4, "prototypes": 5, "queue": 8} | options
        return SwavHead(6, **sizes, temperature=0.1, epsilon=0.05, iterations=3)


def test_head_follows_the_specification() -> None:
    swav, features = head(width=0, queue=0), normal(4, 3, 6)
    z = nn.functional.normalize(swav.projection.last(features), dim=2)
    scores = z @ swav.prototypes.T
    codes = torch.stack([sinkhorn(scores[crop].detach(), 0.05, 3) for crop in (0, 1)])
    assert swav.loss(features, 1)[0].item() == pytest.approx(naive_swapped(codes, scores / 0.1), rel=1e-5)


def test_a_full_queue_takes_part_in_the_codes_and_holds_the_newest_images() -> None:
    swav, batches = head(queue=5), [normal(2, 3, 6, seed=seed) for seed in range(4)]
    seen = []
    for step, features in enumerate(batches):
        swav.begin_step(steps_of_queue=step, batch=3)
        assert swav.full == (step * 3 >= 5)
        z = nn.functional.normalize(swav.projection(features, 1), dim=2).detach()
        codes = swav.codes(z, 1)
        earlier = swav.queue if swav.full else swav.queue[:, :0]
        for crop in (0, 1):
            scores = torch.cat([z[crop], earlier[crop]]) @ swav.prototypes.T
            torch.testing.assert_close(codes[crop], sinkhorn(scores, 0.05, 3)[:3])
        seen.insert(0, z)
        swav.end_step()
        newest = torch.cat(seen, dim=1)[:, :5]
        torch.testing.assert_close(swav.queue[:, : newest.shape[1]], newest)


def test_the_queue_opens_when_told_and_the_prototypes_wait(make: Make) -> None:
    swav = make("swav", queue_from=0.5, freeze_steps=2, **SMALL)
    states = []
    for step in range(8):
        swav.begin_step(step, 8, 0)
        states.append((swav.frozen, swav.head.filling, swav.head.full))
    assert [state[0] for state in states] == [True, True, *[False] * 6]
    assert [state[1] for state in states] == [*[False] * 4, *[True] * 4]
    assert [state[2] for state in states] == [*[False] * 6, True, True]  # 2 batches of 6 fill a queue of 8


def test_frozen_prototypes_get_no_gradient_and_all_have_length_one(make: Make) -> None:
    swav, images = make("swav", freeze_steps=1, **SMALL), torch.rand(6, 1, 8, 8)
    for step in (0, 1):
        swav.begin_step(step, 2, 0)
        before = swav.head.prototypes.detach().clone()
        swav.zero_grad()
        swav.loss(images, Draws(0, 6))[0].backward()
        swav.adjust_gradients()
        assert (swav.head.prototypes.grad is None) == (step == 0)
        torch.optim.SGD(swav.parameters(), lr=10.0).step()
        swav.end_step()
        assert torch.allclose(before, swav.head.prototypes, atol=1e-6) == (step == 0)
        torch.testing.assert_close(swav.head.prototypes.norm(dim=1), torch.ones(5))


def test_batch_norm_is_torchs_in_training() -> None:
    ours, theirs, vectors = BatchNorm(6), nn.BatchNorm1d(6), 3 * normal(4, 5, 6) + 1
    expected = theirs(vectors.flatten(0, 1)).unflatten(0, (4, 5))
    torch.testing.assert_close(ours(vectors, 1), expected, rtol=1e-4, atol=1e-5)


def test_usage_counts_prototypes() -> None:
    usage = Usage(4)
    for _ in range(300):
        usage.observe(torch.tensor([[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]), 1)
        usage.update()
    measured = usage.measurements()
    assert measured["prototypes_used"] == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))), rel=1e-3)
    assert measured["assignment_entropy"] == pytest.approx(np.log(2) / 2, rel=1e-3)


@pytest.mark.parametrize("encoder", ["conv_nano", "vit_nano", "timm/test_resnet", "timm/test_vit"])
@pytest.mark.parametrize("local_size", [None, 16])
def test_any_family_takes_crops_of_two_sizes(make: Make, encoder: str, local_size: int | None) -> None:
    options = {"encoder": encoder, "local_size": local_size, **SMALL}
    swav = make("swav", ImageShape(3, 32, 32), **options)
    loss, _ = swav.loss(torch.rand(6, 3, 32, 32), Draws(0, 6))
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("channels", [1, 2, 13])
def test_crops_of_any_number_of_channels(make: Make, channels: int) -> None:
    swav = make("swav", ImageShape(channels, 8, 8), augmentation="affine", **SMALL)
    large, small = swav.crops(torch.rand(6, channels, 8, 8), Draws(0, 6))
    assert (large.shape, small.shape) == ((12, channels, 8, 8), (12, channels, 4, 4))


def test_several_views_in_one_pass_differ_and_follow_the_images_to_their_worker() -> None:
    images = torch.rand(6, 1, 8, 8)
    whole = augment(images, "affine", Draws(5, 6), copies=3).unflatten(0, (3, 6))
    halves = [
        augment(images[3 * rank : 3 * rank + 3], "affine", Draws(5, 6, rank, 2), copies=3).unflatten(0, (3, 3))
        for rank in (0, 1)
    ]
    torch.testing.assert_close(torch.cat(halves, dim=1), whole)
    assert not torch.allclose(whole[0], whole[1])
    assert torch.equal(augment(images, "none", Draws(5, 6), copies=2), images.repeat(2, 1, 1, 1))


def test_a_shape_that_is_not_square_keeps_its_proportions() -> None:
    options = METHODS["swav"](local_size=8)
    assert options.crop_sizes(16, 24, 4) == ((16, 24), (8, 12))
    assert METHODS["swav"]().crop_sizes(32, 32, 8) == ((32, 32), (16, 16))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("swav", {"queue": 100, "batch_size": 128}, "swav.queue: 100 is shorter than swav.batch_size 128"),
        ("swav", {"crop_least": 0.6, "crop_split": 0.5}, "swav.crop_least: 0.6 must be less than"),
        ("dino", {"encoder": "conv_nano"}, "dino.encoder: 'conv_nano' is a conv network"),
        ("dino", {"weight_decay": 0, "weight_decay_end": 0.4}, "dino.weight_decay: 0 has no way to 0.4"),
    ],
)
def test_options_that_cannot_work_are_refused(name: str, values: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        METHODS[name](**values)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("swav", {"prototypes": 9}, "swav.prototypes: 9 is fewer than the 10 classes"),
        ("dino", {"local_size": 3, "patch_size": 2}, "dino.local_size: 3 is no multiple of the patch of 2 pixels"),
    ],
)
def test_the_plan_refuses_what_does_not_fit_the_data(name: str, values: dict[str, object], says: str) -> None:
    setting = SimpleNamespace(method=name, options=METHODS[name](**values))
    record = SimpleNamespace(image_shape=(8, 8, 1), class_names=list("0123456789"), n_train=1000, name="digits")
    with pytest.raises(UserError, match=says):
        check_fits(setting, record)


def test_a_network_of_one_size_refuses_crops_of_another(make: Make) -> None:
    with pytest.raises(UserError, match=r"swav.local_size: 'timm/swin_tiny_patch4_window7_224' takes no crops of"):
        make("swav", ImageShape(3, 64, 64), encoder="timm/swin_tiny_patch4_window7_224", **SMALL)
