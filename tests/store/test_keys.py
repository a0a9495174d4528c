from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.store.keys import KEY_LENGTH, canonical_json, content_key, key_of_texts

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(st.dictionaries(st.text(), values))
def test_the_order_of_keys_does_not_matter(parts: dict[str, object]) -> None:
    backwards = dict(reversed(list(parts.items())))
    assert content_key("thing", parts=parts) == content_key("thing", parts=backwards)


@given(values)
def test_canonical_json_is_json_and_stable(value: object) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), values, min_size=1), st.data())
def test_changing_one_part_changes_the_key(parts: dict[str, object], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(parts)))
    changed = {**parts, name: [parts[name], "changed"]}
    assert content_key("thing", parts=parts) != content_key("thing", parts=changed)


@given(st.dictionaries(st.sampled_from(["cell", "options", "seed", "unit", "zone"]), values))
def test_a_key_of_texts_is_the_key_of_what_they_say(parts: dict[str, object]) -> None:
    texts = {name: canonical_json(value) for name, value in parts.items()}
    assert key_of_texts("row", **texts) == content_key("row", **parts)


def test_the_kind_is_part_of_the_key() -> None:
    assert content_key("row", a=1) != content_key("unit", a=1)
    assert len(content_key("row", a=1)) == KEY_LENGTH


def test_integers_and_floats_are_kept_apart() -> None:
    assert content_key("thing", a=1) != content_key("thing", a=1.0)
    assert content_key("thing", a=True) != content_key("thing", a=1)


def test_lists_and_tuples_are_one_thing() -> None:
    assert content_key("thing", a=[1, 2]) == content_key("thing", a=(1, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot hold the number"):
        content_key("thing", a=value)


def test_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold object"):
        content_key("thing", a=object())
