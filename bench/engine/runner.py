"""A study from its plan to its rows: what the store lacks is scheduled, nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.data.catalog import open_dataset
from bench.data.source import data_key
from bench.engine.progress import Counts, Progress
from bench.store.artifacts import Artifacts
from bench.store.datasets import DataRecord
from bench.store.files import check_writable
from bench.store.fragments import TABLES, Fragments
from bench.store.mirror import refresh
from bench.study.manifest import trial_records, write_manifest
from bench.study.plan import Plan, Pretraining, Search, TrialRecord, build_plan, pretrainings_of
from bench.study.spec import Study

if TYPE_CHECKING:
    from bench.engine.cluster import Cluster
    from bench.engine.outcome import Outcome
    from bench.engine.tasks import Tasks


_NAMED = 3  # images left out that are named on the screen


@dataclass(frozen=True)
class Summary:
    """How a run ended."""

    study_key: str
    scheduled: int  # pretrainings and trials that were missing when it began
    failed: tuple[Outcome, ...]
    unfinished: Mapping[str, str]  # settings whose search lost a trial, each with the reason


def make_plan(study: Study, root: Path) -> Plan:
    """The plan against this store; reads the images if they were not read before.

    Raises:
        UserError: the data set cannot be read, or cannot serve this study.
    """
    dataset_key = data_key(study.data)
    record = DataRecord.load(root, dataset_key)
    if record is None or Artifacts(root).find("images", record.source_key) is None:
        open_dataset(study.data, root)
        record = DataRecord.load(root, dataset_key)
        assert record is not None  # nosec B101 # for mypy
    return build_plan(study, record, trial_records(root))


def run(study: Study, root: Path, console: Console, address: str | None = None, loggers: Sequence[str] = ()) -> Summary:
    """Runs what the store lacks of a study; a second call schedules nothing.

    Args:
        root: the results folder; made if it does not exist.
        address: of a Ray cluster; None joins the one that runs here, or starts one.
        loggers: names of live loggers, of `bench.engine.loggers`; they change no number and no key.

    Raises:
        UserError: bad data, a request that no node can serve, a folder that cannot be written.
        KeyboardInterrupt: what was finished is in the store.
    """
    check_writable(root)
    if loggers:
        from bench.engine.loggers import check_loggers

        check_loggers(loggers, root)
    _put_damaged_aside(root, console)
    Fragments(root, "rows").check_readable()
    plan = make_plan(study, root)
    _say_left_out(plan.record, console)
    if plan.record.near is not None and (line := plan.record.near.line()):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    present = Fragments(root, "rows").keys()
    todo = [item for item in plan.pretrainings if item.missing(present)]
    searches = [search for search in plan.searches if search.missing]
    if not todo and not searches:
        key = write_manifest(root, plan)
        console.print("nothing to do: every row of this study is in the store", highlight=False)
        return Summary(key, 0, (), {})
    from bench.engine.checks import check_names
    from bench.engine.cluster import connected, preflight
    from bench.engine.loggers import prepare_loggers
    from bench.engine.sharing import check_shared

    check_names(plan)
    prepared = prepare_loggers(loggers, root)
    with connected(address) as cluster:
        console.print(cluster.description, highlight=False)
        preflight(cluster, study.resources)
        check_shared(root)
        key = write_manifest(root, plan)
        return _Run(plan, root, console, cluster, present, key, prepared).run(todo, searches)


def _put_damaged_aside(root: Path, console: Console) -> None:
    """Quarantines damaged fragments and says so: what they held is missing now, and computed again."""
    for table in TABLES:
        for path in Fragments(root, table).quarantine():
            said = f"{table}/{path.name} is damaged: put into quarantine, what it held is computed again"
            console.print(said, highlight=False, markup=False, soft_wrap=True)


def _say_left_out(record: DataRecord, console: Console) -> None:
    """Names the first images that are in no split, and counts the rest."""
    if not record.skipped:
        return
    console.print(f"{record.name}: {len(record.skipped)} images left out", highlight=False, markup=False)
    for path, reason in record.skipped[:_NAMED]:
        console.print(f"  {path}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if len(record.skipped) > _NAMED:
        console.print(f"  and {len(record.skipped) - _NAMED} more, all named in the data record", highlight=False)


class _Run:
    """One sitting of a study on a connected cluster."""

    def __init__(
        self,
        plan: Plan,
        root: Path,
        console: Console,
        cluster: Cluster,
        present: set[str],
        key: str,
        loggers: tuple[str, ...],
    ) -> None:
        from bench.engine.site import Site

        self.plan, self.root, self.key, self.present, self.cluster = plan, root, key, present, cluster
        self.site = Site(root.resolve(), plan.study.data, plan.study.resources, loggers)
        self.console = console

    def run(self, todo: list[Pretraining], searches: list[Search]) -> Summary:
        from bench.engine.tasks import Tasks

        counts = self._counts(todo, searches)
        path = self.root / "progress" / f"{self.key}.json"
        with (
            Progress(self.console, path, self.plan.study.study, counts) as progress,
            Tasks(self.site, self._receiver(progress), self._slots()) as tasks,
        ):
            for pretraining in todo:
                tasks.submit(pretraining, pretraining.missing(self.present))
            unfinished = self._search(searches, progress, tasks) if searches else {}
            failed = tasks.wait()
        refresh(self.root)  # what other nodes wrote
        # The keys behind the searches are known now.
        self.plan = build_plan(self.plan.study, self.plan.record, trial_records(self.root))
        write_manifest(self.root, self.plan)
        return Summary(self.key, counts.total + counts.trials, failed, unfinished)

    def _search(self, searches: list[Search], progress: Progress, tasks: Tasks) -> dict[str, str]:
        from bench.engine.search import run_searches  # Tune is slow to import; the first tasks start meanwhile

        return run_searches(
            self.plan.study,
            self.plan.record,
            self.site,
            searches,
            self._slots(),
            on_trial=lambda search, record: self._on_trial(search, record, progress, tasks),
        )

    def _counts(self, todo: list[Pretraining], searches: list[Search]) -> Counts:
        behind = sum(self.plan.study.seeds if search.setting.options.seeded else 1 for search in searches)
        return Counts(total=len(todo) + behind, trials=sum(len(search.missing) for search in searches))

    def _slots(self) -> int:
        """Trials at once: as many as the scarcest resource allows, once an autoscaler has started what it may."""
        asked = self.plan.study.resources
        workers = max(1, asked.workers)
        slots = int(self.cluster.most("CPU") // (asked.cpus_per_worker * workers))
        if asked.gpus_per_worker:
            slots = min(slots, int(self.cluster.most("GPU") // (asked.gpus_per_worker * workers)))
        return max(1, slots)

    def _on_trial(self, search: Search, record: TrialRecord, progress: Progress, tasks: Tasks) -> None:
        progress.trial(f"{search.setting.label} {_say(record.parameters)}", record.value)
        chosen = search.chosen
        if chosen is None:
            return
        for pretraining in pretrainings_of(self.plan.study, self.plan.record, search.setting, chosen, search.seconds):
            missing = pretraining.missing(self.present)
            if missing:
                tasks.submit(pretraining, missing)
            else:
                progress.unit(pretraining.label, "ok", 0)

    @staticmethod
    def _receiver(progress: Progress) -> Callable[[Outcome], None]:
        lock = threading.Lock()

        def receive(outcome: Outcome) -> None:
            with lock:
                progress.unit(outcome.label, outcome.status, outcome.rows)
                if outcome.status != "ok":
                    progress.log(f"  {outcome.label}: {outcome.status}: {outcome.reason}")

        return receive


def _say(parameters: Mapping[str, Any]) -> str:
    spelled = {name: f"{v:.3g}" if isinstance(v, float) else str(v) for name, v in parameters.items()}
    return " ".join(f"{name}={value}" for name, value in spelled.items())
