"""What the values of a mask file mean: an index or a colour for each class, and the values that count nowhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.decode import UnreadableError
from bench.data.raw import IGNORE
from bench.errors import UserError
from bench.study.load import MOST_BYTES, parse_yaml

Value = int | tuple[int, int, int]
MOST_CLASSES = IGNORE  # numbers 0 .. 254; 255 is the ignored pixel


@dataclass(frozen=True)
class Palette:
    """Classes of the pixels.

    Attributes:
        classes: value of each class in the mask files by name, in the order of the classes: an index, or a colour
            (red, green, blue), the same kind for all.
        ignore: values of pixels that count nowhere.
    """

    classes: Mapping[str, Value]
    ignore: tuple[Value, ...] = ()

    @property
    def colours(self) -> bool:
        """Whether the values are colours."""
        return isinstance(next(iter(self.classes.values())), tuple)

    def read(self, mask: Image.Image) -> np.ndarray:
        """The class of every pixel, uint8 [H, W]; 255 where it counts nowhere.

        Raises:
            UnreadableError: the mask holds values that the palette does not name; says how many pixels.
        """
        values = self._values(mask)
        classes = np.full(values.shape, -1, np.int16)
        for number, value in enumerate(self.classes.values()):
            classes[values == _code(value)] = number
        for value in self.ignore:
            classes[values == _code(value)] = IGNORE
        unknown = classes < 0
        if unknown.any():
            found, counts = np.unique(values[unknown], return_counts=True)
            shown = self._shown(int(found[counts.argmax()]))
            raise UnreadableError(f"{int(unknown.sum())} mask pixels with values not in the palette, such as {shown}")
        return classes.astype(np.uint8)

    def _values(self, mask: Image.Image) -> np.ndarray:
        """One number a pixel, int32 [H, W]: the index, or the colour's code."""
        if self.colours:
            red, green, blue = np.moveaxis(np.asarray(mask.convert("RGB"), np.int32), 2, 0)
            return (red << 16) + (green << 8) + blue
        if mask.mode not in ("1", "L", "P", "I", "I;16"):
            raise UnreadableError(f"mask of mode {mask.mode}, but the palette names indices; wanted a grey or P image")
        return np.asarray(mask, np.int32)

    def _shown(self, code: int) -> str:
        return str([code >> 16, code >> 8 & 255, code & 255]) if self.colours else str(code)


def read_palette(path: Path) -> Palette:
    """A palette from a YAML or JSON file: `classes: {water: 3}` or `{water: [226, 169, 41]}`, and `ignore: [0]`.

    Raises:
        UserError: the file cannot be read, or is no palette.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes, more than the limit of {MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix == ".json" else parse_yaml(text, path.name)
        return _parse(value)
    except (OSError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"data.palette: {path}: {' '.join(str(error).split())}") from None


def _parse(value: Any) -> Palette:
    if not isinstance(value, Mapping) or not isinstance(value.get("classes"), Mapping) or not value["classes"]:
        raise ValueError("a palette holds `classes: {NAME: INDEX or [R, G, B], ...}` and perhaps `ignore: [...]`")
    classes = {str(name): _value(str(name), item) for name, item in value["classes"].items()}
    if not isinstance(value.get("ignore") or [], list):
        raise ValueError(f"ignore: a list is needed, but got {value['ignore']!r}")
    ignore = tuple(_value("ignore", item) for item in value.get("ignore") or ())
    kinds = {type(item) for item in (*classes.values(), *ignore)}
    if len(kinds) > 1:
        raise ValueError("some values are indices and some are colours; all must be of one kind")
    codes = [_code(item) for item in (*classes.values(), *ignore)]
    if len(set(codes)) < len(codes):
        raise ValueError("one value stands for two classes")
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"{len(classes)} classes; valid: 2 to {MOST_CLASSES}")
    return Palette(classes, ignore)


def _value(name: str, item: Any) -> Value:
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 1 << 31:
        return item
    colour = isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 3
    if colour and all(isinstance(part, int) and 0 <= part < 256 for part in item):
        return item[0], item[1], item[2]
    raise ValueError(f"{name}: {item!r} is neither an index nor a colour [R, G, B]")


def _code(value: Value) -> int:
    return value if isinstance(value, int) else (value[0] << 16) + (value[1] << 8) + value[2]
