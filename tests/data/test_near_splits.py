"""Planted copies of images lie in one part of the split; what is not the user's own keeps its splits and keys."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from rich.console import Console

from bench.console import show_plan
from bench.data.audit.audit import audit
from bench.data.audit.subject import read_subject
from bench.data.catalog import Dataset, open_dataset
from bench.data.source import data_key
from bench.engine.runner import make_plan
from bench.errors import UserError
from bench.store.datasets import OWN, DataRecord, Duplicates
from bench.study.load import find_study, load_study, parse_study
from bench.study.plan import study_key
from bench.study.spec import DataSpec
from tests.data.test_near import pictures

COPIES = 12


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 40 pictures; of 12 each a JPEG copy and a brighter or a scaled one."""
    root = tmp_path_factory.mktemp("planted")
    for seed, label in enumerate(("cat", "dog")):
        (root / label).mkdir()
        for number, pixels in enumerate(pictures(40, 32, seed)):
            image = Image.fromarray(pixels)
            image.save(root / label / f"{number:02d}.png")
            if number < COPIES:
                image.save(root / label / f"{number:02d}_jpeg.jpg", quality=70)
                brighter = ImageEnhance.Brightness(image).enhance(1.2)
                changed = brighter if number % 2 else image.resize((48, 48)).resize((32, 32))
                changed.save(root / label / f"{number:02d}_other.png")
    return root


def opened(root: Path, results: Path, **options: object) -> tuple[Dataset, DataRecord]:
    spec = DataSpec(name="folder", root=str(root), **options)
    dataset = open_dataset(spec, results)
    record = DataRecord.load(results, data_key(spec))
    assert record is not None
    return dataset, record


def parted(dataset: Dataset) -> int:
    """How many pictures have copies in another part of the split."""
    splits = dataset.splits
    parts = [splits.train, splits.validation, splits.test, *([] if splits.upstream is None else [splits.upstream])]
    side = {row: number for number, rows in enumerate(parts) for row in rows.tolist()}
    sides: dict[str, set[int]] = {}
    for row, path in enumerate(dataset.images.paths):
        sides.setdefault(path.split(".")[0].split("_")[0], set()).add(side[row])
    return sum(len(found) > 1 for found in sides.values())


def test_copies_stay_together_by_default_and_leak_without(planted: Path, tmp_path: Path) -> None:
    near, record = opened(planted, tmp_path)
    assert parted(near) == 0
    assert record.near == (6 * COPIES, 2 * COPIES, 0, 0)
    exact, plain = opened(planted, tmp_path, duplicates="exact")
    assert parted(exact) > 5
    assert plain.near is None
    assert len(near.splits.test) == pytest.approx(len(exact.splits.test), abs=3)
    assert parted(opened(planted, tmp_path, upstream=0.5)[0]) == 0
    assert len(list((tmp_path / "artifacts" / "images").iterdir())) == 1  # the images are the same


def test_the_audit_says_what_the_split_does(planted: Path, tmp_path: Path) -> None:
    finding = next(found for found in audit(read_subject(planted), planted).findings if found.kind == "near_duplicates")
    assert len(finding.cases) == 2 * COPIES
    dataset, _ = opened(planted, tmp_path)
    place = {path: row for row, path in enumerate(dataset.images.paths)}
    for case in finding.cases:
        assert case.note.endswith("; kept together")
        assert len({int(dataset.splits.groups[place[path]]) for path in case.files}) == 1


def test_opened_again_it_is_the_same(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, record = opened(planted, tmp_path)
    monkeypatch.setattr("bench.data.catalog.perceptual_hashes", None)  # no image is looked at again
    again, same = opened(planted, tmp_path)
    assert same == record
    np.testing.assert_array_equal(again.splits.groups, first.splits.groups)
    assert again.splits.digest == first.splits.digest
    assert not list(tmp_path.glob("quarantine/*"))


def test_images_that_chain_are_left_apart_and_said(tmp_path: Path) -> None:
    frames = pictures(1, 32)[0].astype(float)
    for number, label in enumerate(("still", "other")):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index, image in enumerate(pictures(40, 32, 9 + number)):
            shown = frames + np.random.default_rng(index).normal(size=frames.shape) if number == 0 else image
            Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8)).save(tmp_path / "set" / label / f"{index}.png")
    dataset, record = opened(tmp_path / "set", tmp_path)
    assert record.near == (0, 0, 40, 1)
    said = record.near.line()
    assert said == (
        "near duplicates: 40 in 1 cluster do not stay on one side of the split: too many hang together (bench data "
        "audit names them; give them groups)"
    )
    assert set(dataset.splits.labels[dataset.splits.test]) == {0, 1}
    assert dataset.splits.digest == opened(tmp_path / "set", tmp_path, duplicates="exact")[0].splits.digest


def test_given_splits_are_kept_as_they_are(planted: Path, tmp_path: Path) -> None:
    for part, numbers in (("train", range(20)), ("val", range(20, 30)), ("test", range(30, 40))):
        for label in ("cat", "dog"):
            (tmp_path / "set" / part / label).mkdir(parents=True)
            for number in numbers:
                (tmp_path / "set" / part / label / f"{number}.png").write_bytes(
                    (planted / label / f"{number:02d}.png").read_bytes()
                )
    for label in ("cat", "dog"):
        (tmp_path / "set" / "test" / label / "z.jpg").write_bytes((planted / label / "03_jpeg.jpg").read_bytes())
    near, record = opened(tmp_path / "set", tmp_path)
    assert record.near is None
    assert near.splits.digest == opened(tmp_path / "set", tmp_path, duplicates="exact")[0].splits.digest


def test_what_is_not_the_users_own_keeps_its_keys(tmp_path: Path) -> None:
    assert data_key(DataSpec(name="digits")) == "a80f4af37bd9b2f353a3c79be25d1752"
    assert data_key(DataSpec(name="digits", duplicates="exact")) == "a80f4af37bd9b2f353a3c79be25d1752"
    assert data_key(DataSpec(name="digits", duplicates="near")) != "a80f4af37bd9b2f353a3c79be25d1752"
    assert open_dataset(DataSpec(name="digits"), tmp_path).splits.digest == "61637d8361c9e28389686b47e6bd78a3"
    assert not any(DataSpec(name=name).keeps_near for name in ("digits", "eurosat", "masks", "land_cover"))
    assert all(DataSpec(name=name).keeps_near for name in OWN)
    plain = load_study(find_study("quickstart"), [])
    assert "duplicates" not in plain.as_json()["data"]
    assert study_key(plain) == study_key(load_study(find_study("quickstart"), ["data.duplicates=exact"]))
    assert study_key(plain) != study_key(load_study(find_study("quickstart"), ["data.duplicates=near"]))


@pytest.mark.parametrize(
    ("asked", "meant"), [("", "near"), (", duplicates: near", "near"), (", duplicates: exact", "exact")]
)
def test_the_manifest_of_own_data_says_what_was_meant(asked: str, meant: str) -> None:
    study = load_study(find_study("quickstart"), [f"data={{name: folder, root: there{asked}}}"])
    written = study.as_json()
    assert written["data"]["duplicates"] == meant
    assert parse_study(written, "written").data.keeps_near == study.data.keeps_near == (meant == "near")


def test_images_with_masks_have_no_near_duplicates(tmp_path: Path) -> None:
    spec = DataSpec(name="land_cover", images=8, image_size=16, duplicates="near")
    with pytest.raises(
        UserError, match=r"data.duplicates: near is for .* land_cover stay together by scene; valid: exa"
    ):
        open_dataset(spec, tmp_path)


def test_the_plan_says_what_stays_together(planted: Path, tmp_path: Path) -> None:
    overrides = [f"data={{name: folder, root: {planted}}}"]
    make_plan(load_study(find_study("quickstart"), overrides), tmp_path)
    shown = io.StringIO()
    show_plan("quickstart", overrides, tmp_path, Console(file=shown, width=100))
    assert "near duplicates: 72 images in 24 clusters stay on one side of the split\n" in shown.getvalue()


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ((0, 0, 0, 0), None),
        ((2, 1, 0, 0), "near duplicates: 2 images in 1 cluster stay on one side of the split"),
        (
            (2000, 900, 300, 2),
            "near duplicates: 2,000 images in 900 clusters stay on one side of the split; 300 in 2 clusters do not: "
            "too many hang together (bench data audit names them; give them groups)",
        ),
    ],
)
def test_counts_in_words(counts: tuple[int, int, int, int], line: str | None) -> None:
    assert Duplicates(*counts).line() == line
