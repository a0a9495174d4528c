"""What a pretraining left behind as one file: its mask, where it learned one, or else its weights."""

from __future__ import annotations

import shutil
from difflib import get_close_matches
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bench.errors import UserError
from bench.methods.encoder import WEIGHTS
from bench.methods.mask_codec import MASK, apply_mask_file, load_mask
from bench.store.artifacts import Artifacts
from bench.store.files import replacing

_NAMED = 10  # pretrainings that a message about an unknown key names


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
    folder = encoder_folder(root, key)
    source = folder / (MASK if (folder / MASK).is_file() else WEIGHTS)
    with replacing(to) as temporary:
        shutil.copyfile(source, temporary)
    return f"{'mask' if source.name == MASK else 'weights'}, {to.stat().st_size} bytes"


def encoder_folder(root: Path, key: str) -> Path:
    """Where the store keeps the encoder of a pretraining.

    Raises:
        UserError: it holds no such pretraining, or one that left no encoder.
    """
    folder = Artifacts(root).find("encoders", key) if Path(key).name == key and not key.startswith(".") else None
    if folder is None:
        raise _unknown(root, key)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"KEY: the pretraining {key!r} left no encoder: it diverged")
    return folder


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


def _unknown(root: Path, key: str) -> UserError:
    """The error for a key that the store lacks: of its pretrainings those of nearest key, then the newest."""
    kept = sorted(Artifacts(root).complete(), key=lambda artifact: -artifact.used)
    keys = [artifact.key for artifact in kept if artifact.kind == "encoders"]
    keys += sorted(Artifacts(root).keys("encoders") - set(keys))  # at the address of the results
    near = [name for name in keys if key and name.startswith(key)] + get_close_matches(key, keys, n=3)
    named = list(dict.fromkeys([*near, *keys]))[:_NAMED]
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    rest = f" and {len(keys) - len(named)} more" if len(keys) > len(named) else ""
    return UserError(f"KEY: unknown pretraining {key!r}{hint}; valid: {', '.join(named) or 'none'}{rest}")
