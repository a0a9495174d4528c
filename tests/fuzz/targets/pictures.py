"""Image files and palettes of masks."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import tifffile
import yaml
from PIL import Image

from bench.data.decode import MAX_PIXELS, UnreadableError, decode_file, read_header
from bench.data.palette import read_palette
from bench.data.values import ValueRange
from tests.fuzz.harness import Target
from tests.fuzz.mutate import TOKENS, Rng, bytes_near, text_near, value_near

_SIDE = 16
_RANGES = {bands: ValueRange(np.zeros(bands, np.float32), np.full(bands, 4095, np.float32)) for bands in (1, 3)}


def _saved(mode: str, format: str, **options: object) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (23, 37, 4), np.uint8)
    image = Image.fromarray(values, "RGBA").convert("RGB").convert(mode)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _tiff(shape: tuple[int, ...], kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.random.default_rng(0).integers(0, 200, shape).astype(kind), **options)
    return file.getvalue()


_IMAGES = [
    *(_saved(mode, "PNG") for mode in ("1", "L", "P", "RGB", "RGBA", "I;16")),
    *(_saved(mode, "JPEG", progressive=progressive) for mode in ("L", "RGB", "CMYK") for progressive in (True, False)),
    *(_saved("RGB", format) for format in ("BMP", "PPM", "WEBP", "TIFF")),
    _saved("P", "GIF"),
    _saved("RGB", "TIFF", compression="tiff_lzw"),
    _saved("RGB", "EPS"),
    _tiff((21, 19), "uint16"),
    _tiff((21, 19, 3), "float32"),
    _tiff((5, 21, 19), "uint16", photometric="minisblack", planarconfig="separate"),
    _tiff((21, 19, 3), "uint8", photometric="rgb", compression="zlib"),
]
_PALETTES = [
    {"classes": {"water": 3, "land": 1, "road": 2}, "ignore": [0]},
    {"classes": {"water": [226, 169, 41], "land": [1, 2, 3]}, "ignore": [[0, 0, 0], [155, 155, 155]]},
    {"classes": {f"class {number}": number for number in range(20)}},
]


def _image(rng: Rng) -> bytes:
    return bytes_near(_IMAGES[int(rng.integers(len(_IMAGES)))], rng, _IMAGES)


def _read_image(made: bytes, folder: Path) -> bool:
    channels = 1 if made[-1:] < b"\x40" else 3
    header = read_header(made)
    assert 0 < header.height * header.width <= MAX_PIXELS
    pixels = decode_file(made, _SIDE, channels, _RANGES[channels])
    assert pixels.shape == (_SIDE, _SIDE, channels)
    assert pixels.dtype == np.uint8
    return True


def _palette(rng: Rng) -> tuple[str, bytes]:
    """Suffix and content of a palette file."""
    palette = _PALETTES[int(rng.integers(len(_PALETTES)))]
    as_json = bool(rng.random() < 0.3)
    kind = rng.random()
    if kind < 0.4:
        value = value_near(palette, rng)
        try:
            text = json.dumps(value) if as_json else yaml.dump(value, allow_unicode=True)
        except TypeError:  # bytes and the like, for which JSON has no word
            text = repr(value)
        except ValueError:  # a number of more digits than Python writes
            text = "9" * 5000
    else:
        text = json.dumps(palette) if as_json else yaml.dump(palette)
    content = text.encode("utf-8", "surrogatepass")
    if kind >= 0.7:
        content = bytes_near(content, rng)
    elif kind >= 0.4:
        content = text_near(text, rng, TOKENS).encode("utf-8", "surrogatepass")
    return (".json" if as_json else ".yaml"), content


def _read_palette(made: tuple[str, bytes], folder: Path) -> bool:
    path = folder / f"palette{made[0]}"
    path.write_bytes(made[1])
    palette = read_palette(path)
    assert 2 <= len(palette.classes) <= 255
    values = list(palette.classes.values())
    mask = Image.new("RGB", (4, 4), values[0]) if palette.colours else Image.new("I", (4, 4), min(values[0], 2**31 - 1))
    try:
        assert palette.read(mask).shape == (4, 4)
    except UnreadableError:
        return False
    return True


IMAGE = Target(_image, _read_image, share=30, refusals=(UnreadableError,))
PALETTE = Target(_palette, _read_palette, share=4)
