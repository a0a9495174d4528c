"""Masks as files: what comes back is what was written, at a size that is counted on disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from bench.errors import UserError
from bench.methods.binary_coder import LANE, Count, decode_bits, encode_bits, entropy_bits
from bench.methods.mask_codec import (
    Mask,
    apply_mask_file,
    load_mask,
    mask_bytes,
    measure_mask,
    parameters_digest,
    save_mask,
)


def bits(size: int, density: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(size) < density


def counts(tensors: list[np.ndarray]) -> list[Count]:
    return [Count(tensor.size, int(tensor.sum())) for tensor in tensors]


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=6), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_what_is_decoded_is_what_was_encoded(sizes: list[tuple[int, float]], seed: int) -> None:
    tensors = [bits(size, density, seed) for size, density in sizes]
    code = encode_bits(tensors)
    assert 8 * len(code) >= entropy_bits(counts(tensors)) - 1e-6
    for tensor, decoded in zip(tensors, decode_bits(code, counts(tensors)), strict=True):
        np.testing.assert_array_equal(decoded, tensor)


def test_lanes_of_any_length_are_decoded() -> None:
    tensors = [bits(size, 0.9) for size in (LANE - 1, LANE, LANE + 1, 2 * LANE + 5, 1)]
    for tensor, decoded in zip(tensors, decode_bits(encode_bits(tensors), counts(tensors)), strict=True):
        np.testing.assert_array_equal(decoded, tensor)


@pytest.mark.parametrize("density", [0.02, 0.5, 0.914, 0.988])
def test_a_large_tensor_takes_its_entropy_and_hardly_more(density: float) -> None:
    tensor = bits(400_000, density)
    share = tensor.mean()
    bound = -tensor.size * (share * math.log2(share) + (1 - share) * math.log2(1 - share))
    assert entropy_bits(counts([tensor])) == pytest.approx(bound, rel=1e-9)
    assert bound <= 8 * len(encode_bits([tensor])) <= bound + 0.005 * tensor.size


def test_each_tensor_is_coded_at_its_own_density() -> None:
    apart = [bits(100_000, 0.99), bits(100_000, 0.5)]
    assert 8 * len(encode_bits(apart)) < 0.9 * entropy_bits(counts([np.concatenate(apart)]))


def test_a_tensor_of_one_value_costs_nothing() -> None:
    assert encode_bits([np.ones(5000, bool), np.zeros(70, bool)]) == b""
    assert entropy_bits([Count(5000, 5000), Count(70, 0), Count(0, 0)]) == 0


def test_a_code_that_does_not_fit_is_refused() -> None:
    tensors = [bits(3000, 0.7)]
    code = encode_bits(tensors)
    for damaged in (code[:-2], code + b"\0\0", code[:3], bytes([code[0] ^ 1]) + code[1:]):
        with pytest.raises(ValueError, match="code"):
            decode_bits(damaged, counts(tensors))


WEIGHTS = {
    "conv.weight": torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(0)),
    "fc.weight": torch.randn(20, 16, generator=torch.Generator().manual_seed(1)),
    "bn.weight": torch.linspace(0.5, 1.5, 16),
    "bn.running_mean": torch.zeros(16),
}


def example() -> Mask:
    generator = torch.Generator().manual_seed(2)
    return Mask(
        backbone="tiny",
        digest=parameters_digest(WEIGHTS, ["conv.weight", "fc.weight", "bn.weight"]),
        kept=("bn.weight",),
        bits={
            name: torch.rand(WEIGHTS[name].shape, generator=generator) < 0.9 for name in ("conv.weight", "fc.weight")
        },
        statistics={"bn.running_mean": torch.linspace(0, 1, 16)},
    )


@pytest.mark.parametrize("form", ["coded", "packed"])
def test_a_mask_file_comes_back_and_rebuilds_the_weights(form: str, tmp_path: Path) -> None:
    mask = example()
    save_mask(mask, tmp_path / "mask", form)
    loaded = load_mask(tmp_path / "mask")
    assert loaded[:3] == mask[:3]
    for part in ("bits", "statistics"):
        assert list(getattr(loaded, part)) == list(getattr(mask, part))
        assert all(torch.equal(tensor, getattr(mask, part)[name]) for name, tensor in getattr(loaded, part).items())
    rebuilt = apply_mask_file(loaded, WEIGHTS, "tiny")
    assert list(rebuilt) == list(WEIGHTS)
    assert torch.equal(rebuilt["bn.weight"], WEIGHTS["bn.weight"])
    assert torch.equal(rebuilt["bn.running_mean"], mask.statistics["bn.running_mean"])
    for name, open_weights in mask.bits.items():
        scale = math.sqrt(open_weights.numel() / int(open_weights.sum()))
        torch.testing.assert_close(rebuilt[name], WEIGHTS[name] * open_weights * scale)


def test_the_measures_are_those_of_the_file(tmp_path: Path) -> None:
    mask = example()
    measured = measure_mask(mask)
    save_mask(mask, tmp_path / "mask")
    assert measured["mask_file_bytes"] == (tmp_path / "mask").stat().st_size == len(mask_bytes(mask))
    assert measured["masked_weights"] == 16 * 8 * 9 + 20 * 16
    assert measured["packed_bits_per_weight"] == 1
    assert measured["statistics_bytes"] == 64
    assert measured["entropy_bits_per_weight"] <= measured["coded_bits_per_weight"] < 0.6
    assert measured["mask_density"] == pytest.approx(0.9, abs=0.03)


def test_the_digest_follows_names_shapes_and_every_bit() -> None:
    names = ["conv.weight", "bn.weight"]
    digest = parameters_digest(WEIGHTS, names)
    assert digest == parameters_digest({**WEIGHTS, "fc.weight": torch.zeros(1)}, names[::-1])
    nudged = WEIGHTS["bn.weight"].clone()
    nudged[3] = torch.nextafter(nudged[3], torch.tensor(9.0))
    assert digest != parameters_digest({**WEIGHTS, "bn.weight": nudged}, names)
    assert digest != parameters_digest({**WEIGHTS, "bn.weight": WEIGHTS["bn.weight"].view(4, 4)}, names)


def test_another_backbone_is_an_error_that_names_both() -> None:
    other = {**WEIGHTS, "conv.weight": -WEIGHTS["conv.weight"]}
    with pytest.raises(UserError, match=r"for the backbone 'tiny' of digest \w{12}, but 'other' has the digest \w{12}"):
        apply_mask_file(example(), other, "other")
    with pytest.raises(UserError, match=r"'tiny'.*'half' lacks 'bn\.weight'"):
        apply_mask_file(example(), {"conv.weight": WEIGHTS["conv.weight"]}, "half")


def test_a_file_that_is_no_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no mask file"):
        load_mask(tmp_path / "none")
    save_file(WEIGHTS, tmp_path / "weights")
    with pytest.raises(UserError, match="holds weights, not a mask"):
        load_mask(tmp_path / "weights")
    (tmp_path / "text").write_text("conv.weight: 1")
    with pytest.raises(UserError, match="is no mask file"):
        load_mask(tmp_path / "text")
