"""Masks as files: packed bits or an entropy code, with what it takes to tell and rebuild the network they belong to."""

from __future__ import annotations

import hashlib
import json
import lzma
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, Strict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from bench.errors import UserError
from bench.methods.binary_coder import Count, check_counts, check_ones, decode_bits, encode_bits, entropy_bits
from bench.methods.masks import apply_mask

FORMAT = 1
MASK = "mask.safetensors"  # its name in the folder of an encoder
Form = Literal["coded", "packed"]
BITS, STATISTIC = "bits", "statistic."  # names of the tensors inside the file

_Names = Annotated[tuple[str, ...], Strict(False)]  # JSON has lists alone
_Masked = Annotated[tuple[str, list[NonNegativeInt], NonNegativeInt], Strict(False)]


class _Header(BaseModel):
    """What a mask file says of itself: of each masked tensor its name, its shape and its ones."""

    model_config = ConfigDict(strict=True)

    format: NonNegativeInt
    form: Form
    backbone: str
    digest: str
    kept: _Names
    masked: list[_Masked]


class Mask(NamedTuple):
    """A mask over a shared backbone.

    Attributes:
        backbone: name of the network it is for.
        digest: of that network's parameters (`parameters_digest`).
        kept: the parameters that are not masked.
        bits: bool tensors by the name of the parameter they mask.
        statistics: buffers that differ from the backbone's, by name: the running statistics of batch norms.
    """

    backbone: str
    digest: str
    kept: tuple[str, ...]
    bits: dict[str, Tensor]
    statistics: dict[str, Tensor]


def parameters_digest(tensors: Mapping[str, Tensor], names: Iterable[str]) -> str:
    """SHA-256 over names, types, shapes and bytes of these tensors, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(names):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def collect_mask(network: nn.Module, bits: dict[str, Tensor], shared: Mapping[str, Tensor], name: str) -> Mask:
    """The mask over a frozen network as it stands.

    Args:
        network: the backbone, with its own parameters.
        bits: bool on the CPU, by the name of the parameter they mask.
        shared: the backbone's buffers as they are without the mask.
        name: of the backbone.
    """
    parameters, saved = dict(network.named_parameters()), network.state_dict()
    statistics = {
        key: buffer.detach().cpu()
        for key, buffer in network.named_buffers()
        if key in saved and not torch.equal(buffer.cpu(), shared[key].cpu())
    }
    kept = tuple(key for key in parameters if key not in bits)
    return Mask(name, parameters_digest(parameters, parameters), kept, bits, statistics)


def counts(mask: Mask) -> list[Count]:
    """Weights and open weights of every masked tensor."""
    return [Count(bits.numel(), int(bits.sum())) for bits in mask.bits.values()]


def mask_bytes(mask: Mask, form: Form = "coded") -> bytes:
    """The mask file, as `save_mask` writes it: a safetensors file that holds one block of bytes and the statistics."""
    return _serialise(mask, form, (encode_bits if form == "coded" else _pack)(_arrays(mask)))


def _serialise(mask: Mask, form: Form, block: bytes) -> bytes:
    header: dict[str, Any] = {
        "format": FORMAT,
        "form": form,
        "backbone": mask.backbone,
        "digest": mask.digest,
        "kept": mask.kept,
        "masked": [[name, list(bits.shape), int(bits.sum())] for name, bits in mask.bits.items()],
    }
    tensors = {BITS: torch.frombuffer(bytearray(block), dtype=torch.uint8) if block else torch.zeros(0).byte()}
    tensors |= {STATISTIC + name: tensor.detach().cpu().contiguous() for name, tensor in mask.statistics.items()}
    return save(tensors, {"mask": json.dumps(header, separators=(",", ":"))})


def save_mask(mask: Mask, path: Path, form: Form = "coded") -> None:
    """Writes the mask file."""
    path.write_bytes(mask_bytes(mask, form))


def load_mask(path: Path) -> Mask:
    """The mask that `save_mask` wrote, in either form. Nothing is unpickled.

    Raises:
        UserError: there is no such file, it is no mask file, or one of a newer format.
    """
    if not path.is_file():
        raise UserError(f"there is no mask file {str(path)!r}")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("mask", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"{str(path)!r} is no mask file: {error}") from error
    if header is None:
        raise UserError(f"{str(path)!r} holds weights, not a mask")
    try:
        said = _Header.model_validate(header)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(f"{str(path)!r} is a damaged mask file: {where}: {error.errors()[0]['msg']}") from None
    if said.format > FORMAT:
        raise UserError(f"{str(path)!r} is a mask file of format {said.format}; this version reads {FORMAT}")
    try:
        bits = _bits(tensors.pop(BITS, None), said)
    except ValueError as error:
        raise UserError(f"{str(path)!r} is a damaged mask file: {error}") from error
    statistics = {name.removeprefix(STATISTIC): tensor for name, tensor in tensors.items()}
    return Mask(said.backbone, said.digest, said.kept, bits, statistics)


def _bits(block: Tensor | None, said: _Header) -> dict[str, Tensor]:
    """The tensors behind a block of bytes, uint8.

    Raises:
        ValueError: it is not the block that the header describes.
    """
    shapes = {name: shape for name, shape, _ in said.masked}
    sizes = [Count(math.prod(shape), ones) for _, shape, ones in said.masked]
    if block is None or block.dtype != torch.uint8 or len(shapes) < len(sizes):
        raise ValueError("its tensors are not those of a mask")
    code = block.numpy().tobytes()
    flat = decode_bits(code, sizes) if said.form == "coded" else _unpack(code, sizes)
    return {name: torch.from_numpy(bits).view(shape) for (name, shape), bits in zip(shapes.items(), flat, strict=True)}


def apply_mask_file(mask: Mask, weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The backbone's tensors with masked weights and the mask's statistics: those of the encoder it was made from.

    Args:
        mask: from `load_mask`.
        weights: every tensor of the backbone, under the names of its state.
        name: of the backbone, for the error.

    Raises:
        UserError: the weights are not those the mask was made for; both are named.
    """
    expected = {*mask.kept, *mask.bits}
    lacking = sorted(expected - set(weights))
    found = f"lacks {lacking[0]!r}" if lacking else f"has the digest {parameters_digest(weights, expected)[:12]}"
    if lacking or parameters_digest(weights, expected) != mask.digest:
        raise UserError(
            f"the mask is for the backbone {mask.backbone!r} of digest {mask.digest[:12]}, but {name!r} {found}"
        )
    masked = {key: apply_mask(weights[key], bits.to(weights[key].dtype)) for key, bits in mask.bits.items()}
    return {**weights, **masked, **mask.statistics}


def measure_mask(mask: Mask) -> dict[str, float]:
    """What the mask takes: weights, share of open ones, bits per weight in three forms beside the bound, bytes.

    `entropy_bits_per_weight` is the bound of a memoryless code at each tensor's own density; `mask_file_bytes` is the
    whole file, header and statistics included, as it lies on disk.
    """
    coded, packed = encode_bits(_arrays(mask)), _pack(_arrays(mask))
    files = {
        "mask_file_bytes": float(len(_serialise(mask, "coded", coded))),
        "statistics_bytes": float(sum(tensor.nbytes for tensor in mask.statistics.values())),
    }
    sizes = counts(mask)
    if not sizes:
        return files
    weights = sum(size.symbols for size in sizes)
    return files | {
        "masked_weights": float(weights),
        "mask_density": sum(size.ones for size in sizes) / weights,
        "packed_bits_per_weight": 8 * len(packed) / weights,
        "lzma_bits_per_weight": 8 * len(lzma.compress(packed)) / weights,
        "coded_bits_per_weight": 8 * len(coded) / weights,
        "entropy_bits_per_weight": entropy_bits(sizes) / weights,
    }


def _arrays(mask: Mask) -> list[np.ndarray]:
    return [bits.numpy() for bits in mask.bits.values()]


def _pack(arrays: Iterable[np.ndarray]) -> bytes:
    return b"".join(np.packbits(array).tobytes() for array in arrays)


def _unpack(block: bytes, sizes: Sequence[Count]) -> list[np.ndarray]:
    check_counts(sizes)
    if len(block) != sum(-(-size.symbols // 8) for size in sizes):
        raise ValueError(f"{len(block)} bytes are not the bits of {len(sizes)} tensors")
    found, start = [], 0
    for size in sizes:
        end = start + -(-size.symbols // 8)
        bits = np.unpackbits(np.frombuffer(block[start:end], np.uint8), count=size.symbols)
        found.append(bits.astype(bool))
        start = end
    check_ones(found, sizes)
    return found
