"""The audit against planted faults: copies of every kind, leaks, sequences, wrong labels, broken files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from bench.cli import main
from bench.data.audit.audit import Audit, audit
from bench.data.audit.copies import exact_copies
from bench.data.audit.embedding import Embedding, Neighbours
from bench.data.audit.findings import Finding, exit_status
from bench.data.audit.page import audit_page
from bench.data.audit.subject import read_subject
from bench.data.audit.survey import survey
from bench.data.audit.suspicion import class_shares, suspects
from bench.data.cards import CARDS
from bench.data.raw import TEST, TRAIN, RawImages
from bench.data.source import PLACES
from bench.errors import UserError

Make = Callable[..., Path]


def scene(seed: int, side: int = 48) -> Image.Image:
    """A smooth picture, as photographs are."""
    noise = np.random.default_rng(seed).normal(size=(side, side, 3))
    smooth = gaussian_filter(noise, (4, 4, 0))
    low, high = smooth.min(), smooth.max()
    return Image.fromarray(np.rint((smooth - low) * 200 / (high - low) + 10).astype(np.uint8))


@pytest.fixture
def scenes(tmp_path: Path) -> Make:
    """Class folders of distinct pictures."""

    def make(*folders: str, count: int = 12) -> Path:
        root = tmp_path / "set"
        for number, folder in enumerate(folders):
            (root / folder).mkdir(parents=True)
            for index in range(count):
                scene(1000 * number + index).save(root / folder / f"{chr(97 + index)}.png")
        return root

    return make


def audited(root: Path, embed: Callable[..., Embedding] | None = None) -> Audit:
    return audit(read_subject(root), root, embed)


def kinds(found: Audit) -> dict[str, Finding]:
    return {finding.kind: finding for finding in found.findings}


def cases(found: Audit, kind: str) -> set[tuple[str, ...]]:
    return {case.files for case in kinds(found)[kind].cases}


def test_a_clean_set_has_no_errors_or_warnings(scenes: Make) -> None:
    found = audited(scenes("cat", "dog"))
    assert not [finding for finding in found.findings if finding.severity != "note"]
    assert exit_status(found.findings, "warning") == 0
    assert found.facts.classes == {"cat": 12, "dog": 12}
    assert found.facts.sizes == (((48, 48, 3), 24),)


def test_planted_copies_are_found_and_told_apart(scenes: Make) -> None:
    root = scenes("cat", "dog")
    picture = Image.open(root / "cat/a.png")
    shutil.copy(root / "cat/a.png", root / "cat/same_file.png")
    picture.save(root / "cat/same_pixels.bmp")
    Image.open(root / "cat/b.png").save(root / "cat/again.jpg", quality=80)
    ImageEnhance.Brightness(Image.open(root / "cat/c.png")).enhance(1.15).save(root / "cat/brighter.png")
    Image.open(root / "cat/d.png").resize((96, 96), Image.Resampling.BICUBIC).save(root / "cat/larger.png")
    found = audited(root)
    assert cases(found, "identical_files") == {("cat/a.png", "cat/same_file.png")}
    assert cases(found, "identical_pixels") == {("cat/a.png", "cat/same_file.png", "cat/same_pixels.bmp")}
    near = {("cat/again.jpg", "cat/b.png"), ("cat/brighter.png", "cat/c.png"), ("cat/d.png", "cat/larger.png")}
    assert cases(found, "near_duplicates") == near
    assert "conflicting_labels" not in kinds(found)
    assert exit_status(found.findings) == 0
    assert exit_status(found.findings, "warning") == 1


def test_the_fate_of_near_copies_is_said(scenes: Make) -> None:
    root = scenes("cat", "dog", count=30)
    Image.open(root / "cat/a.png").save(root / "cat/z.jpg", quality=80)
    still = np.asarray(Image.open(root / "dog/b.png")).astype(int)
    for frame in range(7):  # 68 images: a split holds 6 together
        Image.fromarray((still + 5 * frame).clip(0, 255).astype(np.uint8)).save(root / f"dog/b{frame}.png")
    finding = kinds(audited(root))["near_duplicates"]
    assert [case.note for case in finding.cases] == ["cat; kept together", "dog; not kept together"]
    assert "data.duplicates is exact" in finding.advice
    subject = read_subject(root)
    published = kinds(audit(subject._replace(name="eurosat"), root))["near_duplicates"]
    assert [case.note for case in published.cases] == ["cat; not kept together", "dog; not kept together"]
    assert "data.duplicates=near" in published.advice
    codes = np.array([TEST if path == "cat/z.jpg" else TRAIN for path in subject.raw.paths], np.int8)
    given = kinds(audit(subject._replace(raw=replace(subject.raw, official=codes)), root))["near_duplicates"]
    assert given.cases[0].note == "cat; parted by the given splits"


def test_copies_with_two_labels_are_an_error(scenes: Make) -> None:
    root = scenes("cat", "dog")
    shutil.copy(root / "cat/a.png", root / "dog/z.png")
    Image.open(root / "cat/b.png").save(root / "dog/y.jpg", quality=80)
    found = audited(root)
    assert kinds(found)["conflicting_labels"].severity == "error"
    assert [case.note for case in kinds(found)["conflicting_labels"].cases] == ["cat, dog"]
    assert cases(found, "conflicting_near_duplicates") == {("cat/b.png", "dog/y.jpg")}
    assert exit_status(found.findings) == 1


def test_leaks_between_given_splits(scenes: Make) -> None:
    root = scenes("train/cat", "train/dog", "test/cat", "test/dog")
    shutil.copy(root / "train/cat/a.png", root / "test/cat/z.png")
    Image.open(root / "train/dog/b.png").save(root / "test/dog/y.jpg", quality=80)
    found = audited(root)
    assert kinds(found)["split_leak"].severity == "error"
    assert cases(found, "split_leak") == {("test/cat/z.png", "train/cat/a.png")}
    assert cases(found, "near_split_leak") == {("test/dog/y.jpg", "train/dog/b.png")}
    assert found.facts.splits == {"train": 24, "validation": 0, "test": 26}


def test_leaks_between_given_groups(scenes: Make) -> None:
    root = scenes("cat", "dog")
    shutil.copy(root / "cat/a.png", root / "cat/z.png")
    subject = read_subject(root)
    groups = np.arange(len(subject.raw.paths))
    apart = audit(subject._replace(raw=_with_groups(subject.raw, groups)), root)
    assert cases(apart, "group_leak") == {("cat/a.png", "cat/z.png")}
    together = audit(subject._replace(raw=_with_groups(subject.raw, groups * 0)), root)
    assert "group_leak" not in kinds(together)


def _with_groups(raw: RawImages, groups: np.ndarray) -> RawImages:
    return replace(raw, groups=groups)


def test_broken_files_are_named_and_the_rest_is_audited(scenes: Make) -> None:
    root = scenes("cat", "dog")
    whole = (root / "cat/a.png").read_bytes()
    (root / "cat/cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "cat/empty.png").write_bytes(b"")
    (root / "cat/text.jpg").write_text("no image")
    (root / "notes.txt").write_text("left alone")
    found = audited(root)
    assert cases(found, "unreadable") == {("cat/cut.png",), ("cat/empty.png",), ("cat/text.jpg",)}
    assert kinds(found)["unreadable"].severity == "error"
    assert found.facts.images == 24
    assert "notes.txt" in kinds(found)["left_alone"].what


def test_frames_of_a_film_are_a_sequence_and_shuffled_ones_are_not(tmp_path: Path) -> None:
    strip = np.asarray(scene(3, 400))
    frames = [strip[: 48 * 2 : 2, 3 * step : 3 * step + 48] for step in range(60)]
    for name, order in (("film", np.arange(60)), ("mixed", np.random.default_rng(0).permutation(60))):
        for label in ("one", "two"):
            (tmp_path / name / label).mkdir(parents=True)
        for number, frame in enumerate(order):
            Image.fromarray(frames[frame]).save(tmp_path / name / "one" / f"frame_{number:03d}.png")
        for index in range(12):
            scene(index).save(tmp_path / name / "two" / f"{chr(97 + index)}.png")
    runs = kinds(audited(tmp_path / "film"))["sequence"].cases
    assert len(runs[0].files) > 20
    assert "sequence" not in kinds(audited(tmp_path / "mixed"))


def test_planted_wrong_labels_are_the_first_suspects() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(300) % 3
    points = generator.normal(size=(300, 2)) + 8 * np.eye(3)[truth][:, :2]
    labels = truth.copy()
    wrong = np.array([0, 10, 20])
    labels[wrong] = (labels[wrong] + 1) % 3
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    near = np.argsort(distances, axis=1)[:, 1:11]
    found = suspects(labels, class_shares(labels, Neighbours(near, np.sort(distances, axis=1)[:, 1:11]), 3))
    assert set(found[: len(wrong)]) == set(wrong)
    assert len(found) < 10


def test_an_embedding_that_knows_the_classes_may_warn(scenes: Make) -> None:
    root = scenes("cat", "dog")
    os.rename(root / "cat/a.png", root / "dog/from_cat.png")

    def embed(raw: RawImages, rows: np.ndarray) -> Embedding:
        cats = np.array([path.startswith("cat") or "from_cat" in path for path in raw.paths])[rows]
        jitter = np.random.default_rng(0).normal(size=(len(rows), 3))
        return Embedding((jitter + 20 * cats[:, None]).astype(np.float32), "an oracle")

    finding = kinds(audited(root, embed))["suspicious_labels"]
    assert finding.severity == "warning"
    assert [case.files for case in finding.cases] == [("dog/from_cat.png",)]
    assert finding.cases[0].note.startswith("labelled dog, neighbours say cat")


def test_imbalance_and_small_classes(scenes: Make) -> None:
    root = scenes("many", count=24)
    (root / "few").mkdir()
    for index in range(2):
        scene(5000 + index).save(root / "few" / f"{index}.png")
    found = kinds(audited(root))
    assert "12:1" in found["imbalance"].what
    assert found["imbalance"].severity == "warning"
    assert "few" in found["small_classes"].what


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources |= {str(value)[:22] for name, value in attrs if name == "src"}


def test_names_are_never_markup_in_the_report(scenes: Make) -> None:
    root = scenes("cat", "dog")
    evil = "<img src=x onerror=alert(1)>&\"'$folder"
    (root / evil).mkdir()
    for name in ("<script>alert(1)<&script>.png", "b.png"):
        shutil.copy(root / "cat/a.png", root / evil / name)
    (root / evil / "broken<b>.png").write_bytes(b"<svg onload=alert(1)>")
    page = audit_page(audited(root))
    seen = _Tags()
    seen.feed(page)
    assert not seen.tags & {"script", "svg", "b", "iframe", "object"}
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert seen.sources == {"data:image/png;base64,"}
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("fault", "options", "status"),
    [("none", [], 0), ("copy", [], 0), ("copy", ["--fail-on", "warning"], 1), ("conflict", [], 1)],
)
def test_exit_statuses_and_reports(
    scenes: Make, tmp_path: Path, fault: str, options: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    root = scenes("cat", "dog")
    if fault != "none":
        shutil.copy(root / "cat/a.png", root / ("cat" if fault == "copy" else "dog") / "z[bold].png")
    files = ["--json", str(tmp_path / "report.json"), "--html", str(tmp_path / "report.html")]
    with pytest.raises(SystemExit) as stop:
        main(["data", "audit", str(root), *options, *files])
    assert stop.value.code == status
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["facts"]["images"] == 24 + (fault != "none")
    assert ("conflicting_labels" in {finding["kind"] for finding in report["findings"]}) == (fault == "conflict")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    shown = capsys.readouterr().out
    assert fault == "none" or "z[bold].png" in shown.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "DIR: no folder 'nowhere'"),
        ([".", "--name", "eurosatt"], "did you mean 'eurosat'"),
        ([".", "--name", "digits"], "digits has no files"),
        ([".", "--fail-on", "never"], "valid: error, warning"),
        ([".", "--encoder", "k"], "name that with --results"),
        ([".", "--html", "nowhere/x.html"], "--html: no folder"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    scenes: Make,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(scenes("cat", "dog"))
    with pytest.raises(SystemExit) as stop:
        main(["data", "audit", *arguments])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_folder_of_unreadable_images_is_a_mistake(tmp_path: Path) -> None:
    for name in ("a/x.png", "b/y.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("none")
    with pytest.raises(UserError, match=r"none of the 2 images .* can be read"):
        audited(tmp_path)


def test_the_published_solar_modules(real_data: Path) -> None:
    """The counts are those of the set's own description: 22 byte-identical pairs, 6 of them with two labels."""
    subject = read_subject(real_data / "InfraredSolarModules")
    assert subject.name == "infrared_solar"
    raw = subject.raw
    data = [(raw.root / path).read_bytes() for path in raw.paths]
    first = {blob: place for place, blob in reversed(list(enumerate(data)))}
    copies = np.array([first[blob] for blob in data])
    again = np.flatnonzero(np.bincount(copies, minlength=len(copies))[copies] > 1)
    part = replace(raw, paths=tuple(raw.paths[row] for row in again), labels=raw.labels[again])
    found = {finding.kind: finding for finding in exact_copies(survey(part))}
    assert len(found["identical_files"].cases) == 22
    assert all(len(case.files) == 2 for case in found["identical_files"].cases)
    assert len(found["conflicting_labels"].cases) == 6


def test_the_catalog_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(PLACES) == set(CARDS)
    main_status(["data", "list"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in PLACES)


def main_status(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)
