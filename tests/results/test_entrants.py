from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from bench.errors import UserError
from bench.results.entrants import (
    IDENTITY,
    LABEL_ONLY,
    axes_text,
    check_reference,
    entrant_names,
    match_reference,
    with_entrants,
)


def combination(method: str = "mae", protocol: str | None = "linear", **values: Any) -> dict[str, Any]:
    known = {"axes": "{}", "encoder": "vit_tiny", "protocol_options": "{}", "layer": "block6", "fuse": None}
    return {"method": method, "protocol": protocol, "partner": None, **known, **values}


def test_a_lone_method_is_called_by_method_and_protocol() -> None:
    assert entrant_names([combination()]) == ["mae + linear"]


def test_axes_are_named_in_one_order_and_spelling() -> None:
    names = entrant_names([combination(axes='{"noise_level":0.1,"mask_ratio":0.5}')])
    assert names == ["mae[mask_ratio=0.5, noise_level=0.1] + linear"]
    assert axes_text('{"mask_ratio":0.50,"encoder":"vit_nano","flip":true}') == (
        "encoder=vit_nano, flip=true, mask_ratio=0.5"
    )


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("layer", ("block2", "block6"), ["mae + linear @block2", "mae + linear @block6"]),
        ("encoder", ("vit_nano", "vit_tiny"), ["mae[encoder=vit_nano] + linear", "mae[encoder=vit_tiny] + linear"]),
        (
            "protocol_options",
            ('{"selection":"auto","folds":5}', '{"selection":"held_out","folds":5}'),
            ["mae + linear[selection=auto]", "mae + linear[selection=held_out]"],
        ),
        ("fuse", (None, "concat"), ["mae + linear", "mae + linear (concat)"]),
    ],
)
def test_what_varies_is_named(column: str, values: tuple[Any, ...], expected: list[str]) -> None:
    assert entrant_names([combination(**{column: value}) for value in values]) == expected


def test_the_partner_is_named_where_there_are_several() -> None:
    pair = [combination(protocol="fusion", fuse="concat", partner=partner) for partner in ("pixels", "timm/resnet18")]
    assert entrant_names(pair) == ["mae + fusion (concat pixels)", "mae + fusion (concat timm/resnet18)"]


def test_controls_of_a_fusion_go_by_the_partner() -> None:
    def control(fuse: str, encoder: str = "conv_nano", settings: str = "{}") -> dict[str, Any]:
        place = {"layer": "none", "encoder": encoder, "protocol_options": settings}
        return combination("partner", "fusion", fuse=fuse, **place) | {"partner": encoder}

    joined = combination(protocol="fusion", fuse="concat") | {"partner": "conv_nano"}
    names = entrant_names([joined, control("partner_only"), control("pixels_pca_64")])
    assert names == ["mae + fusion (concat)", "partner + fusion (partner_only)", "partner + fusion (pixels_pca_64)"]
    several = [control("partner_only"), control("partner_only", "pixels"), control("partner_only", settings='{"a":1}')]
    assert len(set(entrant_names(several))) == 3
    assert "partner" in LABEL_ONLY


def test_the_layer_of_another_method_is_no_variation() -> None:
    names = entrant_names([combination(), combination("pixels", layer="pixels", encoder="pixels")])
    assert names == ["mae + linear", "pixels + linear"]


def test_a_failed_unit_without_layer_and_settings_keeps_its_entrant() -> None:
    names = entrant_names([combination(), combination(layer=None, protocol_options=None)])
    assert names == ["mae + linear", "mae + linear"]


def test_rows_keep_their_number_and_nulls_are_values() -> None:
    frame = pl.DataFrame([combination(), combination(), combination("dino", protocol=None)], schema_overrides={})
    named = with_entrants(frame.with_columns(pl.col("fuse", "partner").cast(pl.String)))
    assert named["entrant"].to_list() == ["mae + linear", "mae + linear", "dino"]
    assert set(IDENTITY) <= set(named.columns)


def known() -> pl.DataFrame:
    rows = [
        ("mae[mask_ratio=0.5] + linear", "mae", "linear"),
        ("mae[mask_ratio=0.75] + linear", "mae", "linear"),
        ("pixels + linear", "pixels", "linear"),
    ]
    return pl.DataFrame(rows, schema=["entrant", "method", "protocol"], orient="row")


def test_a_reference_name_means_every_setting_of_method_and_protocol() -> None:
    assert match_reference(["mae+linear"], known()) == (
        "mae[mask_ratio=0.5] + linear",
        "mae[mask_ratio=0.75] + linear",
    )


def test_a_reference_may_be_a_full_name_and_blanks_do_not_count() -> None:
    assert match_reference(["mae[mask_ratio=0.75]+linear", "pixels+linear", "pixels + linear"], known()) == (
        "mae[mask_ratio=0.75] + linear",
        "pixels + linear",
    )


def test_an_absent_reference_of_a_study_matches_nothing_and_one_typed_is_an_error() -> None:
    assert match_reference(["dino+linear"], known()) == ()
    with pytest.raises(UserError, match=r"reference: unknown entrant 'pixel\+linear'.*pixels \+ linear"):
        check_reference(["pixel+linear"], known())


def test_names_hold_no_more_settings_than_tell_entries_apart() -> None:
    def entry(**options: Any) -> dict[str, Any]:
        row = dict.fromkeys(IDENTITY) | {"method": "mae", "protocol": "fusion"}
        return row | {"axes": None, "protocol_options": json.dumps(options)}

    probes = entry(head="linear", imbalance="none", c_grid=[0.1, 1], lr=None, epochs=60)
    trained = [entry(head="mlp", imbalance=name, c_grid=[1], lr=0.003, epochs=40) for name in ("none", "focal")]
    assert entrant_names([probes, *trained]) == [
        "mae + fusion[head=linear, imbalance=none]",
        "mae + fusion[head=mlp, imbalance=none]",
        "mae + fusion[head=mlp, imbalance=focal]",
    ]
    rates = [entry(head="mlp", lr=lr) for lr in (0.1, None)]
    assert entrant_names(rates) == ["mae + fusion[lr=0.1]", "mae + fusion[lr=null]"]
