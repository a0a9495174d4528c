from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.attention import last_tokens
from bench.methods.base import Method
from bench.methods.dino import Dino
from bench.methods.sinkhorn import sinkhorn
from bench.protocols.features import Features
from bench.study.methods import METHODS
from bench.training.optim import adamw, parameter_groups, set_weight_decay

Make = Callable[..., Dino]
DIGITS = ImageShape(1, 8, 8)
IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def tiny(make: Make, shape: ImageShape = DIGITS, **options: Any) -> Dino:
    return make("dino", shape, **{"local_crops": 2, "prototypes": 12, "head_width": 16, "bottleneck": 8} | options)


def update(dino: Dino, optimizer: torch.optim.Optimizer, step: int, epoch: int = 0) -> float:
    dino.begin_step(step, 10, epoch)
    loss, _ = dino.loss(IMAGES, Draws(step, 6))
    optimizer.zero_grad()
    loss.backward()
    dino.adjust_gradients()
    optimizer.step()
    dino.end_step()
    return loss.item()


def parts(dino: Dino) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Parameters of the teacher and of the student, copied."""
    teacher = [*dino.teacher_backbone.parameters(), *dino.teacher_head.parameters()]
    student = [*dino.backbone.parameters(), *dino.head.parameters()]
    return [value.detach().clone() for value in teacher], [value.detach().clone() for value in student]


@torch.no_grad()
def outputs(dino: Dino) -> tuple[torch.Tensor, torch.Tensor]:
    """What teacher and student say of the crops of the draws with seed 3: [2, 6, K] and [4, 6, K]."""
    large, small = dino.crops(IMAGES, Draws(3, 6))
    taught = dino.teacher_head(last_tokens(dino.teacher_backbone, large).cls, 1)
    said = torch.cat([last_tokens(dino.backbone, crops).cls for crops in (large, small)])
    return taught.unflatten(0, (2, 6)), dino.head(said, 1).unflatten(0, (4, 6))


@pytest.mark.parametrize("centring", ["centre", "sinkhorn"])
def test_the_loss_is_equation_2(make: Make, centring: str) -> None:
    dino = tiny(make, centring=centring)
    dino.begin_step(5, 10, 1)
    dino.centre.copy_(torch.linspace(-0.2, 0.2, 12))
    taught, said = outputs(dino)
    if centring == "centre":
        targets = ((taught - dino.centre) / dino.teacher_temperature).softmax(dim=2)
    else:
        targets = sinkhorn(taught.flatten(0, 1), dino.teacher_temperature, 3).unflatten(0, (2, 6))
    pairs = [(i, v) for i in range(2) for v in range(4) if i != v]
    costs = [-(targets[i] * (said[v] / 0.1).log_softmax(dim=1)).sum(dim=1).mean().item() for i, v in pairs]
    assert dino.loss(IMAGES, Draws(3, 6))[0].item() == pytest.approx(np.mean(costs), rel=1e-4)


def test_the_teacher_is_the_running_mean_of_the_student_and_never_trained(make: Make) -> None:
    dino = tiny(make)
    groups = parameter_groups(dino, 0.04)
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    assert not trained & {id(value) for value in [*dino.teacher_backbone.parameters(), *dino.teacher_head.parameters()]}
    optimizer = adamw(groups, 1e-2, (0.9, 0.999))
    for step in range(3):
        before, _ = parts(dino)
        update(dino, optimizer, step)
        after, student = parts(dino)
        momentum = 1 - (1 - dino.options.momentum) * (math.cos(math.pi * step / 10) + 1) / 2
        for old, new, value in zip(before, after, student, strict=True):
            torch.testing.assert_close(new, momentum * old + (1 - momentum) * value, rtol=1e-6, atol=1e-7)
    assert all(value.grad is None for value in dino.teacher_backbone.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(*parts(dino), strict=True))
    assert dino.encoder() is dino.teacher_backbone


def test_the_centre_follows_the_teachers_mean_output(make: Make) -> None:
    dino = tiny(make)
    dino.begin_step(0, 10, 0)
    taught, _ = outputs(dino)
    dino.loss(IMAGES, Draws(3, 6))
    assert not dino.centre.any()  # a loss moves nothing
    dino.end_step()
    torch.testing.assert_close(dino.centre, 0.1 * taught.mean(dim=(0, 1)))


def test_schedules(make: Make) -> None:
    dino = tiny(make, momentum=0.996, temperature_warmup=0.5, freeze_epochs=1, teacher_temperature=0.07)
    seen = []
    for step in (0, 25, 50, 100):
        dino.begin_step(step, 100, step // 50)
        seen.append((dino.momentum, dino.teacher_temperature, dino.frozen))
    assert [value[0] for value in seen] == pytest.approx([0.996, 1 - 0.004 * (1 + math.sqrt(0.5)) / 2, 0.998, 1.0])
    assert [value[1] for value in seen] == pytest.approx([0.04, 0.055, 0.07, 0.07])
    assert [value[2] for value in seen] == [True, True, False, False]


def test_the_last_layer_waits_and_gradients_are_clipped(make: Make) -> None:
    dino = tiny(make, clip=1e-3)
    for epoch in (0, 1):
        dino.begin_step(epoch, 2, epoch)
        dino.zero_grad()
        dino.loss(IMAGES, Draws(0, 6))[0].backward()
        dino.adjust_gradients()
        gradients = [value.grad for value in dino.parameters() if value.grad is not None]
        assert (dino.head.prototypes.grad is None) == (epoch == 0)
        assert torch.stack([value.norm() for value in gradients]).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_weight_decay_goes_to_its_end_along_a_cosine(make: Make) -> None:
    assert METHODS["dino"]().weight_decay_at(3, 11) is None
    options = METHODS["dino"](weight_decay=0.04, weight_decay_end=0.4)
    assert [options.weight_decay_at(step, 11) for step in (0, 5, 10)] == pytest.approx([0.04, 0.22, 0.4])
    optimizer = adamw(parameter_groups(tiny(make), 0.04), 1e-3, (0.9, 0.999))
    set_weight_decay(optimizer, 0.3)
    assert sorted(group["weight_decay"] for group in optimizer.param_groups) == [0.0, 0.3]


@pytest.mark.parametrize("encoder", ["timm/test_vit", "vit_nano"])
def test_transformers_of_both_kinds_take_small_crops(make: Make, encoder: str) -> None:
    shape = ImageShape(3, 64, 64)
    dino = tiny(make, shape, encoder=encoder)
    loss, _ = dino.loss(torch.rand(4, *shape), Draws(0, 4))
    loss.backward()
    assert torch.isfinite(loss)
    assert dino.crops.small_size == (32, 32)


@pytest.mark.parametrize("encoder", ["timm/test_resnet", "timm/test_vit2"])
def test_a_network_without_a_class_token_is_refused(make: Make, encoder: str) -> None:
    with pytest.raises(UserError, match=f"dino.encoder: '{encoder}' has no class token"):
        tiny(make, ImageShape(3, 32, 32), encoder=encoder)


def test_a_crop_that_the_patch_does_not_divide_is_refused(make: Make) -> None:
    with pytest.raises(UserError, match=r"dino.local_size: 24 is no multiple of the patch of 16 pixels; near: 16, 32"):
        tiny(make, ImageShape(3, 64, 64), encoder="timm/test_vit", local_size=24)


def test_a_collapsed_teacher_would_be_tagged(make: Make) -> None:
    def status(method: Method) -> tuple[str, str]:
        pictures = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            features = method.encoder().eval()(pictures).numpy().astype(np.float16)
        return Features({"block2": features}, np.arange(40)).status("block2")

    dino = tiny(make)
    assert status(dino) == ("ok", "")
    with torch.no_grad():
        dino.teacher_backbone.backbone.patch_embed.proj.weight.zero_()  # it no longer sees its images
    assert status(dino)[0] == "collapsed"
    assert "effective rank of block2 is 1.00" in status(dino)[1]


def test_previews_show_where_the_class_token_looks(make: Make) -> None:
    pictures = tiny(make).preview(IMAGES, Draws(0, 6))
    assert list(pictures) == ["input", "view1", "view2", "local1", "local2", "attention"]
    assert not torch.allclose(pictures["view1"], pictures["view2"])
    torch.testing.assert_close(pictures["attention"].amax(dim=(1, 2, 3)), torch.ones(6))
