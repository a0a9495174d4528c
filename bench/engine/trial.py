"""A stretch of a trial, in its own process: train on the search seed, score on validation images, keep the record."""

from __future__ import annotations

import time

from bench.engine.pretrain import ensure_trained
from bench.engine.probe import score
from bench.engine.slot import Slot, Standing, keep_record, rungs
from bench.engine.trained import OnEpoch, train
from bench.methods.encoder import Encoder, load_encoder
from bench.store.artifacts import Artifacts
from bench.store.secrets import said
from bench.study.plan import TrialRecord, pretrain_key
from bench.training.loop import EpochReport

WORST = -1.0  # what Tune is told of a diverged trial; the record says null


def run_stretch(slot: Slot, before: Standing | None) -> Standing:
    """Trains one setting with the proposed nuisances to its next rung, or to its end, and scores it there.

    The search seed is never a reported one: the best of several trials flatters the seed it was found on. At a rung the
    checkpoint is kept, from which the next stretch goes on, in this process or another. An error of ours is the state
    `failed`, so that Tune repeats only what the machine broke.

    Args:
        before: where the trial stood behind its last stretch; None for the first.
    """
    began = time.perf_counter()
    try:
        return _Trial(slot, before).run()
    except Exception as error:
        return Standing(WORST, 0, "failed", said(error), time.perf_counter() - began)


class _Trial:
    def __init__(self, slot: Slot, before: Standing | None) -> None:
        self.began = time.perf_counter()
        self.slot, self.site, self.study = slot, slot.site, slot.study
        self.options = slot.search.setting.with_nuisances(slot.parameters)
        seed = f"search {slot.study.search.seed}"
        self.key = pretrain_key(slot.study, slot.record, slot.search.setting, self.options, seed)
        self.curve = list(before.curve) if before else []
        self.reached, self.seconds = (before.epoch, before.seconds) if before else (0, 0.0)

    def run(self) -> Standing:
        state = "failed"
        try:
            status, reason, encoder = self._train()
            state = {"ok": "complete", "pruned": "running"}.get(status, status)
        finally:
            if state != "running":
                Artifacts(self.site.root).remove("checkpoints", self.key)
        if state == "running":  # stopped at a rung
            epoch, value = self.curve[-1]
            return self._standing(value, int(epoch), state)
        last = getattr(self.options, "epochs", 0)
        found = None if encoder is None else self._score(encoder, last)
        standing = self._standing(WORST if found is None else found, last, state, reason)
        made = TrialRecord(self.slot.number, self.slot.parameters, found, state, standing.seconds)
        keep_record(self.site, self.study, self.slot.search, made, self.curve, reason)
        return standing

    def _standing(self, objective: float, epoch: int, state: str, reason: str | None = None) -> Standing:
        seconds = self.seconds + time.perf_counter() - self.began
        return Standing(objective, epoch, state, reason, seconds, self.key, tuple(self.curve))

    def _score(self, encoder: Encoder, epoch: int) -> float:
        value = score(encoder, self.site.dataset(), self.study.search.parsed_objective)
        self.curve.append((epoch, value))
        return value

    def _train(self) -> tuple[str, str | None, Encoder | None]:
        """Status, reason and the trained encoder (None unless the training came to its end)."""
        name = self.slot.search.setting.method
        if self.site.resources.workers:
            folder, trained = ensure_trained(self.site, self.key, name, self.options)
            return trained.status, trained.reason, load_encoder(folder) if trained.status == "ok" else None
        method, result = train(self.site, self.key, name, self.options, on_epoch=self._on_epoch())
        return result.status, result.reason or None, method.encoder() if result.status == "ok" else None

    def _on_epoch(self) -> OnEpoch:
        """Scores the encoder and stops at the rungs that are still to come, where the search prunes."""
        prunes = self.study.search.pruner != "none"
        ahead = [rung for rung in rungs(self.slot.search) if rung > self.reached] if prunes else []

        def on_epoch(report: EpochReport) -> bool:
            if report.epoch not in ahead:
                return True
            self._score(report.method.encoder(), report.epoch)
            return False

        return on_epoch
