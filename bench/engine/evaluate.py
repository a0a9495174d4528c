"""One task of the cluster: make sure of a pretraining, encode once, score every cell that the store lacks."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.engine.loggers import logging_to, score_points
from bench.engine.outcome import Outcome
from bench.engine.pictures import write_answers
from bench.engine.pretrain import ensure_trained
from bench.engine.rows import score_rows, unscored_rows
from bench.engine.site import Site
from bench.engine.trained import Trained
from bench.methods.encoder import Encoder, load_encoder
from bench.methods.inference import Inference, layer_costs
from bench.protocols.base import Evaluation
from bench.protocols.features import Features, encode
from bench.protocols.registry import PROTOCOLS
from bench.seeds import named_seed
from bench.store.fragments import Fragments
from bench.store.quota import clean
from bench.store.secrets import redacted, said
from bench.study.plan import Pretraining, Unit
from bench.study.protocols import NO_LAYER


def run_units(site: Site, pretraining: Pretraining, units: Sequence[Unit]) -> Outcome:
    """Pretrains if the store lacks the encoder, evaluates the units, writes a fragment for each.

    An error inside leaves rows with the status `failed`, which the next run tries again, and never ends the study.
    """
    return _Task(site, pretraining, list(units)).run()


class _Task:
    def __init__(self, site: Site, pretraining: Pretraining, units: list[Unit]) -> None:
        self.site, self.pretraining, self.units = site, pretraining, units
        self.began = time.perf_counter()
        self.rows = 0
        self.trained: Trained | None = None
        self.folder: Path | None = None

    def run(self) -> Outcome:
        try:
            self.site.settle()
            pretraining = self.pretraining
            folder, self.trained = ensure_trained(
                self.site, pretraining.key, pretraining.setting.method, pretraining.options
            )
            if self.trained.status != "ok":
                return self._give_up(self.trained.status, self.trained.reason or "")
            self.folder = folder
            self._evaluate(load_encoder(folder).to(self.site.device).eval())
        except Exception as error:
            return self._give_up("failed", said(error), redacted(traceback.format_exc()))
        clean(self.site.root, int(self.site.resources.features_gb * 1e9), kinds=("features",))
        return Outcome(pretraining.label, "ok", None, self.rows, time.perf_counter() - self.began)

    def _give_up(self, status: str, reason: str, details: str | None = None) -> Outcome:
        fragments = Fragments(self.site.root, "rows")
        for unit in self.units:
            fragments.write(
                unscored_rows(self.site.dataset(), self.pretraining, unit, self.trained, status=status, reason=reason)
            )
        return Outcome(
            self.pretraining.label, status, reason, self.rows, time.perf_counter() - self.began, details=details
        )

    def _evaluate(self, encoder: Encoder) -> None:
        began = time.perf_counter()
        features = self._encode(encoder)
        collapsed = {name: why for name in features.arrays for state, why in [features.status(name)] if state != "ok"}
        ranks = {name: round(features.rank(name), 3) for name in features.arrays}
        read = dict.fromkeys(cell.layer for unit in self.units for cell in unit.cells.values())
        costs = layer_costs(encoder, [layer for layer in read if layer != NO_LAYER])
        share = (time.perf_counter() - began) / len(self.units)
        while self.units:
            self._score(self.units[0], encoder, features, collapsed, ranks, share, costs)
            self.units.pop(0)

    def _encode(self, encoder: Encoder) -> Features:
        """Features of every layer that any of the units reads, in one pass."""
        dataset = self.site.dataset()
        read = [unit for unit in self.units if unit.protocol.reads_features]
        layers = dict.fromkeys(cell.layer for unit in read for cell in unit.cells.values() if cell.layer != NO_LAYER)
        if not layers:
            return Features({}, np.asarray(dataset.splits.train))
        return encode(encoder, dataset, list(layers), self.site.root, self.pretraining.key, device=self.site.device)

    def _score(
        self,
        unit: Unit,
        encoder: Encoder,
        features: Features,
        collapsed: dict[str, str],
        ranks: dict[str, float],
        shared_seconds: float,
        costs: Mapping[str, Inference],
    ) -> None:
        began, started = time.perf_counter(), datetime.now(UTC)
        dataset = self.site.dataset()
        evaluation = Evaluation(
            dataset=dataset,
            encoder=lambda: encoder,
            features=features,
            options=unit.protocol,
            cells=list(unit.cells.values()),
            seed=named_seed(unit.key),
            root=self.site.root,
            device=self.site.device,
            folder=self.folder,
        )
        scores = PROTOCOLS[unit.protocol.name](evaluation)
        frame = score_rows(
            dataset,
            self.pretraining,
            unit,
            self.trained,
            scores,
            started=started,
            seconds=shared_seconds + time.perf_counter() - began,
            collapsed=collapsed,
            ranks=ranks,
            inference=costs,
        )
        if self.folder is not None:
            write_answers(self.folder, scores)
        Fragments(self.site.root, "rows").write(frame)
        self.rows += frame.height
        with logging_to(self.site.loggers, self.site.root, self.pretraining.key, self.pretraining.options) as hand_over:
            hand_over(score_points(frame))
