"""Options of protocols, and the cells they span."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from bench.study.protocols import (
    NO_LAYER,
    PARTNER_ONLY,
    PROTOCOLS,
    Cell,
    FinetuneOptions,
    FusionOptions,
    Join,
    KnnOptions,
    LinearOptions,
    cells,
    control_cells,
)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_describes_itself(name: str) -> None:
    options = PROTOCOLS[name]
    assert options.name == name
    assert options.version >= 1
    assert options.summary
    assert options.__doc__
    assert all(field.description for field in options.model_fields.values())


def test_budgets_have_one_spelling() -> None:
    assert LinearOptions(label_budgets=["all", 10, "2", 2]).label_budgets == ("2", "10", "all")
    assert LinearOptions(label_budgets=5).label_budgets == ("5",)


@pytest.mark.parametrize("bad", [0, -1, "few", True, [], 1.5])
def test_bad_budgets_are_refused(bad: object) -> None:
    with pytest.raises(ValidationError, match="label budget"):
        LinearOptions(label_budgets=bad)


def test_layers_are_strings() -> None:
    assert LinearOptions(layers=[2, "last", 2]).layers == ("2", "last")


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        LinearOptions(regulariser=1.0)


@pytest.mark.parametrize("name", sorted(set(PROTOCOLS) - {"few_shot"}))  # whose budgets are shots, never all images
def test_cells_are_distinct_and_all_has_one_draw(name: str) -> None:
    wanted = cells(PROTOCOLS[name](label_budgets=[1, "all"], draws=3), ["enc1", "bottleneck"])
    assert len(set(wanted)) == len(wanted)
    assert {cell.draw for cell in wanted if cell.label_budget == "all"} == {0}
    assert {cell.draw for cell in wanted if cell.label_budget == "1"} == {0, 1, 2}


def test_cells_grow_with_the_options() -> None:
    few = cells(LinearOptions(label_budgets=[1], draws=2), ["block1"])
    more = cells(LinearOptions(label_budgets=[1, 5], draws=3), ["block1", "block2"])
    assert set(few) < set(more)


def test_the_controls_of_fusion_read_no_layer() -> None:
    options = FusionOptions(label_budgets=["all"], fuse=["concat", "cross_attention"], partner="conv_nano")
    assert cells(options, ["enc1", "enc2"]) == [
        Cell("all", 0, layer, fuse) for fuse in ("concat", "cross_attention") for layer in ("enc1", "enc2")
    ]
    assert [cell.fuse for cell in control_cells(options, [16])] == [
        *(PARTNER_ONLY, "second_partner", "pixels_pca_16"),
        *("partner_only_cross_attention", "second_partner_cross_attention"),  # a PCA has no positions
    ]
    assert {cell.layer for cell in control_cells(options, [16])} == {NO_LAYER}


@pytest.mark.parametrize(
    ("name", "join"),
    [
        ("concat", Join(None, "concat")),
        ("cross_attention", Join(None, "cross_attention")),
        ("partner_only", Join("partner_only", "concat")),
        ("second_partner_gated", Join("second_partner", "gated")),
        ("pixels_pca_16", Join("pixels_pca", "concat", 16)),
        ("pixels_pca_16_cross_attention", Join("pixels_pca", "cross_attention", 16)),
    ],
)
def test_a_join_has_one_name(name: str, join: Join) -> None:
    assert join.name == name
    assert Join.parse(name) == join
    for wrong in (f"{name}_", f"{name}s", name.upper(), ""):
        with pytest.raises(ValueError, match="names no fusion"):
            Join.parse(wrong)


def test_learning_rates_of_fusion_follow_what_is_trained() -> None:
    assert FusionOptions().rates() == (3e-4, 1e-3, 3e-3)
    assert FusionOptions(train_partner=True).rates() == (1e-4,)  # as published
    assert FusionOptions(lr=0.5, lr_grid=[0.1]).rates() == (0.1, 0.5)
    assert [FusionOptions(head=head).exact("concat") for head in ("linear", "mlp")] == [True, False]
    assert not FusionOptions().exact("gated")


def test_finetuning_has_one_layer() -> None:
    assert {cell.layer for cell in cells(FinetuneOptions(), ["block1", "block2"])} == {"last"}
    with pytest.raises(ValidationError, match="last"):
        FinetuneOptions(layers=["block1"])


def test_value_options_leave_out_what_only_names_cells() -> None:
    one = LinearOptions(label_budgets=[1], draws=2, layers=["1"], methods=("mae",))
    assert one.value_options() == LinearOptions().value_options()
    assert one.value_options() != LinearOptions(c_default=2.0).value_options()
    assert "fuse" not in FusionOptions().value_options()


def test_defaults_are_candidates() -> None:
    assert 0.3 in LinearOptions(c_default=0.3).candidates()
    assert FinetuneOptions(lr=0.5, lr_grid=(0.1,)).candidates() == (0.1, 0.5)
    assert KnnOptions(k_default=5, k_grid=(1, 10)).candidates(3) == (1, 3)


def test_planning_needs_no_torch() -> None:
    code = "import sys, bench.study.protocols; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
