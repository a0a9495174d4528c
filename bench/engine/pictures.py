"""Pictures of a pretext task, drawn when a pretraining is kept: what went in, what the network saw, what came out.

And of answers on test images, drawn when an encoder is judged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.catalog import Dataset
from bench.data.draws import Draws
from bench.methods.base import Method
from bench.protocols.base import Score
from bench.seeds import named_seed
from bench.store.files import replacing

FOLDER = "previews"
MOST = 8  # images of a sheet
_LEAST_SIDE, _MOST_SIDE = 64, 256  # pixels of an image on a sheet
_LEAST_WIDTH = 640  # pixels of a sheet of answers
_BEHIND = 50  # place of a sheet of answers; a pretext task has fewer pictures
_GAP = 2  # pixels of white between two images
log = logging.getLogger(__name__)


def write_pictures(folder: Path, dataset: Dataset, method: Method) -> None:
    """Writes `previews/PLACE_NAME.png` for each picture of `Method.preview`: a row of up to MOST validation images.

    Images and random numbers are the same for every pretraining on the same split, so that sheets can be compared. A
    method whose only picture is its input leaves none. What goes wrong here is logged and ends nothing.
    """
    try:
        pictures = _pictures(dataset, method)
        if set(pictures) <= {"input"}:
            return
        (folder / FOLDER).mkdir()
        for place, (name, images) in enumerate(pictures.items()):
            sheet(images).save(folder / FOLDER / f"{place}_{name}.png", optimize=True)
    except Exception as error:  # a picture is no reason to lose a pretraining
        log.warning("no pictures of %s: %s: %s", type(method).__name__, type(error).__name__, error)


def write_answers(folder: Path, scores: Sequence[Score]) -> None:
    """Writes `previews/PLACE_NAME.png` for each picture of the scores, behind those of the pretext task.

    A picture of the same name, of an earlier evaluation, is replaced. What goes wrong here is logged and ends nothing.
    """
    found = {name: pixels for score in scores for name, pixels in score.pictures.items()}
    try:
        for name, pixels in found.items():
            (folder / FOLDER).mkdir(exist_ok=True)
            picture = Image.fromarray(pixels)
            times = -(-_LEAST_WIDTH // picture.width)
            picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
            with replacing(folder / FOLDER / f"{_BEHIND}_{name.replace(' ', '_')}.png") as temporary:
                picture.save(temporary, "png", optimize=True)
    except Exception as error:  # a picture is no reason to lose a score
        log.warning("no pictures of answers: %s: %s", type(error).__name__, error)


def sheet(images: np.ndarray) -> Image.Image:
    """A row of images, upscaled by nearest neighbour until details can be seen.

    Args:
        images: float [N, C, H, W] in [0, 1]; of more than three channels the first three are shown, of two the first.
    """
    channels = images[:, :3] if images.shape[1] >= 3 else images[:, :1]
    pixels = np.rint(np.clip(np.nan_to_num(channels), 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    tiles = [_scaled(Image.fromarray(tile.squeeze(2) if tile.shape[2] == 1 else tile)) for tile in pixels]
    width, height = tiles[0].size
    row = Image.new(tiles[0].mode, (len(tiles) * (width + _GAP) - _GAP, height), "white")
    for place, tile in enumerate(tiles):
        row.paste(tile, (place * (width + _GAP), 0))
    return row


def _pictures(dataset: Dataset, method: Method) -> dict[str, np.ndarray]:
    """The pictures as float arrays [N, C, H, W]; weights, buffers and global random numbers stay as they are."""
    seed = named_seed("pictures", dataset.splits.digest)
    pool = dataset.splits.validation
    device = next((tensor.device for tensor in (*method.parameters(), *method.buffers())), torch.device("cpu"))
    chosen = np.sort(np.random.default_rng(seed).choice(pool, min(MOST, len(pool)), replace=False))
    images = torch.from_numpy(np.asarray(dataset.images.images[chosen])).permute(0, 3, 1, 2).to(device) / 255
    modes = {module: module.training for module in method.modules()}
    try:
        method.eval()
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            masks = dataset.images.masks
            known = [np.asarray(masks[chosen])] if method.needs_masks and masks is not None else []
            found: dict[str, Tensor] = method.preview(images, Draws(seed, len(images), device=device), *known)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return {name: picture.detach().float().cpu().numpy() for name, picture in found.items()}


def _scaled(tile: Image.Image) -> Image.Image:
    width, height = tile.size
    if max(width, height) > _MOST_SIDE:
        shrunk = tile.copy()
        shrunk.thumbnail((_MOST_SIDE, _MOST_SIDE), Image.Resampling.BOX)
        return shrunk
    times = -(-_LEAST_SIDE // max(width, height))
    return tile.resize((width * times, height * times), Image.Resampling.NEAREST)
