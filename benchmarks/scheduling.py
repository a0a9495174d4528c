"""What scheduling costs: trivial units on Ray, and a search of trivial trials.

    python benchmarks/scheduling.py            # 10,000 units; 500 trials in 10 settings
    python benchmarks/scheduling.py --quick    # 300 units; 20 trials in 4 settings

Units: pretrainings that return at once, through `Tasks` (submitted, gathered, received one by one), beside as many
plain Ray tasks got with one `ray.get`. Each carries its plan and the two units of it, as in a study. Trials: of one
number each, through `run_searches` (Tune, one Optuna study a setting, and a task for what a trial does), beside Tune
alone with its own random sampler, reused actors that do it themselves, and the environment that bench gives Ray (no
loggers of Tune's). The sides take turns on one local Ray of as many CPUs as `--cpus`, which is started before and not
timed. The processor seconds are the driver's alone: Ray's processes are no children that end. So the wall seconds are
the ones to compare, on a machine at rest.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench.engine.cluster  # sets what Ray reads when it is imported

# isort: split
import numpy as np
import ray
from pairs import Spent, compare, median_interval, spelled, spent, take_turns, write
from ray import tune
from replan import RECORD, study_of

import bench.engine.search
import bench.engine.tasks
import bench.engine.work
from bench.engine.outcome import Outcome
from bench.engine.site import Site
from bench.engine.slot import Standing
from bench.study.load import parse_study
from bench.study.plan import Pretraining, build_plan
from bench.study.spec import Study

SEEDS = 100  # of a setting of the trivial units
OBJECT_STORE = 200 * 2**20  # bytes, as `bench run` asks for
AIM_MS, AIM_SEARCH = 10.0, 1.2


def trivial_unit(site: Site, pretraining: Pretraining, units: Sequence[Any]) -> Outcome:
    return Outcome(pretraining.label, "ok", None, 0, 0.0)


def trivial_stretch(*given: Any) -> Standing:
    return Standing(0.5, 1, "complete", None, 0.0)


def trivial_trial(config: dict[str, Any]) -> None:
    tune.report({"objective": 0.5, "epoch": 1, "state": "complete", "reason": None, "seconds": 0.0})


def units_through_tasks(site: Site, pretrainings: Sequence[Pretraining]) -> Spent:
    received: list[Outcome] = []

    def run() -> None:
        with bench.engine.tasks.Tasks(site, received.append, 1) as tasks:
            for pretraining in pretrainings:
                tasks.submit(pretraining, pretraining.units)
            tasks.wait()

    found = spent(run)
    if len(received) != len(pretrainings):
        raise RuntimeError(f"{len(received)} of {len(pretrainings)} units came back")
    return found


def plain_tasks(count: int) -> Spent:
    task = ray.remote(lambda number: number)
    return spent(lambda: ray.get([task.remote(number) for number in range(count)]))


def search_study(settings: int, trials: int) -> Study:
    return parse_study(
        {
            "study": "searched",
            "data": {"name": "digits"},
            "methods": {"mae": {"epochs": 1}},
            "scientific": {"mae.mask_ratio": [round(0.1 + 0.8 * number / settings, 4) for number in range(settings)]},
            "nuisance": {"mae.lr": {"loguniform": [1e-4, 1e-1]}},
            "search": {"trials": trials, "sampler": "random", "pruner": "none"},
            "evaluate": [{"protocol": "linear"}],
        },
        "benchmark",
    )


def our_search(study: Study, slots: int, marks: list[list[float]]) -> Spent:
    """Runs the search; adds the seconds until the first trial, from there to the last, and from there to the end."""
    done: list[float] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        searches = build_plan(study, RECORD, {}).searches
        site = Site(Path(folder), study.data, study.resources)
        found = spent(
            lambda: bench.engine.search.run_searches(
                study, RECORD, site, searches, slots, lambda search, record: done.append(time.perf_counter())
            )
        )
        ended = time.perf_counter()
    wanted = sum(search.trials for search in searches)
    if len(done) != wanted:
        raise RuntimeError(f"{len(done)} of {wanted} trials came back")
    marks.append([done[0] - began, done[-1] - done[0], ended - done[-1]])
    return found


def stock_search(trials: int, slots: int) -> Spent:
    def run(storage: str) -> None:
        tune.Tuner(
            tune.with_resources(trivial_trial, {"CPU": 1}),
            param_space={"lr": tune.loguniform(1e-4, 1e-1)},
            tune_config=tune.TuneConfig(
                metric="objective", mode="max", num_samples=trials, max_concurrent_trials=slots, reuse_actors=True
            ),
            run_config=tune.RunConfig(name="search", storage_path=storage, verbose=0),
        ).fit()

    with tempfile.TemporaryDirectory() as folder:
        return spent(lambda: run(folder))


def measure_units(count: int, rounds: int) -> dict[str, Any]:
    seeds = min(count, SEEDS)
    study = study_of(count // seeds, seeds)
    pretrainings = build_plan(study, RECORD, {}).pretrainings
    site = Site(Path(tempfile.gettempdir()), study.data, study.resources)
    units_through_tasks(site, pretrainings[:20])  # the workers import what they need
    plain_tasks(20)
    count = len(pretrainings)
    pairs = take_turns(lambda: units_through_tasks(site, pretrainings), lambda: plain_tasks(count), rounds)
    line = compare(f"{count:,} units", pairs, per=count / 1000, unit="ms a unit")
    each = line["seconds"]["ours"]
    print(f"    {each:.2f} ms a unit; aim at most {AIM_MS:g} ms: {'met' if each <= AIM_MS else 'missed'}", flush=True)
    return {**line, "units": count, "ms": each, "ratio": line["wall"][0], "aim_ms": AIM_MS}


def measure_search(settings: int, trials: int, slots: int, rounds: int) -> dict[str, Any]:
    study = search_study(settings, trials)
    our_search(search_study(1, 2), slots, [])
    marks: list[list[float]] = []
    pairs = take_turns(lambda: our_search(study, slots, marks), lambda: stock_search(settings * trials, slots), rounds)
    line = compare(f"{settings * trials:,} trials, {settings} settings", pairs)
    longer = median_interval([pair.ours.wall / pair.theirs.wall for pair in pairs])
    verdict = "met" if longer[0] <= AIM_SEARCH else "missed"
    first, between, last = np.median(marks, axis=0).tolist()
    print(f"    ours: first trial after {first:.1f} s, the others in {between:.1f} s, end {last:.1f} s behind the last")
    print(f"    the search takes {spelled(longer)} as long as Tune alone; aim at most {AIM_SEARCH}: {verdict}")
    found = {**line, "trials": settings * trials, "longer": longer, "first": first, "between": between, "last": last}
    return {**found, "ratio": line["wall"][0], "aim": 1 / AIM_SEARCH}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 units, 20 trials, 2 rounds")
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=500, help="of all settings together")
    parser.add_argument("--settings", type=int, default=10, help="that the trials are shared out to")
    parser.add_argument("--rounds", type=int, default=6, help="rounds that are timed")
    parser.add_argument("--cpus", type=int, default=min(2, os.cpu_count() or 1), help="of the local Ray")
    parser.add_argument("--only", choices=["units", "search"], default=None)
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    if options.quick:
        options.units, options.settings, options.trials, options.rounds = 300, 4, 20, min(2, options.rounds)
    ray.init(
        address="local",
        num_cpus=options.cpus,
        object_store_memory=OBJECT_STORE,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    bench.engine.work.units, bench.engine.work.stretch = trivial_unit, trivial_stretch
    summary: dict[str, Any] = {"cpus": options.cpus}
    if options.only != "search":
        summary["units"] = measure_units(options.units, options.rounds)
    if options.only != "units":
        each = max(1, options.trials // options.settings)
        summary["search"] = measure_search(options.settings, each, options.cpus, options.rounds)
    write(options.output, summary)


if __name__ == "__main__":
    main()
