"""The studies published in docs/results: every figure on their pages comes from their rows, here and today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.results.bundle import INDEX_FILE, README_FILE, ROWS_FILE
from bench.results.pool import pool_bundles
from bench.results.pool_text import table
from bench.results.verify import verify

PUBLISHED = Path(__file__).parents[2] / "docs" / "results"
STUDIES = Path(__file__).parents[2] / "search_spaces"
BUNDLES = sorted(index.parent for index in PUBLISHED.rglob(INDEX_FILE))  # of a pooled study, one for each part


def test_there_are_published_studies() -> None:
    assert BUNDLES


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: str(bundle.relative_to(PUBLISHED)))
def test_every_figure_follows_from_the_rows(bundle: Path) -> None:
    assert verify(bundle) == []


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: str(bundle.relative_to(PUBLISHED)))
def test_a_published_study_is_small_listed_and_portable(bundle: Path) -> None:
    assert (bundle / ROWS_FILE).stat().st_size < 1_000_000
    name = bundle.relative_to(PUBLISHED).parts[0]
    assert (STUDIES / f"{name}.yaml").is_file()
    assert f"({name}/{README_FILE})" in (PUBLISHED / README_FILE).read_text(encoding="utf-8")
    for file in bundle.glob("*.json"):
        assert not re.search(r'"/(work|tmp|home|root|Users)/', file.read_text(encoding="utf-8")), file


def test_a_published_pool_follows_from_its_bundles() -> None:
    pooled = {bundle.parent for bundle in BUNDLES} - {PUBLISHED}
    assert pooled
    for folder in pooled:
        assert table(pool_bundles(folder)) in (folder / README_FILE).read_text(encoding="utf-8")
