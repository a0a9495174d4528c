"""Masks over a backbone: the entropy code, and the file that holds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench.methods.binary_coder import Count, decode_bits, encode_bits
from bench.methods.mask_codec import Mask, load_mask, mask_bytes
from tests.fuzz.harness import Target
from tests.fuzz.mutate import Rng, bytes_near


def _tensors(rng: Rng) -> list[np.ndarray]:
    return [rng.random(int(rng.integers(0, 40))) < rng.random() for _ in range(int(rng.integers(1, 5)))]


def _good() -> list[tuple[bytes, list[Count]]]:
    """Codes of a few lists of tensors, and the counts of each."""
    rng = np.random.default_rng(0)
    lists = [_tensors(rng) for _ in range(64)]
    return [
        (encode_bits(found), [Count(bits.size, int(bits.sum())) for bits in found])
        for found in lists
        if any(map(_mixed, found))
    ]


def _mixed(bits: np.ndarray) -> bool:
    return 0 < int(bits.sum()) < bits.size


_CODES = _good()


def _code(rng: Rng) -> tuple[bytes, list[Count]]:
    """A code changed, or the counts of its tensors changed."""
    code, counts = _CODES[int(rng.integers(len(_CODES)))]
    if rng.random() < 0.3:
        at = int(rng.integers(len(counts)))
        wrong = Count(int(rng.choice([-1, 0, 1, 39, 10**6, 10**12])), int(rng.choice([-1, 0, 1, 20, 10**6])))
        return code, [*counts[:at], wrong, *counts[at + 1 :]]
    return bytes_near(code, rng), counts


def _decode(made: tuple[bytes, list[Count]], folder: Path) -> bool:
    code, counts = made
    for bits, count in zip(decode_bits(code, counts), counts, strict=True):
        assert bits.dtype == bool
        assert bits.shape == (count.symbols,)
        assert int(bits.sum()) == count.ones
    return True


def _mask() -> Mask:
    rng = np.random.default_rng(0)
    bits = {f"layer{n}.weight": torch.from_numpy(rng.random((8, 9)) < 0.3) for n in range(3)}
    return Mask("conv_small", "0" * 64, ("layer0.bias",), bits, {"norm.running_mean": torch.arange(4.0)})


_FILES = [mask_bytes(_mask(), "coded"), mask_bytes(_mask(), "packed")]


def _file(rng: Rng) -> bytes:
    return bytes_near(_FILES[int(rng.integers(len(_FILES)))], rng, _FILES)


def _read_file(made: bytes, folder: Path) -> bool:
    path = folder / "mask.safetensors"
    path.write_bytes(made)
    mask = load_mask(path)
    assert all(bits.dtype == torch.bool for bits in mask.bits.values())
    assert all(isinstance(name, str) for name in (mask.backbone, mask.digest, *mask.kept, *mask.bits))
    return True


MASK_CODEC = Target(_code, _decode, share=26, refusals=(ValueError,))
MASK_FILE = Target(_file, _read_file, share=20)
