"""A masked autoencoder of ImageNet's size: what fits where, what moves, and the hours on 8 and 64 GPUs.

Nothing of it was run. Counted here: the operations of a training step of the same network (torch's counter), its
parameters, and the bytes that a step keeps for its backward pass. Published: what share of their chips' peak the
authors' own runs reached, 800 epochs of ViT-L/16 in 42 hours on 64 V100 and in 15.4 hours on 128 cores of TPU-v3
(arXiv 2111.06377, table 2, and its repository). Hours here are the operations over the peak of the GPU times each of
these shares: in effect the authors' hours, times chips and peak of theirs over ours; no speed of ours is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.registry import build_method
from bench.study.methods import MaeOptions

IMAGES, TEST_IMAGES, SIDE = 1_281_167, 50_000, 224
BATCH, EPOCHS, GPUS = 4096, 800, (8, 64)
AUTHORS = {"64 V100": (64, 125.0, 42.0), "128 TPU-v3 cores": (128, 61.5, 15.4)}  # chips, TFLOP/s of each, hours
GPU_TFLOPS, GPU_GB = 312.0, 80.0  # an A100's bfloat16 peak without sparsity, and its memory
STATE_BYTES = 16  # a parameter's weight, gradient and AdamW's two moments, float32


@dataclass(frozen=True)
class Network:
    """One size: the encoder's name and its decoder's."""

    encoder: str
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    patch: int = 16


LARGE = Network("vit_large", 512, 8, 16)


@dataclass(frozen=True)
class Counted:
    """Of one training step, per image: operations and bytes kept for backward; and the parameters."""

    flops: float
    kept: float
    parameters: int
    encoder_parameters: int
    width: int


def build(network: Network) -> Method:
    options = MaeOptions(
        encoder=network.encoder, patch_size=network.patch, decoder_width=network.decoder_width,
        decoder_depth=network.decoder_depth, decoder_heads=network.decoder_heads,
    )  # fmt: skip
    return build_method("mae", options, ImageShape(3, SIDE, SIDE), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 0)


@contextmanager
def kept_bytes(parameters: set[int]) -> Iterator[dict[int, int]]:
    """Bytes of what autograd keeps in the block, by storage; the parameters themselves are left out."""
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found


def count(network: Network, batch: int = 2) -> Counted:
    """Forward and backward of one small batch on the CPU, in float32."""
    method = build(network).train()
    images = torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    own = {parameter.untyped_storage().data_ptr() for parameter in method.parameters()}
    with FlopCounterMode(display=False) as counter, kept_bytes(own) as kept:
        loss, _ = method.loss(images, Draws(0, batch))
        held = sum(kept.values())
        loss.backward()
    encoder = method.encoder()
    sizes = [sum(parameter.numel() for parameter in module.parameters()) for module in (method, encoder.backbone)]
    return Counted(
        counter.get_total_flops() / batch, held / batch, *sizes, encoder.layers[encoder.default_layer].channels
    )


def published_shares(flops: float) -> dict[str, float]:
    """Share of the peak that the authors' runs of 800 epochs reached, if each image cost what is counted here."""
    return {
        name: flops * IMAGES * EPOCHS / (chips * tflops * 1e12 * hours * 3600)
        for name, (chips, tflops, hours) in AUTHORS.items()
    }


def estimate(counted: Counted, shares: dict[str, float]) -> dict[str, Any]:
    """All figures, in bytes, images, steps and hours."""
    stored, state = SIDE * SIDE * 3, STATE_BYTES * counted.parameters
    work = counted.flops * IMAGES * EPOCHS
    return {
        "store_bytes": stored * (IMAGES + TEST_IMAGES),
        "read_bytes_an_epoch": stored * IMAGES,
        "state_bytes": state,
        "images_that_fit_a_gpu": int((GPU_GB * 1e9 - state) // counted.kept),
        "weights_bytes": 4 * counted.encoder_parameters,
        "features_bytes_a_layer": 4 * counted.width * (IMAGES + TEST_IMAGES),
        "bitmap_bytes_a_row": TEST_IMAGES // 8,
        "steps": IMAGES // BATCH * EPOCHS,
        "all_reduce_bytes_a_step": {gpus: 2 * (gpus - 1) / gpus * 4 * counted.parameters for gpus in GPUS},
        "hours": {
            gpus: sorted(work / (gpus * GPU_TFLOPS * 1e12 * share * 3600) for share in shares.values()) for gpus in GPUS
        },
    }


def spelled(counted: Counted, shares: dict[str, float], found: dict[str, Any]) -> list[str]:
    """A line for each thing that is asked: what fits where, what moves, how long."""
    gb = {name: value / 1e9 for name, value in found.items() if "bytes" in name and not isinstance(value, dict)}
    reduced = ", ".join(f"{value / 1e9:.2f} GB on {gpus}" for gpus, value in found["all_reduce_bytes_a_step"].items())
    reached = " and ".join(f"{value:.0%} ({name})" for name, value in shares.items())
    hours = {gpus: " to ".join(f"{value:.0f}" for value in values) for gpus, values in found["hours"].items()}
    fit, kept = found["images_that_fit_a_gpu"], counted.kept / 1e6
    return [
        f"ImageNet, {IMAGES:,} images at {SIDE} px, {counted.parameters / 1e6:.0f} M parameters: computed, not run",
        f"  a node's disk: {gb['store_bytes']:.0f} GB of pixels, read through the page cache, not the object store",
        f"  a GPU's memory: {gb['state_bytes']:.1f} GB of weights, gradients and moments; {kept:.0f} MB an image for",
        f"    backward (float32): {fit} images in {GPU_GB:.0f} GB, the rest of a batch of {BATCH:,} follows in parts",
        f"  moved: {gb['read_bytes_an_epoch']:.0f} GB of pixels an epoch over all nodes; gradients a step and GPU:",
        f"    {reduced} GPUs, {found['steps']:,} steps; {gb['weights_bytes']:.1f} GB of weights a pretraining,",
        f"    {gb['features_bytes_a_layer']:.1f} GB of features a layer, {found['bitmap_bytes_a_row']:,} bytes a row",
        f"  work: {counted.flops / 1e9:.0f} GFLOP an image and step; the authors' runs reached {reached} of their peak",
        f"  {EPOCHS} epochs at these shares: {hours[8]} hours on 8 GPUs of {GPU_TFLOPS:.0f} TFLOP/s,",
        f"    {hours[64]} on 64, if neither images nor gradients are waited for",
    ]


def report(network: Network) -> dict[str, Any]:
    """Prints and returns the figures of a network; the authors' shares hold for ViT-L/16 alone."""
    counted = count(network)
    shares = published_shares(counted.flops)
    found = estimate(counted, shares)
    print("\n".join(spelled(counted, shares, found)), flush=True)
    return {"network": vars(network), "counted": vars(counted), "shares": shares, **found}
