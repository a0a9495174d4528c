"""Bad input made from good: bytes and text changed at random, plain data with a value put where it does not belong."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF)
TOKENS = (
    "null", "true", "-1", "0", "1e999", ".nan", "-.inf", "1e-400", "99999999999999999999", "0x" + "F" * 6000, "[]",
    "{}", "''", "[[]]", "{a: {b: [c]}}", "&a [*a]", "*a", "2020-01-01", "1:30", "!!binary aGk=", "!!set {a}",
    "!!python/object/apply:os.system [id]", "!!omap [a: 1]", "\0", "\ud800", "é\u202e", "=1+1", "~", "<<: {a: 1}",
    "? [a]: b", "[" * 400, "- " * 200, "%", "@", "\t", "'", '"', ": ", "|", ">", "#", "---", "..", "../../etc/passwd",
    "1_0", "0o7", "yes", "1e4", "label_budgets", "a" * 3000, "{" * 50, "${HOME}", "1000000000", "-0.0", "all", "[1, 2]",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 10**9, 10**30, 1 << 20000, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x",
    "all", "0", "-1", "\0", "\ud800", "../../x", "a" * 3000, [], [None], [[]], {}, {"a": 1}, {1: 2}, {0.5: 1}, [1, ""],
    [1, 1], b"hi", {1, 2}, datetime.date(2020, 1, 1), ["all", "1"], {"loguniform": [1e-4, 1e-2]}, {"int": [1, 2]},
    {"uniform": [float("nan"), 1]}, [float("nan")], "1e999", "linear.accuracy@1", "=1+1", 10**12, [0.1, 0.2], "mae",
)  # fmt: skip


def bytes_near(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """One to four changes: bits, bytes and numbers overwritten, slices cut, doubled, moved or taken from another."""
    for _ in range(int(rng.integers(1, 5))):
        data = _CHANGES[int(rng.integers(len(_CHANGES)))](data, rng)
    if others and rng.random() < 0.1:
        other = others[int(rng.integers(len(others)))]
        data = data[: int(rng.integers(len(data) + 1))] + other[int(rng.integers(len(other) + 1)) :]
    return data


def text_near(text: str, rng: Rng, tokens: Sequence[str] = TOKENS) -> str:
    """One to three changes: a word or a line replaced, dropped, doubled or indented, or bytes changed at random."""
    for _ in range(int(rng.integers(1, 4))):
        change = rng.random()
        if change < 0.4:
            parts = text.split(" ")
            parts[int(rng.integers(len(parts)))] = str(tokens[int(rng.integers(len(tokens)))])
            text = " ".join(parts)
        elif change < 0.8:
            text = _lines_near(text, rng)
        else:
            text = bytes_near(text.encode("utf-8", "replace"), rng).decode("utf-8", "replace")
    return text


def value_near(value: Any, rng: Rng, values: Sequence[Any] = VALUES) -> Any:
    """Plain data with one to three of its parts replaced, dropped or renamed, at random depth."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        value = _part_near(value, rng, values)
    return value


def _part_near(value: Any, rng: Rng, values: Sequence[Any]) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[int(rng.integers(len(value)))]
        change = rng.random()
        if change < 0.05:
            return {name: part for name, part in value.items() if name != key}
        if change < 0.1:
            return {(f"{name}x" if name == key else name): part for name, part in value.items()}
        return {**value, key: _part_near(value[key], rng, values)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = int(rng.integers(len(value)))
        return [*value[:index], _part_near(value[index], rng, values), *value[index + 1 :]]
    return copy.deepcopy(values[int(rng.integers(len(values)))])


def _lines_near(text: str, rng: Rng) -> str:
    lines = text.split("\n")
    at = int(rng.integers(len(lines)))
    change = int(rng.integers(4))
    if change == 0:
        del lines[at]
    elif change == 1:
        lines.insert(int(rng.integers(len(lines) + 1)), lines[at])
    elif change == 2:
        lines[at] = " " * int(rng.integers(1, 5)) + lines[at]
    else:
        lines[at] = lines[at].lstrip()
    return "\n".join(lines)


def _flip(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(0, max(1, len(data)), size=int(rng.integers(1, 9))):
        if at < len(changed):
            changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _number(data: bytes, rng: Rng) -> bytes:
    width = int(rng.choice([1, 2, 4, 8]))
    number = int(rng.choice(_NUMBERS)) % (1 << 8 * width)
    at = int(rng.integers(len(data) + 1))
    return data[:at] + number.to_bytes(width, "big" if rng.random() < 0.5 else "little") + data[at + width :]


def _noise(data: bytes, rng: Rng) -> bytes:
    at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 17))
    return data[:at] + rng.bytes(length) + data[at + length :]


def _cut(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _drop(data: bytes, rng: Rng) -> bytes:
    first, last = sorted(int(at) for at in rng.integers(0, len(data) + 1, 2))
    return data[:first] + data[last:]


def _double(data: bytes, rng: Rng) -> bytes:
    first = int(rng.integers(len(data) + 1))
    last = min(len(data), first + int(rng.integers(1, 65)))
    return data[:last] + data[first:last] * int(rng.integers(1, 4)) + data[last:]


def _insert(data: bytes, rng: Rng) -> bytes:
    at = int(rng.integers(len(data) + 1))
    return data[:at] + rng.bytes(int(rng.integers(1, 17))) + data[at:]


_CHANGES: tuple[Callable[[bytes, Rng], bytes], ...] = (_flip, _flip, _number, _noise, _cut, _drop, _double, _insert)
