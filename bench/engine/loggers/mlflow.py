"""MLflow: a SQLite file. Look with `mlflow ui --backend-store-uri sqlite:///RESULTS/logs/mlflow/mlflow.db`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.engine.loggers.base import Point, Subject

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "bench"
_KEY = "bench.key"
_MOST = 500  # numbers in one call


class Mlflow:
    """Writes through `mlflow.MlflowClient`, which needs no server; mlflow-skinny is enough."""

    library: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = "loggers"

    def __init__(self, subject: Subject) -> None:
        from mlflow.entities import Param

        self._client = _client(subject.folder)
        experiment = self._client.get_experiment_by_name(EXPERIMENT).experiment_id
        known = self._client.search_runs([experiment], f"tags.`{_KEY}` = '{subject.key}'")
        if known:
            self._run = known[0].info.run_id
            return
        self._run = self._client.create_run(experiment, run_name=subject.label, tags={_KEY: subject.key}).info.run_id
        parameters = [Param(name, str(value)) for name, value in subject.parameters.items()]
        self._client.log_batch(self._run, params=parameters)

    @staticmethod
    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        client = _client(folder)  # makes the tables, which several processes at once could not
        if client.get_experiment_by_name(EXPERIMENT) is None:
            client.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").resolve().as_uri())

    def log(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(point.tag, point.value, now, point.step) for point in points]
        for start in range(0, len(metrics), _MOST):
            self._client.log_batch(self._run, metrics=metrics[start : start + _MOST])

    def close(self) -> None:
        self._client.set_terminated(self._run)


def _client(folder: Path) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder.resolve() / 'mlflow.db'}")
