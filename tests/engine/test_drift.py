"""Layer drift from kept encoders to a table, and the command that prints it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from bench.cli import main
from bench.data.catalog import open_dataset
from bench.engine.drift import Compared, blocks_to_freeze, held_out, measure_drift
from bench.engine.site import Site
from bench.errors import UserError
from bench.methods.encoder import Encoder, build_encoder, save_encoder
from bench.protocols.cka import Drift
from bench.results.drift import drift_runs
from bench.store.artifacts import Artifacts
from bench.store.drift import DRIFT, read_drift
from bench.store.files import write_json
from bench.study.spec import DataSpec, Resources
from tests.results.noisy import write_noisy

DATA = {"name": "land_cover", "images": 100, "image_size": 16}
BLOCKS = ["enc1", "enc2", "bottleneck", "dec2", "dec1"]
# how far the weights of a kind are from those that all share
APART = {"clean": 0.1, "noise=flip, rate=0.5": 0.14, "noise=flip, rate=1": 0.5, "permuted": 1.0}


def encoder(site: Site, seed: int, share: float, middle: Encoder | None = None) -> Encoder:
    """A network of its own seed, its weights moved from the shared ones by this share of the way."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build_encoder("unet_nano", site.dataset().shape, [0.5] * 3, [0.3] * 3)
    if middle is not None:
        with torch.no_grad():
            for mine, shared in zip(made.parameters(), middle.parameters(), strict=True):
                mine.lerp_(shared, 1 - share)
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("drift")
    key = write_noisy(root, seeds=8)
    path = root / "studies" / f"{key}.json"
    manifest = json.loads(path.read_text())
    manifest["spec"] |= {"data": DATA, "resources": {}}
    write_json(path, manifest)
    open_dataset(DataSpec(**DATA), root)
    site = Site(root, DataSpec(**DATA), Resources())
    runs, middle = drift_runs(root), encoder(site, 0, 1)
    keys = {"clean": runs.clean, "permuted": runs.permuted} | {each.name: each.keys for each in runs.noisy}
    record = {"status": "ok", "reason": None, "seconds": 1.0, "gpu_seconds": 0.0, "images_per_second": 1.0}
    record |= {"losses": [], "device": "cpu", "parameters": 1}
    for place, (kind, share) in enumerate(APART.items()):
        for number, name in enumerate(keys[kind]):
            with Artifacts(root).writing("encoders", name) as folder:
                save_encoder(encoder(site, 10 * place + number + 1, share, middle), folder)
                write_json(folder / "training.json", record)
    return site


def measured(site: Site, images: int = 64) -> pl.DataFrame:
    runs = drift_runs(site.root)
    compared = [Compared(each.keys, {"setting": each.name, "information_loss": 0.5}) for each in runs.noisy]
    return measure_drift(site, runs.clean, runs.permuted, compared, method=runs.method, images=images)


def test_drift_rises_with_the_distance_of_the_weights(site: Site) -> None:
    frame = measured(site)
    assert frame.schema == DRIFT
    for (name,), lines in frame.group_by(["setting"], maintain_order=True):
        assert lines["block"].to_list() == [*BLOCKS, "encoder - decoder"]
        assert lines["part"].to_list() == ["encoder"] * 3 + ["decoder"] * 2 + ["contrast"]
        drifts = lines.filter(pl.col("part") != "contrast")
        assert (drifts["n_noisy"] == 8).all()
        means = drifts.group_by("part").agg(pl.col("drift").mean())
        found = dict(means.iter_rows())
        assert lines["drift"][-1] == pytest.approx(found["encoder"] - found["decoder"]), name
    near, far = (frame.filter(pl.col("setting") == name, pl.col("part") != "contrast") for name in list(APART)[1:3])
    assert (near["drift"].to_numpy() < far["drift"].to_numpy()).all()
    assert (near["drift"] > 0).all()
    assert (near["drift"] < 0.5).all()
    assert near["frozen_blocks"][0] > far["frozen_blocks"][0]
    assert frame.equals(measured(site))


def test_images_are_held_out_and_always_the_same(site: Site) -> None:
    dataset = site.dataset()
    test = dataset.images.images[dataset.splits.test]
    few = held_out(dataset, 5)
    assert torch.equal(few, held_out(dataset, 5))
    assert len(held_out(dataset, 1000)) == len(test)
    scaled = (few.movedim(1, -1) * 255).round().numpy()
    assert all(any(np.array_equal(image, other) for other in test) for image in scaled)


def test_frozen_are_the_first_blocks_known_to_lie_below() -> None:
    ends = {"a": 0.2, "b": 0.4, "c": 0.8, "d": 0.1, "e": np.inf}
    drifts = {name: Drift(0.1, 0.0, high, 0.3, 0.1, 0.5) for name, high in ends.items()}
    assert [blocks_to_freeze(drifts, "abcd", threshold) for threshold in (0.1, 0.3, 0.5, 0.9)] == [0, 1, 2, 4]
    assert blocks_to_freeze(drifts, "ea", 9.0) == 0


def test_a_dropped_encoder_is_named(site: Site, tmp_path: Path) -> None:
    bare = Site(tmp_path, site.data, site.resources)
    with pytest.raises(UserError, match="pretraining nothing: its encoder is no longer in the store"):
        measure_drift(bare, ["nothing"] * 4, ["nothing"] * 4, [], method="noisy_labels")


def test_the_command_prints_both_parts_and_keeps_the_table(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["drift", "--results", str(site.root), "--noisy", "rate=0.5"])
    assert stopped.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "noise=flip, rate=0.5: 21 % of the pixels wrong, 38 % of the information lost" in printed
    assert printed.index("encoder enc1") < printed.index("decoder dec2")
    assert "frozen_blocks: " in printed or "encoder_state: frozen" in printed
    kept = read_drift(site.root, drift_runs(site.root).study.key)
    assert kept is not None
    assert kept["setting"].unique().to_list() == ["noise=flip, rate=0.5"]
