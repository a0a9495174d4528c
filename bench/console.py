"""What the commands print."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.errors import UserError, unknown
from bench.store.datasets import shown_name
from bench.store.mirror import mirror_of, place_of
from bench.study.expand import expand
from bench.study.load import find_study, load_study
from bench.study.partners import partner_settings
from bench.study.plan import Plan, build_plan, trials_of
from bench.study.spec import Study

if TYPE_CHECKING:
    from bench.results.view import View

TABLE = "table"


def run_and_show(
    study: str | None,
    overrides: Sequence[str],
    root: Path,
    console: Console,
    address: str | None,
    loggers: Sequence[str] = (),
) -> int:
    """Runs a study, prints its leaderboard and where the files are; returns the exit status."""
    began = time.perf_counter()
    resolved = load_study(find_study(study), overrides)
    console.print(f"[bold]{resolved.study}[/]  {' '.join(resolved.description.split())}", highlight=False)
    from bench.engine.runner import run
    from bench.results.view import View

    summary = run(resolved, root, console, address, loggers)
    show_leaderboard(root, View(study=summary.study_key), console)
    _where(root, console)
    console.print(f"{time.perf_counter() - began:.0f} s", highlight=False, style="dim")
    for outcome in summary.failed:
        console.print(f"failed: {outcome.label}: {outcome.reason}", style="red", highlight=False, markup=False)
    for setting, reason in summary.unfinished.items():
        console.print(f"failed: a trial of {setting}: {reason}", style="red", highlight=False, markup=False)
    if summary.failed or summary.unfinished:
        console.print("run the same command again to try what failed once more", highlight=False)
        return 1
    return 0


def _where(root: Path, console: Console) -> None:
    for table in ("rows", "trials"):
        if (root / table).is_dir():
            console.print(f"{table}: {place_of(root)}/{table}/*.parquet", highlight=False, style="dim", soft_wrap=True)


def show_leaderboard(root: Path, view: View, console: Console, form: str = TABLE) -> None:
    """Prints what the view asks for, as a table or in another format of `bench.results.view`."""
    from bench.api import current_code
    from bench.results.claim_words import claim_lines
    from bench.results.render import print_board
    from bench.results.view import FORMATS, show

    if form not in (TABLE, *FORMATS):
        raise unknown("format", form, (TABLE, *FORMATS), "--format")
    found = show(root, view, current_code())
    if form != TABLE:
        sys.stdout.write(FORMATS[form](found))
        return
    for shown in found:
        console.print()
        print_board(shown.board, console, everyone=view.everyone, groups=shown.groups)
        for lines in (claim_lines(shown.claims), shown.shares):
            for line in ["", *lines] if lines else []:
                console.print(line, highlight=False, markup=False)
    console.print()


def verify_lines(bundle: Path) -> tuple[bool, list[str]]:
    """Whether a bundle is what it says, and that in words: one line, or one for each difference."""
    from bench.results.verify import verified

    return verified(bundle)


def show_comparison(before: Path, after: Path, metric: str | None, console: Console) -> None:
    """Prints how the scores of two bundles differ, and why they may."""
    from bench.results.compare import compare_bundles
    from bench.results.compare_table import comparison_table

    console.print(comparison_table(compare_bundles(before, after, metric=metric)))


def show_plan(study: str | None, overrides: Sequence[str], root: Path, console: Console) -> None:
    """Prints what a study would compute, and starts nothing."""
    from bench.data.source import data_key
    from bench.store.datasets import DataRecord
    from bench.study.manifest import trial_records

    resolved = load_study(find_study(study), overrides)
    record = DataRecord.load(root, data_key(resolved.data))
    console.print(f"[bold]{resolved.study}[/] on {shown_name(resolved.data.name)}", highlight=False)
    if record is None:
        console.print(_unread_table(resolved))
        console.print("rows, cache hits and time: unknown until the images are read", highlight=False)
    else:
        _show_known(build_plan(resolved, record, trial_records(root)), root, console)
    _show_resources(resolved, console)


def _unread_table(study: Study) -> Table:
    table = _plan_columns("setting", "trials", "pretrainings")
    for setting in [*expand(study), *partner_settings(study)]:
        trials = trials_of(study, setting) if setting.nuisances else 0
        table.add_row(escape(setting.label), _count(trials), str(study.seeds if setting.options.seeded else 1))
    return table


def _show_known(plan: Plan, root: Path, console: Console) -> None:
    from bench.store.fragments import Fragments
    from bench.study.estimate import estimate

    if plan.record.near is not None and (line := plan.record.near.line()):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    present = Fragments(root, "rows").keys()
    console.print(_known_table(plan, present))
    keys = plan.row_keys()
    hits = sum(key in present for key in keys)
    behind = ", more behind the searches" if any(search.missing for search in plan.searches) else ""
    console.print(f"{hits:,} of {len(keys):,} rows are in the store{behind}", highlight=False)
    guess = estimate(plan, root, present)
    if guess.seconds:
        console.print(
            f"about {guess.seconds / 60:.1f} minutes of one worker, from what this store measured", highlight=False
        )
    if guess.unknown:
        console.print(f"time of {', '.join(guess.unknown)}: unknown until one was run", highlight=False)
    if not guess.seconds and not guess.unknown:
        console.print("nothing to do", highlight=False)


def _known_table(plan: Plan, present: set[str]) -> Table:
    table = _plan_columns("setting", "trials", "to do", "pretrainings", "to do", "rows to do")
    for item in plan.settings:
        behind = plan.study.seeds if item.setting.options.seeded else 1
        missing = [unit for pretraining in item.pretrainings for unit in pretraining.missing(present)]
        todo = sum(1 for pretraining in item.pretrainings if pretraining.missing(present))
        known = bool(item.pretrainings)
        table.add_row(
            escape(item.setting.label),
            _count(item.search.trials if item.search else 0),
            _count(len(item.search.missing) if item.search else 0),
            str(behind),
            _count(todo) if known else "after the search",
            _count(sum(len(unit.cells) for unit in missing)) if known else "after the search",
        )
    return table


def _plan_columns(first: str, *rest: str) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for name in rest:
        table.add_column(name, justify="right")
    return table


def _show_resources(study: Study, console: Console) -> None:
    asked = study.resources
    where = "in its own process" if asked.workers == 0 else f"in a group of {asked.workers} workers"
    gpus = f" and {asked.gpus_per_worker:g} GPUs" if asked.gpus_per_worker else ""
    console.print(f"each pretraining {where}, {asked.cpus_per_worker} CPUs{gpus} a worker", highlight=False)


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def collect_garbage(root: Path, keep: str, dry_run: bool) -> list[str]:
    """Cleans the store and says what went, a line each."""
    from bench.store.fragments import Fragments
    from bench.store.quota import clean, parse_size
    from bench.store.remote_quota import clean_remote
    from bench.store.whole import sweep_parts

    if not root.is_dir():
        raise UserError(f"--results {root}: no such folder")
    size, mirror = parse_size(keep), mirror_of(root)
    cleaning = clean(root, size, dry_run) if mirror is None else clean_remote(mirror, size, dry_run)
    verb = "would remove" if dry_run else "removed"
    lines = [f"{verb} {artifact.kind}/{artifact.key}  {artifact.size / 1e6:.1f} MB" for artifact in cleaning.removed]
    if not dry_run:
        unfinished = sweep_parts(root)
        lines += [f"removed {unfinished} unfinished files of writers that died"] if unfinished else []
        for table in ("rows", "trials"):
            merged = Fragments(root, table).compact()
            lines += [] if merged is None else [f"merged the fragments of {table} into {merged.name}"]
    return [
        *lines,
        f"{verb} {cleaning.removed_bytes / 1e6:.1f} MB, {cleaning.kept_bytes / 1e6:.1f} MB of artifacts stay",
    ]


def show_options(registry: Mapping[str, type[BaseModel]], console: Console) -> None:
    """Prints every entry of a registry with its options: name, type, default, meaning."""
    for name, options in registry.items():
        console.print(f"[bold]{name}[/]  {(options.__doc__ or '').strip().splitlines()[0]}", highlight=False)
        paper = getattr(options, "paper", None)
        if paper:
            console.print(f"  {paper}", style="dim", highlight=False, markup=False)
        table = Table(box=None, padding=(0, 2, 0, 2), pad_edge=False, show_header=False)
        for field, info in options.model_fields.items():
            table.add_row(field, _default(info), info.description or "")
        console.print(table)
        console.print()


def _default(info: FieldInfo) -> str:
    value = "required" if info.is_required() else str(info.get_default(call_default_factory=True))
    bounds = ", ".join(filter(None, map(_bound, info.metadata)))
    return f"{value}  ({bounds})" if bounds else value


_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of"}


def _bound(bound: object) -> str:
    return " ".join(f"{sign} {getattr(bound, name)}" for name, sign in _BOUNDS.items() if hasattr(bound, name))


def dashboard_command(root: Path, port: int) -> list[str]:
    """The command that serves the dashboard, on the loopback address only."""
    app = Path(__file__).resolve().parents[1] / "dashboards" / "app.py"
    if not app.is_file():
        raise UserError(f"the dashboard is not installed: {app.name} is missing beside the package")
    options = ["--server.port", str(port), "--server.address", "127.0.0.1", "--browser.gatherUsageStats", "false"]
    return [sys.executable, "-m", "streamlit", "run", str(app), *options, "--", "--results", place_of(root)]


def weights_line(root: Path, key: str | None, to: Path, mask: Path | None, backbone: Path | None) -> str:
    """Writes the file that `bench weights` was asked for; returns where and what it is, in one line.

    Raises:
        UserError: neither a key nor a mask with its backbone, or both.
    """
    from bench.engine.weights import apply_weights, write_weights

    if key is not None and mask is None and backbone is None:
        return f"{to}: {write_weights(root, key, to)}"
    if key is None and mask is not None and backbone is not None:
        return f"{to}: {apply_weights(mask, backbone, to)}"
    raise UserError("weights: give either KEY, or --apply MASK with --backbone PATH")
