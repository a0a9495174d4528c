"""Self-masking networks: what learns and what stays, the controls, the backbone, the mask that is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.encoder import Encoder, build_encoder, load_encoder, save_encoder
from bench.methods.mask_codec import MASK, apply_mask_file, load_mask
from bench.methods.registry import build_method
from bench.methods.self_masking import SelfMasking
from bench.study.methods import METHODS, SelfMaskingOptions, weights_digest
from bench.training.loop import pretrain

SHAPE = ImageShape(1, 8, 8)
BATCH_NORM = "timm/test_resnet"
Make = Callable[..., SelfMasking]


@pytest.fixture
def options() -> Callable[..., SelfMaskingOptions]:
    def choose(**chosen: object) -> SelfMaskingOptions:
        small = {"epochs": 2, "batch_size": 16, "queue": 16, "prototypes": 8, "local_crops": 1, "freeze_steps": 0}
        return SelfMaskingOptions(**{**small, "score_lr": 500.0, **chosen})

    return choose


@pytest.fixture
def train(options: Callable[..., SelfMaskingOptions]) -> Make:
    """A method after four steps on noise: train(**options)."""
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)

    def run(seed: int = 0, **chosen: object) -> SelfMasking:
        method = build_method("self_masking", options(**chosen), SHAPE, [0.3], [0.2], seed)
        assert pretrain(method, images, method.options, 1).status == "ok"
        return method

    return run


def state(encoder: Encoder) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.backbone.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder of an encoder that an earlier study kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        save_encoder(build_encoder("conv_nano", SHAPE, [0.45], [0.15]), tmp_path / "kept")
    return tmp_path / "kept"


@pytest.mark.parametrize(
    ("mode", "encoder", "moves"),
    [
        ("mask", "conv_nano", "weights"),
        ("topk", "conv_nano", "weights"),
        ("random_mask", BATCH_NORM, "weights and statistics"),
        ("batchnorm", BATCH_NORM, "statistics"),
        ("full", BATCH_NORM, "everything"),
        ("frozen", BATCH_NORM, "nothing"),
    ],
)
def test_a_mode_changes_what_it_says(mode: str, encoder: str, moves: str, train: Make) -> None:
    method = train(mode=mode, encoder=encoder)
    start = build_method("self_masking", method.options, SHAPE, [0.3], [0.2], 0).backbone
    frozen = changed(state(start), state(method.backbone))
    moved = changed(state(start), state(method.encoder()))
    statistics = {
        name for name in moved if name.rsplit(".", 1)[1] in ("running_mean", "running_var", "num_batches_tracked")
    }
    kernels = {f"{name}.weight" for name, part in start.backbone.named_modules() if hasattr(part, "kernel_size")}
    affine = {name for name, _ in start.backbone.named_parameters()} - kernels
    assert bool(moved & kernels) == (moves in ("weights", "weights and statistics", "everything"))
    assert bool(moved & affine) == (moves == "everything")
    assert bool(statistics) == (moves in ("statistics", "weights and statistics", "everything"))
    assert frozen == (moved if mode == "full" else statistics)


def test_the_encoder_is_the_masked_network(train: Make) -> None:
    method = train(mode="mask", encoder="conv_nano").eval()
    weights = {f"backbone.{name}": weight for name, weight in method.scores.weights(method.backbone.backbone).items()}
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = torch.func.functional_call(method.backbone, weights, (images,))
    torch.testing.assert_close(method.encoder()(images), seen, rtol=1e-6, atol=1e-6)
    open_weights = torch.cat([bits.flatten() for bits in method.scores.chosen().values()])
    zeros = torch.cat([method.encoder().backbone.get_parameter(name).flatten() for name in method.scores.names]) == 0
    assert torch.equal(zeros, ~open_weights)
    assert 0.5 < open_weights.float().mean() < 0.99


@pytest.mark.parametrize("encoder", ["conv_nano", "vit_nano", BATCH_NORM])
def test_before_the_first_step_it_is_the_backbone(encoder: str, options: Callable[..., SelfMaskingOptions]) -> None:
    method = build_method("self_masking", options(encoder=encoder), SHAPE, [0.3], [0.2], 0)
    assert not changed(state(method.backbone), state(method.encoder()))
    assert method.measurements()["mask_density"] == 1
    assert method.measurements()["coded_bits_per_weight"] == 0


def test_only_scores_projection_and_prototypes_learn(options: Callable[..., SelfMaskingOptions]) -> None:
    method = build_method("self_masking", options(lr=0.15, score_lr=50.0, weight_decay=1e-6), SHAPE, [0.3], [0.2], 0)
    head, scores = method.optimizer().param_groups
    assert {id(p) for p in head["params"]} == {id(p) for p in method.task.head.parameters()}
    assert {id(p) for p in scores["params"]} == {id(p) for p in method.scores.parameters()}
    assert (head["weight_decay"], head.get("lr_scale", 1), head["momentum"]) == (1e-6, 1, 0.9)
    assert scores["weight_decay"] == 0
    assert scores["lr_scale"] * 0.15 == pytest.approx(50)


@pytest.mark.parametrize("running_statistics", ["adapted", "frozen"])
def test_running_statistics_are_storage_or_frozen(running_statistics: str, train: Make) -> None:
    method = train(encoder=BATCH_NORM, running_statistics=running_statistics)
    moved = changed(method.initial, dict(method.backbone.backbone.named_buffers()))
    buffers = [buffer for name, buffer in method.backbone.backbone.named_buffers()]
    if running_statistics == "frozen":
        assert not moved
        assert method.measurements()["statistics_bytes"] == 0
    else:
        assert moved == set(method.initial)
        assert method.measurements()["statistics_bytes"] == sum(buffer.nbytes for buffer in buffers)


def test_the_scale_may_be_left_out_of_the_gradient(options: Callable[..., SelfMaskingOptions]) -> None:
    """Its part is one number for all scores of a tensor (and nought where a norm behind it undoes every scale)."""
    gradients = []
    for scale_gradient in (True, False):
        chosen = options(scale_gradient=scale_gradient, encoder="vit_nano")
        method = build_method("self_masking", chosen, SHAPE, [0.3], [0.2], 0)
        loss, _ = method(torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)), Draws(0, 16))
        loss.backward()
        gradients.append(method.scores.values[-1].grad)
    part = gradients[0] - gradients[1]
    assert part.abs().mean() > 10 * part.std()


def test_the_mask_file_rebuilds_the_encoder_bit_for_bit(train: Make, tmp_path: Path) -> None:
    """Weights and running statistics, from the backbone's file and the mask's alone."""
    method = train(encoder=BATCH_NORM)
    start = build_method("self_masking", method.options, SHAPE, [0.3], [0.2], 0).backbone
    method.save_extra(tmp_path)
    save_encoder(method.encoder(), tmp_path)
    mask = load_mask(tmp_path / MASK)
    assert mask.backbone == BATCH_NORM
    rebuilt = apply_mask_file(mask, state(start), "backbone")
    assert not changed(state(load_encoder(tmp_path)), rebuilt)
    assert method.measurements()["mask_file_bytes"] == (tmp_path / MASK).stat().st_size


def test_random_masks_have_the_learned_densities(train: Make, tmp_path: Path) -> None:
    some = r"stages\.[01]\.0"
    learned = train(masked=some, score_lr=2000.0)
    learned.save_extra(tmp_path)
    drawn = train(masked=some, mode="random_mask", densities=str(tmp_path / MASK))
    for (name, first), second in zip(learned.scores.chosen().items(), drawn.scores.chosen().values(), strict=True):
        density = first.double().mean().item()
        assert second.double().mean().item() == pytest.approx(
            density, abs=4 * (density * (1 - density) / first.numel()) ** 0.5
        )
        assert not torch.equal(first, second), name
    top = train(masked=some, mode="topk", densities=str(tmp_path))
    assert top.measurements()["mask_density"] == pytest.approx(learned.measurements()["mask_density"], abs=1e-4)
    with pytest.raises(UserError, match=r"densities: .* has no mask of 'patch_embed\.proj\.weight', which 'vit_nano'"):
        train(mode="topk", densities=str(tmp_path), encoder="vit_nano")


def test_an_earlier_encoder_is_the_backbone(kept: Path, train: Make) -> None:
    """With its own normalisation: the data set's belongs to another network."""
    method = train(weights=str(kept))
    assert not changed(state(load_encoder(kept)), state(method.backbone))
    assert method.encoder().mean.item() == pytest.approx(0.45)
    assert changed(state(load_encoder(kept)), state(method.encoder()))


def test_weights_of_timm_are_the_backbone(weights: Path, train: Make) -> None:
    method = train(encoder=BATCH_NORM, weights=str(weights), mode="mask", running_statistics="frozen")
    published = METHODS["timm"](encoder=BATCH_NORM, weights=str(weights))
    reference = build_method("timm", published, SHAPE, [0.3], [0.2], 0).encoder()
    assert not changed(state(reference), state(method.backbone))
    assert torch.equal(reference.mean, method.backbone.mean)


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"weights": "KEPT", "encoder": "conv_tiny"}, r"another network than 'conv_tiny' \(sizes: .*32, 64.*there"),
        ({"weights": "KEPT", "encoder": "vit_nano"}, r"network: ConvEncoder there, VitEncoder here"),
        ({"weights": "nowhere"}, "there is no file or folder 'nowhere'"),
        ({"weights": "FILE"}, "is a file; weights of 'conv_nano' are read from the folder"),
        (
            {"mode": "batchnorm", "encoder": "timm/test_efficientnet_gn"},
            r"mode: 'batchnorm': 'timm/test_efficientnet_gn' has no batch",
        ),
        ({"masked": "bn", "encoder": "vit_nano"}, r"self_masking\.masked: 'bn' chooses no parameter"),
        ({"masked": "as_published"}, "'as_published' chooses no parameter of this ConvNet"),
        ({"mode": "topk", "densities": "nowhere"}, "there is no mask file 'nowhere'"),
    ],
)
def test_a_backbone_that_does_not_fit_is_an_error(chosen: dict[str, str], says: str, kept: Path, train: Make) -> None:
    places = {"KEPT": str(kept), "FILE": str(kept / "card.json")}
    with pytest.raises(UserError, match=says):
        train(**{name: places.get(value, value) for name, value in chosen.items()})


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"mode": "batchnorm", "encoder": "vit_nano"}, r"mode: 'batchnorm' adapts .*'vit_nano' has none"),
        (
            {"mode": "batchnorm", "encoder": BATCH_NORM, "running_statistics": "frozen"},
            "running_statistics is 'frozen'",
        ),
        ({"weights": "a", "pretrained": True, "encoder": BATCH_NORM}, "not both"),
        ({"pretrained": True}, "timm has no weights for 'conv_nano'"),
        ({"masked": "("}, r"masked: '\(' is none of weights, as_published, and no regular expression"),
        ({"score_init": 0.0}, "score_init: 0.0 is not above self_masking.threshold 0.0"),
        ({"densities": "a"}, "mode 'mask' chooses no density"),
        ({"encoder": "unet_nano"}, "takes conv or vit or timm"),
    ],
)
def test_a_mistake_is_known_before_torch_is(chosen: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        SelfMaskingOptions(**chosen)


def test_the_key_follows_the_content_of_backbone_and_densities(kept: Path, tmp_path: Path) -> None:
    options = SelfMaskingOptions(weights=str(kept))
    digest = weights_digest(options)
    (kept / "training.json").write_text("{}")  # the record of the training is no content
    assert weights_digest(options) == digest
    with_densities = SelfMaskingOptions(weights=str(kept), mode="topk", densities=str(kept))
    assert weights_digest(with_densities) == f"{digest}+{digest}"
    (kept / "encoder.safetensors").write_bytes(b"other")
    assert weights_digest(options) != digest
    empty = SelfMaskingOptions(weights=str(tmp_path))
    with pytest.raises(UserError, match=r"self_masking\.weights: there are no weights in the folder"):
        weights_digest(empty)
