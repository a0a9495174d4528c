"""Images listed in a table: what it says is what is read, and every mistake is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.catalog import open_dataset
from bench.data.raw import TEST, TRAIN, VALIDATION
from bench.data.source import source_key
from bench.data.tables import read_table
from bench.errors import UserError
from bench.study.spec import DataSpec

Tree = Callable[..., Path]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
CODES = {None: TRAIN, "train": TRAIN, "Val": VALIDATION, "validation": VALIDATION, "TEST": TEST}


@given(
    rows=st.lists(
        st.tuples(st.none() | WORDS, st.none() | WORDS, st.sampled_from(list(CODES))), min_size=1, max_size=20
    ),
    kind=st.sampled_from(["parquet", "csv", "tsv"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_says_what_the_table_says(
    rows: list[tuple[str | None, str | None, str | None]], kind: str, tmp_path: Path
) -> None:
    labels, groups, splits = zip(*rows, strict=True)
    names = [f"a/{index}.png" for index in range(len(rows))]
    table = pl.DataFrame(
        {"split": splits, "path": names, "label": labels, "group": groups}, schema_overrides=dict.fromkeys(
            ("split", "label", "group"), pl.String
        )
    )  # fmt: skip
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path, separator="\t" if kind == "tsv" else ",", quote_style="necessary")
    raw = read_table(path)
    assert raw.paths == tuple(names)
    assert [None if label < 0 else raw.class_names[label] for label in raw.labels] == list(labels)
    assert list(raw.class_names) == sorted(
        {label for label in labels if label is not None},
        key=lambda name: (
            not (name.isascii() and name.isdigit()),
            int(name) if name.isascii() and name.isdigit() else 0,
            name,
        ),
    )
    codes = [CODES[split] for split in splits]
    assert codes == (raw.official.tolist() if raw.official is not None else [TRAIN] * len(rows))
    if raw.groups is None:
        assert not any(group is not None for group in groups)
    else:
        for one in range(len(rows)):
            for other in range(one):
                same = groups[one] is not None and groups[one] == groups[other]
                assert (raw.groups[one] == raw.groups[other]) == same


def listed(tree: Tree, text: str) -> Path:
    path = tree({"ant": 3, "bee": 3}) / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_are_classes_in_their_order_and_spreadsheets_are_read(tree: Tree) -> None:
    raw = read_table(listed(tree, "\ufeffPath; Label \nant/000.png;10\nant/001.png;9\nbee/000.png;\n"))
    assert raw.class_names == ("9", "10")
    assert raw.labels.tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nant/000.png,a\n", "has no column 'path', only file, label; valid: path, label"),
        ("path\nant/000.png\n", "has no column 'label'"),
        ("path,label\n../secret.png,a\n", r"list.csv, row 1, path: '../secret.png' leads out of"),
        ("path,label\n/etc/hosts,a\n", "row 1, path: '/etc/hosts' leads out of"),
        ("path,label\nant/000.png,a\n,b\n", "row 2, path: empty"),
        ("path,label\nant/000.png,a\n./ant/000.png,b\n", "row 2, path: './ant/000.png' stands in row 1 already"),
        ("path,label,split\nant/000.png,a,tset\n", r"row 1, split: unknown split 'tset' \(did you mean 'test'\?\)"),
        ("path,label\n", "names no image"),
        ("", "cannot be read as a table"),
    ],
)
def test_mistakes_are_one_line(tree: Tree, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_table(listed(tree, text))
    assert "\n" not in str(error.value)


def test_links_out_of_the_folder_are_refused(tree: Tree, tmp_path: Path) -> None:
    table = listed(tree, "path,label\nant/link.png,a\n")
    (tmp_path / "secret.png").write_bytes(b"")
    (table.parent / "ant/link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match="is a link out of"):
        read_table(table)


def test_a_file_that_is_not_there_is_named_and_can_be_skipped(tree: Tree, tmp_path: Path) -> None:
    rows = "".join(f"{name}/{index:03d}.png,{name}\n" for name in ("ant", "bee") for index in range(4))
    table = listed(tree, "path,label\n" + rows)
    with pytest.raises(UserError, match=r"2 of 8 images cannot be used: ant/003.png \(not there\)"):
        open_dataset(DataSpec(name="table", root=str(table)), tmp_path / "results")
    spec = DataSpec(name="table", root=str(table), on_error="skip", validation=0.26)
    assert len(open_dataset(spec, tmp_path / "results").images.labels) == 6


def test_the_key_follows_table_and_images(tree: Tree) -> None:
    table = listed(tree, "path,label\nant/000.png,a\nbee/000.png,b\n")
    spec = DataSpec(name="table", root=str(table))
    first = source_key(spec)
    (table.parent / "ant/001.png").unlink()  # not in the table
    assert source_key(spec) == first
    (table.parent / "ant/000.png").write_bytes(b"other")
    second = source_key(spec)
    table.write_text(table.read_text().replace(",b", ",c"))
    assert len({first, second, source_key(spec)}) == 3


def test_unlabelled_images_are_pretrained_on_and_never_judged(tree: Tree, tmp_path: Path) -> None:
    root = tree({"all": 60})
    lines = ["path,label,group"]
    for index in range(60):  # groups of three: two labelled, one not
        label = "" if index % 3 == 2 else "ab"[index // 3 % 2]
        lines.append(f"all/{index:03d}.png,{label},{index // 3}")
    (root / "list.csv").write_text("\n".join(lines))
    data = open_dataset(DataSpec(name="table", root=str(root / "list.csv")), tmp_path / "results")
    splits = data.splits
    assert (splits.labels[splits.train] < 0).any()
    assert (splits.labels[np.concatenate([splits.validation, splits.test])] >= 0).all()
    held = set(splits.groups[np.concatenate([splits.validation, splits.test])].tolist())
    assert held
    assert not held & set(splits.groups[splits.train].tolist())
    assert (splits.labels[splits.budget("5", 0)] >= 0).all()
