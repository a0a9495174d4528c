from __future__ import annotations

import pytest

from bench.engine.cluster import Cluster, preflight
from bench.errors import UserError
from bench.study.spec import Resources

LAPTOP = Cluster("laptop", ({"CPU": 2.0},), ())
SCALING = Cluster("cloud", ({"CPU": 8.0},), ({"CPU": 16.0, "GPU": 4.0},))


@pytest.mark.parametrize(
    ("cluster", "resources"),
    [
        (LAPTOP, Resources()),
        (LAPTOP, Resources(workers=2)),
        (LAPTOP, Resources(cpus_per_worker=2)),
        (SCALING, Resources(gpus_per_worker=1, workers=8)),
    ],
)
def test_what_fits_passes(cluster: Cluster, resources: Resources) -> None:
    preflight(cluster, resources)


@pytest.mark.parametrize(
    ("cluster", "resources", "message"),
    [
        (
            LAPTOP,
            Resources(gpus_per_worker=1),
            "one worker asks for 1 CPU, 1 GPU, but no node offers that; off",
        ),
        (LAPTOP, Resources(cpus_per_worker=3), "one worker asks for 3 CPU, but no node offers that"),
        (LAPTOP, Resources(workers=3), "3 workers ask for 3 CPU together, but the cluster has 2 CPU"),
        (SCALING, Resources(gpus_per_worker=8), "one worker asks for 1 CPU, 8 GPU, but no node offers that"),
    ],
)
def test_what_cannot_be_served_fails_at_once(cluster: Cluster, resources: Resources, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preflight(cluster, resources)


def test_a_cluster_that_grows_is_counted_as_grown() -> None:
    empty = Cluster("cloud", ({"CPU": 0.0},), ({"CPU": 8.0, "GPU": 1.0},) * 3)
    assert (empty.most("CPU"), empty.most("GPU")) == (24.0, 3.0)
    assert (LAPTOP.most("CPU"), LAPTOP.most("GPU")) == (2.0, 0.0)
