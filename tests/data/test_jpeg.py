"""JPEG files come out as Pillow decodes them, bit for bit, whichever way is taken."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.data import decode
from bench.data.decode import Header, UnlikeError, UnreadableError, decode_file
from bench.data.jpeg import decode_jpeg, jpeg_shape


def saved(height: int, width: int, mode: str = "RGB", seed: int = 0, **how: object) -> bytes:
    """A JPEG file of noise on a slope: every coefficient is at work."""
    rng = np.random.default_rng(seed)
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    slope = np.linspace(0, 160, width)[None, :, None] + rng.integers(0, 96, (height, width, channels))
    pixels = slope.astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels, mode=mode).save(buffer, "JPEG", **how)
    return buffer.getvalue()


def by_pillow(data: bytes, mode: str = "RGB") -> np.ndarray:
    array = np.asarray(Image.open(io.BytesIO(data)).convert(mode))
    return array[:, :, None] if mode == "L" else array


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 9),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
)
def test_colour_has_pillows_bits(
    height: int, width: int, seed: int, quality: int, subsampling: int, progressive: bool
) -> None:
    data = saved(height, width, seed=seed, quality=quality, subsampling=subsampling, progressive=progressive)
    assert jpeg_shape(data) == (height, width, 3)
    found = decode_jpeg(data, 3)
    assert found is not None
    assert np.array_equal(found, by_pillow(data))
    assert np.array_equal(decode_file(data, None, 3), by_pillow(data))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), quality=st.integers(1, 100))
def test_grey_has_pillows_bits(height: int, width: int, quality: int) -> None:
    data = saved(height, width, "L", quality=quality)
    found = decode_jpeg(data, 1)
    assert jpeg_shape(data) == (height, width, 1)
    assert found is not None
    assert np.array_equal(found, by_pillow(data, "L"))
    assert np.array_equal(decode_file(data, None, 3), by_pillow(data))  # other channels: Pillow's way


def test_what_is_unusual_is_left_to_pillow() -> None:
    assert jpeg_shape(saved(8, 9, "CMYK")) is None
    assert jpeg_shape(b"\xff\xd8\xff" + bytes(40)) is None
    assert jpeg_shape(b"\x89PNG") is None
    assert decode_file(saved(8, 9, "CMYK"), None, 3).shape == (8, 9, 3)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damage_is_judged_as_pillow_judges_it(data: st.DataObject) -> None:
    whole = saved(24, 20, seed=3)
    at = data.draw(st.integers(3, len(whole) - 1))
    harmed = whole[:at] if data.draw(st.booleans()) else whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
    try:
        image = Image.open(io.BytesIO(harmed), formats=decode.FORMATS)
        expected = np.asarray(image.convert("RGB")) if image.mode in ("RGB", "L") else None
    except Exception:
        with pytest.raises(UnreadableError):
            decode_file(harmed, None, 3)
        return
    if expected is not None and expected.size <= 1 << 20:
        assert np.array_equal(decode_file(harmed, None, 3), expected)


def test_headers_sizes_and_limits_are_checked_as_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = saved(12, 12)
    assert decode_file(data, None, 3, like=Header(12, 12, 3)).shape == (12, 12, 3)
    with pytest.raises(UnlikeError):
        decode_file(data, None, 3, like=Header(12, 13, 3))
    assert np.array_equal(decode_file(data, 12, 3), by_pillow(data))
    assert decode_file(saved(40, 30), 10, 3).shape == (10, 10, 3)
    (tmp_path / "a.jpg").write_bytes(data)
    monkeypatch.setattr(decode, "_WHOLE", 10)  # a file that is not read whole
    assert np.array_equal(decode_file(tmp_path / "a.jpg", None, 3), by_pillow(data))
    monkeypatch.setattr(decode, "MAX_PIXELS", 100)
    with pytest.raises(UnreadableError, match="12 x 12 pixels, more than the limit of 100"):
        decode_file(data, None, 3)
