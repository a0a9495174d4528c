"""What a pretraining left behind as one file: its mask, where it learned one, or else its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bench.errors import UserError, unknown
from bench.methods.encoder import WEIGHTS
from bench.methods.mask_codec import MASK, apply_mask_file, load_mask
from bench.store.artifacts import Artifacts
from bench.store.files import replacing


def write_weights(root: Path, key: str, to: Path) -> str:
    """Copies the mask of a pretraining, or the weights of its encoder, out of the results.

    Args:
        root: results folder.
        key: of the pretraining, as the rows' column pretrain_key has it.
        to: the file.

    Returns:
        What was written, in words.

    Raises:
        UserError: the results hold no such pretraining, or one that left no encoder.
    """
    folder = Artifacts(root).find("encoders", key) if Path(key).name == key and not key.startswith(".") else None
    if folder is None:
        keys = [artifact.key for artifact in Artifacts(root).complete() if artifact.kind == "encoders"]
        raise unknown("pretraining", key, keys, "KEY")
    source = next((folder / name for name in (MASK, WEIGHTS) if (folder / name).is_file()), None)
    if source is None:
        raise UserError(f"KEY: the pretraining {key!r} left no encoder: it diverged")
    with replacing(to) as temporary:
        shutil.copyfile(source, temporary)
    return f"{'mask' if source.name == MASK else 'weights'}, {to.stat().st_size} bytes"


def apply_weights(mask: Path, backbone: Path, to: Path) -> str:
    """Puts a mask on its shared backbone and writes the weights, bit for bit those of the encoder behind the mask.

    Args:
        mask: mask file.
        backbone: safetensors file with the backbone's weights, or the folder of an encoder.
        to: safetensors file.

    Returns:
        What was written, in words.

    Raises:
        UserError: a file that cannot be read, or a backbone that the mask is not for.
    """
    file = backbone / WEIGHTS if backbone.is_dir() else backbone
    if not file.is_file():
        raise UserError(f"--backbone: there is no file {str(file)!r}")
    try:
        shared = load_file(file)
    except SafetensorError as error:
        raise UserError(f"--backbone: {str(file)!r} is no safetensors file: {error}") from error
    weights = apply_mask_file(load_mask(mask), shared, str(backbone))
    with replacing(to) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
    return f"weights, {to.stat().st_size} bytes"
