"""Cascades of self-masking networks: clusters, routing, experts, the encoder and the masks that are left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from bench.data.batches import to_float
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.cascade import CascadeEncoder
from bench.methods.encoder import load_encoder, save_encoder
from bench.methods.flops import encoder_flops
from bench.methods.mask_codec import apply_mask_file, load_mask
from bench.methods.registry import build_method
from bench.methods.router import Router, fit_router
from bench.methods.self_masking_cascade import SelfMaskingCascade, assemble, equal_steps
from bench.seeds import named_seed
from bench.study.encoders import resolve_layer
from bench.study.methods import SelfMaskingCascadeOptions
from bench.training.loop import pretrain

SHAPE = ImageShape(1, 8, 8)
COUNT, WIDTH = 120, 128


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Three kinds of picture: bars across, bars down, noise; uint8 [120, 8, 8, 1]."""
    generator = np.random.default_rng(0)
    found = generator.integers(0, 60, (COUNT, 8, 8))
    found[:40, ::2] += 180
    found[40:80, :, ::2] += 180
    return found[..., np.newaxis].astype(np.uint8)


def options(**chosen: object) -> SelfMaskingCascadeOptions:
    small = {"epochs": 2, "batch_size": 16, "queue": 16, "prototypes": 8, "local_crops": 1, "freeze_steps": 0}
    few = r"stages\.0\.0"  # coding masks takes longer than learning them
    return SelfMaskingCascadeOptions(**{**small, "experts": 3, "score_lr": 500.0, "masked": few, **chosen})


@pytest.fixture(scope="module")
def conditional(images: np.ndarray) -> SelfMaskingCascade:
    method = build_method("self_masking_cascade", options(), SHAPE, [0.3], [0.2], 0)
    pretrain(method, images, method.options, 1)
    for stage in method.stages(images, np.arange(COUNT), 2):
        assert pretrain(stage.method, images, stage.options, 3, pool=stage.pool).status == "ok"
    return method


@pytest.fixture(scope="module")
def unconditional(conditional: SelfMaskingCascade, images: np.ndarray) -> CascadeEncoder:
    """Of the same networks."""
    made = conditional.encoder().backbone
    return assemble(list(made.parts), made.router, options(routing="unconditional"), images, np.arange(COUNT), 2)


def blocks(encoder: CascadeEncoder, images: np.ndarray) -> torch.Tensor:
    """Features before the reduction, [N, 1 + experts, width]."""
    with torch.no_grad():
        return encoder.side_by_side(encoder.normalise(to_float(images))).unflatten(1, (-1, WIDTH))


def test_an_image_passes_the_dispatcher_and_one_expert(
    conditional: SelfMaskingCascade, unconditional: CascadeEncoder, images: np.ndarray
) -> None:
    one, every = blocks(conditional.encoder(), images), blocks(unconditional, images)
    passed = (one != 0).any(dim=2)
    assert passed[:, 0].all()
    assert (passed[:, 1:].sum(dim=1) == 1).all()
    assert (every != 0).any(dim=2).all()
    torch.testing.assert_close(one[passed], every[passed], rtol=1e-5, atol=1e-5)
    routes = conditional.encoder().backbone.router(every[:, 0])
    assert torch.equal(passed[:, 1:].int().argmax(dim=1), routes)
    assert len(routes.unique()) == 3


def test_every_image_of_a_cluster_trains_its_expert(images: np.ndarray) -> None:
    method = build_method("self_masking_cascade", options(), SHAPE, [0.3], [0.2], 0)
    pool = np.arange(0, COUNT, 2)
    first, again = (list(method.stages(images, pool, 2)) for _ in range(2))
    assert sorted(np.concatenate([stage.pool for stage in first])) == list(pool)
    assert [stage.name for stage in first] == ["expert_1", "expert_2", "expert_3"][: len(first)]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.pool, other.pool)
        assert one.options.epochs == equal_steps(method.options, len(pool), len(one.pool))
        assert one.options.model_copy(update={"epochs": 2}) == method.options


def test_an_expert_starts_as_the_dispatcher_under_a_new_head(images: np.ndarray) -> None:
    method = build_method("self_masking_cascade", options(), SHAPE, [0.3], [0.2], 0)
    pretrain(method, images, method.options, 1)
    before = torch.random.get_rng_state()
    first, again, other = (method.expert(seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    ours, theirs = method.dispatcher.state_dict(), first.state_dict()
    changed = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert changed
    assert all(name.startswith("task.head.") for name in changed)
    assert torch.equal(first.task.head.prototypes, again.task.head.prototypes)
    assert not torch.equal(first.task.head.prototypes, other.task.head.prototypes)
    assert first.task.head.queue.abs().max() == 0


def test_experts_take_the_steps_of_the_dispatcher() -> None:
    """The published epochs, 50000 / |D_k| x 150, give as many steps up to half an epoch of the cluster."""
    published = options(batch_size=64, queue=512, epochs=150)
    sizes = [14254, 8508, 8731, 6983, 11524]
    found = [equal_steps(published, 50_000, size) for size in sizes]
    assert found == [pytest.approx(150 * 50_000 / size, rel=0.01) for size in sizes]
    assert (min(found), max(found)) == (pytest.approx(526, rel=0.01), pytest.approx(1074, rel=0.01))
    assert equal_steps(options(batch_size=16, epochs=1), 32, 48) == 1


def test_features_are_whitened_on_the_pool(conditional: SelfMaskingCascade, images: np.ndarray) -> None:
    with torch.no_grad():
        vectors = conditional.encoder()(to_float(images)).double()
    assert vectors.shape == (COUNT, WIDTH)
    spanned = vectors[:, vectors.abs().amax(dim=0) > 1e-3]
    assert 8 < spanned.shape[1] < WIDTH
    covariance = torch.cov(spanned.T)
    torch.testing.assert_close(covariance, torch.eye(len(covariance), dtype=torch.float64), rtol=0, atol=0.02)
    assert vectors.mean(dim=0).abs().max() < 0.01


@pytest.fixture(scope="module")
def single(conditional: SelfMaskingCascade, images: np.ndarray) -> SelfMaskingCascade:
    """The control: the same dispatcher, without experts."""
    method = build_method("self_masking_cascade", options(experts=0), SHAPE, [0.3], [0.2], 0)
    pretrain(method, images, method.options, 1)
    assert list(method.stages(images, np.arange(COUNT), 2)) == []
    return method


def test_without_experts_a_single_mask_is_whitened_as_scikit_learn_does(
    single: SelfMaskingCascade, conditional: SelfMaskingCascade, images: np.ndarray
) -> None:
    batch = to_float(images)
    with torch.no_grad():
        vectors, plain = single.encoder()(batch).double().numpy(), single.dispatcher.encoder().eval()(batch)
        assert torch.equal(plain, conditional.dispatcher.encoder().eval()(batch))
    kept = 16  # those of less variance are rounding, in single precision
    expected = PCA(kept, whiten=True, svd_solver="full").fit_transform(plain.double().numpy())
    np.testing.assert_allclose(np.abs(vectors[:, :kept]), np.abs(expected), rtol=1e-2, atol=1e-2)
    found = single.measurements()
    assert (found["experts_trained"], found["largest_cluster"]) == (0, 0)
    assert found["cascade_mask_bytes"] == found["mask_file_bytes"]
    assert found["routing_bytes"] == 4 * (WIDTH * WIDTH + WIDTH)


def test_a_single_whitened_mask_is_saved_and_costs_one_forward(single: SelfMaskingCascade, tmp_path: Path) -> None:
    save_encoder(single.encoder(), tmp_path)
    batch = torch.rand(4, *SHAPE)
    assert torch.equal(load_encoder(tmp_path)(batch), single.encoder()(batch))
    rest = encoder_flops(single.encoder()) - encoder_flops(single.dispatcher.encoder())
    assert rest == 2 * WIDTH * WIDTH
    single.save_extra(tmp_path)
    assert load_mask(tmp_path / "mask_dispatcher.safetensors").bits


def test_a_saved_cascade_is_loaded_bit_for_bit(
    conditional: SelfMaskingCascade, images: np.ndarray, tmp_path: Path
) -> None:
    save_encoder(conditional.encoder(), tmp_path)
    loaded = load_encoder(tmp_path)
    batch = to_float(images[:16])
    assert torch.equal(loaded(batch), conditional.encoder()(batch))
    assert loaded.layers == conditional.encoder().layers
    assert not loaded.training


def test_the_masks_rebuild_every_network_from_the_shared_backbone(
    conditional: SelfMaskingCascade, tmp_path: Path
) -> None:
    conditional.save_extra(tmp_path)
    shared = build_method("self_masking_cascade", conditional.options, SHAPE, [0.3], [0.2], 0).backbone.backbone
    names = ["dispatcher", "expert_1", "expert_2", "expert_3"]
    files = [tmp_path / f"mask_{name}.safetensors" for name in names]
    assert sorted(tmp_path.iterdir()) == files
    masks = [load_mask(file) for file in files]
    for mask, part in zip(masks, conditional.encoder().backbone.parts, strict=True):
        rebuilt = apply_mask_file(mask, shared.state_dict(), "backbone")
        assert all(torch.equal(rebuilt[name], tensor) for name, tensor in part.backbone.state_dict().items())
    bits = [torch.cat([tensor.flatten() for tensor in mask.bits.values()]) for mask in masks]
    assert all(not torch.equal(bits[0], expert) for expert in bits[1:])
    found = conditional.measurements()
    assert found["cascade_mask_bytes"] == sum(file.stat().st_size for file in files)
    assert found["storage_ratio"] == found["cascade_mask_bytes"] / (4 * sum(p.numel() for p in shared.parameters()))
    assert (found["experts_trained"], found["mask_file_bytes"]) == (3, files[0].stat().st_size)


def test_an_image_costs_two_forwards_or_all(conditional: SelfMaskingCascade, unconditional: SelfMaskingCascade) -> None:
    one = encoder_flops(conditional.dispatcher.encoder())
    rest = [encoder_flops(conditional.encoder()) - 2 * one, encoder_flops(unconditional) - 4 * one]
    reduction = 2 * 4 * WIDTH * WIDTH
    assert all(reduction <= found < 1.1 * reduction for found in rest)


def test_without_experts_the_encoder_is_the_dispatcher_s() -> None:
    method = build_method("self_masking_cascade", options(), SHAPE, [0.3], [0.2], 0)
    assert method.encoder().default_layer == "stage5"
    assert "experts_trained" not in method.measurements()
    assert resolve_layer(method.options, "last") == resolve_layer(method.options, "1") == "cascade"


def blobs(sizes: list[int]) -> torch.Tensor:
    """Clusters in as many directions; float [N, 6]."""
    return torch.from_numpy(make_blobs(sizes, 6, centers=np.eye(6)[: len(sizes)], cluster_std=0.05, random_state=0)[0])


def test_the_router_is_the_mixture_of_scikit_learn() -> None:
    features = blobs([40, 50, 60])
    router = fit_router(features, components=3, dimensions=4, least=2, seed=5)
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    points = (unit @ router.weight.T + router.bias).numpy()
    np.testing.assert_allclose(np.cov(points.T), np.eye(4), atol=1e-9)
    mixture = GaussianMixture(3, random_state=named_seed(5, "mixture") % 2**32).fit(points)
    assert router(features).tolist() == mixture.predict(points).tolist()
    assert torch.equal(router(features), router(3 * features))


def test_small_clusters_are_merged_into_the_others() -> None:
    features = blobs([40, 50, 6])
    whole = fit_router(features, components=3, dimensions=2, least=6, seed=5)
    merged = fit_router(features, components=3, dimensions=2, least=7, seed=5)
    sizes = torch.bincount(merged(features))
    assert sorted(torch.bincount(whole(features)).tolist()) == [6, 40, 50]
    assert len(sizes) == len(merged.offsets) == 2
    assert sizes.sum() == 96
    assert sizes.min() >= 7
    alone = fit_router(features, components=3, dimensions=2, least=90, seed=5)
    assert alone(features).tolist() == [0] * 96


def test_features_that_are_all_the_same_are_an_error() -> None:
    with pytest.raises(UserError, match="gives all images the same features"):
        fit_router(torch.ones(20, 3), components=2, dimensions=2, least=2, seed=0)


def test_a_router_is_no_parameter() -> None:
    assert not list(Router(4, 2, 3).parameters())


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"score_init": 0.0}, r"self_masking_cascade\.score_init: 0\.0 is not above self_masking_cascade\.threshold"),
        ({"weights": "a", "pretrained": True, "encoder": "timm/x"}, r"set self_masking_cascade\.weights or .*not both"),
        ({"encoder": "unet_nano"}, r"self_masking_cascade\.encoder: .* takes conv or vit or timm"),
    ],
)
def test_a_mistake_names_the_cascade(chosen: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        SelfMaskingCascadeOptions(**chosen)


def test_the_backbone_s_mistakes_name_the_cascade() -> None:
    with pytest.raises(UserError, match=r"^self_masking_cascade\.weights: there is no file or folder 'nowhere'"):
        build_method("self_masking_cascade", options(weights="nowhere"), SHAPE, [0.3], [0.2], 0)
