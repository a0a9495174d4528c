"""What `bench data label` does: choose images by coverage, write the file to fill in, compare with random choice."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from bench.data.audit.embedding import pixel_embedding
from bench.data.audit.findings import counted
from bench.data.audit.survey import survey
from bench.data.labelling import Pool, check_target, label_pool, mean_distance, random_order, write_open
from bench.data.selection import coverage_order
from bench.engine.data_audit import embed_with
from bench.errors import UserError, unknown
from bench.seeds import named_seed

STRATEGIES = ("coverage", "random")
_RANDOM = 5  # random choices that the choice is compared with


def run_label(
    folder: Path,
    name: str | None,
    budget: int,
    results: Path | None,
    encoder: str | None,
    strategy: str,
    filled: Path | None,
    to: Path,
    seed: int,
    console: Console,
) -> None:
    """Chooses images without a label and writes them as a CSV; prints how well they cover the images.

    Args:
        folder: class folders with an `unlabelled` one beside them, plain images, or a data set of the catalog.
        name: of the reader in the catalog; None recognises the layout.
        budget: number of images; a smaller one gives the first of a larger one.
        results: folder whose best encoder embeds the images; None takes principal components of pixels.
        encoder: key of the pretraining to embed them with.
        strategy: "coverage" (see `bench.data.selection.coverage_order`) or "random".
        filled: CSV of the labels there are so far; None takes those that the folder gives.
        to: file to write.
        seed: of the choice.
        console: where the comparison is shown.

    Raises:
        UserError: a mistake in the arguments, or images that cannot be used.
    """
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES, "--strategy")
    check_target(to)
    pool = label_pool(folder, name, filled)
    points, rows, what = _points(pool, results, encoder)
    candidates, known = np.flatnonzero(pool.open[rows]), points[pool.labelled[rows]]
    if budget > len(candidates):
        raise UserError(f"--budget: {budget} images, but {len(candidates):,} are without a label; valid: 1 to that")
    chosen = _choose(points, candidates, known, budget, strategy, seed)
    write_open([pool.subject.raw.paths[rows[place]] for place in chosen], to)
    console.print(Text(f"{to}: {counted(budget, 'image')} to label, chosen by {strategy}, on {what}; fill in 'label'"))
    reach = mean_distance(points[candidates], np.concatenate([points[chosen], known]))
    others = [random_order(candidates, -1 - number)[:budget] for number in range(_RANDOM)]
    chance = [mean_distance(points[candidates], np.concatenate([points[other], known])) for other in others]
    console.print(f"mean distance to the nearest labelled image: {reach:.3g}; chosen at random: {np.mean(chance):.3g}")


def _points(pool: Pool, results: Path | None, encoder: str | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Points [n, D] of the readable images, their rows among all, and what made them."""
    raw = pool.subject.raw
    embed = embed_with(results, encoder, pool.subject.name)
    seen = survey(raw)
    if not seen.paths:
        raise UserError(f"DIR: none of the {len(raw.paths)} images can be read")
    embedding = pixel_embedding(seen.thumbs) if embed is None else embed(raw, seen.rows)
    return embedding.points.astype(np.float64), seen.rows, embedding.name


def _choose(
    points: np.ndarray, candidates: np.ndarray, known: np.ndarray, budget: int, strategy: str, seed: int
) -> np.ndarray:
    """The candidates that are worth a label most, best first."""
    if strategy == "random":
        return random_order(candidates, seed)[:budget]
    order = coverage_order(points[candidates], named_seed("label coverage", seed), known)
    return candidates[list(itertools.islice(order, budget))]
