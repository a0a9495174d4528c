"""One trial of a search, in its own process: train on the search seed, score on validation images, keep the record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ray import tune

from bench.engine.pretrain import ensure_trained
from bench.engine.probe import score
from bench.engine.site import Site
from bench.engine.trained import OnEpoch, epoch_hook, train
from bench.engine.trial_record import keep_record, rungs
from bench.methods.base import Method
from bench.methods.encoder import Encoder, load_encoder
from bench.store.artifacts import Artifacts
from bench.store.datasets import DataRecord
from bench.store.secrets import said
from bench.study.plan import Search, TrialRecord, pretrain_key
from bench.study.spec import Study

WORST = -1.0  # what Tune is told of a diverged trial; the record says null


def run_trial(
    config: dict[str, Any], *, study: Study, record: DataRecord, site: Site, searches: Mapping[str, Search]
) -> None:
    """Trains one setting with the proposed nuisances and reports its objective.

    The search seed is never a reported one: the best of several trials flatters the seed it was found on. An error of
    ours is reported as the state `failed`, so that Tune repeats only what the machine broke.
    """
    began = time.perf_counter()
    try:
        search = searches[config["search_key"]]
        _Trial(study, record, site, search, config["number"], config["parameters"]).run()
    except Exception as error:
        report(began, WORST, 0, "failed", said(error))


def report(began: float, value: float, epoch: int, state: str, reason: str | None = None) -> None:
    """Tells Tune where the trial that began then stands."""
    seconds = time.perf_counter() - began
    tune.report({"objective": value, "epoch": epoch, "state": state, "reason": reason, "seconds": seconds})


class _Trial:
    def __init__(
        self, study: Study, record: DataRecord, site: Site, search: Search, number: int, parameters: Mapping[str, Any]
    ) -> None:
        self.study, self.site, self.search = study, site, search
        self.number, self.parameters = number, parameters
        self.options = search.setting.with_nuisances(parameters)
        self.key = pretrain_key(study, record, search.setting, self.options, f"search {study.search.seed}")
        self.curve: list[tuple[float, float]] = []
        self.began = time.perf_counter()

    def run(self) -> None:
        epochs = rungs(self.search) if self.study.search.pruner != "none" else ()
        try:
            status, reason, encoder = self._train(epoch_hook(self._at_rung, epochs))
        finally:  # a pruned trial leaves by SystemExit
            Artifacts(self.site.root).remove("checkpoints", self.key)
        last = getattr(self.options, "epochs", 0)
        value = None if encoder is None else self._score(encoder, last)
        state = "complete" if status == "ok" else "diverged"
        made = TrialRecord(self.number, self.parameters, value, state, time.perf_counter() - self.began)
        keep_record(self.site, self.study, self.search, made, self.curve, reason)
        report(self.began, WORST if value is None else value, last, state, reason)

    def _at_rung(self, epoch: int, method: Method) -> None:
        report(self.began, self._score(method.encoder(), epoch), epoch, "running")

    def _score(self, encoder: Encoder, epoch: int) -> float:
        value = score(encoder, self.site.dataset(), self.study.search.parsed_objective)
        self.curve.append((epoch, value))
        return value

    def _train(self, on_epoch: OnEpoch) -> tuple[str, str | None, Encoder | None]:
        """Status, reason and the trained encoder (None if it diverged)."""
        name = self.search.setting.method
        if self.site.resources.workers:
            folder, trained = ensure_trained(self.site, self.key, name, self.options)
            return trained.status, trained.reason, load_encoder(folder) if trained.status == "ok" else None
        method, result = train(self.site, self.key, name, self.options, on_epoch=on_epoch)
        return result.status, result.reason or None, method.encoder() if result.status == "ok" else None
