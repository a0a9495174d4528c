"""Few-shot networks taken home: they answer new classes as the protocol does, without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from skimage.filters import threshold_otsu

from bench.cli import main
from bench.data.batches import to_float
from bench.data.episodes import Episode, Episodes
from bench.engine.pretrain import ensure_trained
from bench.engine.site import Site
from bench.engine.winner import few_shot, take
from bench.engine.winner.candidate import row_options
from bench.engine.winner.choice import candidates
from bench.engine.winner.few_shot_program import run_onnx
from bench.engine.winner.otsu import traceable
from bench.engine.winner.predict import predict
from bench.errors import UserError
from bench.methods.encoder import load_encoder
from bench.protocols.base import Cell, Evaluation
from bench.protocols.features import Features
from bench.protocols.few_shot import FewShot
from bench.protocols.few_shot_training import Guesses, Thresholds, called, guess
from bench.results.winner import contenders
from bench.seeds import named_seed
from bench.study.methods import METHODS
from tests.engine.winners import asked_outside, card_of, code_blocks, row_of, run_here

ENTRY: dict[str, Any] = {
    "protocol": "few_shot", "folds": [["tree", "building"], ["field", "road"]], "validation_classes": 1, "steps": 12,
    "batch_size": 4, "validation_episodes": 8, "test_episodes": 24, "enhancer_steps": 3,
}  # fmt: skip
STUDY: dict[str, Any] = {
    "study": "take-home-episodes",
    "data": {"name": "land_cover", "images": 120, "image_size": 16},
    "methods": {"random_init": {"encoder": "vit_nano"}},
    "evaluate": [{**ENTRY, "supervision": "pixel", "fold": 0, "ways": 2, "label_budgets": [2], "draws": 2}],
    "seeds": 1,
}
OTHERS = {
    **STUDY,
    "study": "take-home-labels",
    "evaluate": [
        {**ENTRY, "supervision": "image", "label_budgets": [1], "pseudo_threshold": "otsu"},
        {**ENTRY, "supervision": "mixed", "mask_share": 0.2, "fold": 1, "label_budgets": [2]},
    ],
}


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(int(stopped.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("results")
    run_here(root, OTHERS)
    return run_here(root, STUDY)


@pytest.fixture(scope="module")
def winner(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "episodes"
    arguments = ["--study", "take-home-episodes", "--metric", "exact_ratio", "--onnx"]
    with pytest.raises(SystemExit) as stopped:
        main(["weights", "best", "--to", str(folder), "--results", str(site.root), *arguments])
    assert not stopped.value.code
    return folder


def learned(site: Site, card: dict[str, Any]) -> tuple[FewShot, tuple[Any, ...]]:
    """The protocol's own network of the fold that was taken home."""
    row, number = row_of(site, card), card["fold"]["number"]
    folder, _ = ensure_trained(
        site, row["pretrain_key"], row["method"], METHODS[row["method"]](**json.loads(row["options"]))
    )
    encoder, dataset = load_encoder(folder), site.dataset()
    cell = Cell(row["label_budget"], row["draw"], row["layer"], None)
    features, seed = Features({}, dataset.splits.train), named_seed(row["unit_key"])
    judge = FewShot(Evaluation(dataset, lambda: encoder, features, row_options(row), [cell], seed, site.root))
    return judge, judge.learn(number, judge.folds[number], cell.draw)


@pytest.fixture(scope="module")
def pairs(site: Site, winner: Path) -> tuple[FewShot, tuple[Any, ...]]:
    return learned(site, card_of(winner))


def write_images(site: Site, folder: Path, indices: np.ndarray, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in indices:
        Image.fromarray(site.dataset().images.images[index]).save(folder / f"{index:03}{suffix}")


def write_support(site: Site, folder: Path, names: list[str], masks: bool = True) -> np.ndarray:
    """Two images of the test split for each class, one with a mask of 0 and 255: their numbers, int64 [W, 2]."""
    images, found = site.dataset().images, []
    for name in names:
        label = images.class_names.index(name)
        shown = [index for index in site.dataset().splits.test if images.histograms[index, label] > 0][:2]
        write_images(site, folder / name, np.array(shown))
        for index in shown if masks else ():
            mask = 255 * (images.masks[index] == label).astype(np.uint8)
            Image.fromarray(mask).save(folder / name / f"{index:03}_mask.png")
        found.append(shown)
    return np.array(found)


def guesses(judge: FewShot, parts: tuple[Any, ...], names: list[str], support: np.ndarray) -> Guesses:
    """What the protocol says of every test image, asked about these classes."""
    trained, data, _ = parts
    queries, images = judge.splits.test, judge.images
    labels = np.array([images.class_names.index(name) for name in names])
    form = (len(queries), *support.shape)
    present = images.histograms[queries][:, labels] > 0
    episode = Episode(queries, labels[:1], np.broadcast_to(labels, form[:2]), np.broadcast_to(support, form), present)  # type: ignore[arg-type]
    with torch.no_grad():
        return guess(trained.network, data, episode)


def test_it_scores_as_its_row_where_this_package_is_not(
    site: Site, winner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, dataset = card_of(winner), site.dataset()
    row, images = row_of(site, card), dataset.images
    novel = tuple(images.class_names.index(name) for name in card["novel"])
    episodes = Episodes(images.histograms, dataset.splits.test, novel, 2, 2, (dataset.splits.digest, "test", 0))
    asked, calls = [episodes[number] for number in range(24)], []
    for episode in asked:
        masks = images.masks[episode.support] == episode.classes[:, None, None, None]
        support = to_float(images.images[episode.support.reshape(-1)]).unflatten(0, (2, 2)).numpy()
        query = to_float(images.images[[episode.query]]).numpy()
        calls.append({"query": query, "support": support, "support_masks": masks})
    by_torch, _, by_timm = code_blocks(winner)
    found = asked_outside(winner, calls, tmp_path, by_torch, ["presence", "masks", "present", "classes"])
    right, over, under = [], np.zeros(2), np.zeros(2)
    for episode, said in zip(asked, found, strict=True):
        right.append((said["present"][0] == episode.present).all())
        for way, label in enumerate(episode.classes):
            inside, marked = images.masks[episode.query] == label, said["classes"][0] == way + 1
            over[novel.index(label)] += (inside & marked).sum()
            under[novel.index(label)] += (inside | marked).sum()
    assert np.mean(right) == row["exact_ratio"]
    assert np.mean(over / under) == row["miou"]
    by_onnx = run_onnx(winner / "model.onnx", tuple(torch.from_numpy(array) for array in calls[0].values()))
    assert np.allclose(by_onnx[0], found[0]["presence"], atol=1e-3)
    assert np.allclose(by_onnx[1], found[0]["masks"], atol=1e-4)
    monkeypatch.chdir(winner)
    scope: dict[str, Any] = {}
    exec(by_timm, scope)
    assert torch.equal(scope["encoder"].cls_token, load_encoder(winner).backbone.cls_token)
    assert any(name.startswith("network.") for name in scope["head"])


def test_the_card_says_what_it_is(site: Site, winner: Path) -> None:
    card = card_of(winner)
    row = row_of(site, card)
    assert (card["task"], card["novel"], card["fold"]) == ("few_shot", ["tree", "building"], {"number": 0, "of": 1})
    assert card["exported"] == {"exact_ratio": row["exact_ratio"], "miou": row["miou"], "differing": 0}
    assert set(card["files"]) == {"encoder.safetensors", "head.safetensors", "model.onnx", "model.pt2"}
    tried = {one["draw"]: one["validation"] for one in card["candidates"]}
    assert len(tried) == 2
    assert tried[card["row"]["draw"]] == max(tried.values())
    assert not set(card["classes"]) & {"tree", "building"}
    page = (winner / "README.md").read_text()
    for text in (f"| exact ratio | {row['exact_ratio']:.4f} |", f"| mIoU | {row['miou']:.4f} |", "2-way, 2 shots"):
        assert text in page


def test_predictions_are_those_of_the_protocol(
    site: Site, winner: Path, pairs: tuple[FewShot, tuple[Any, ...]], bench: Callable[..., Done], tmp_path: Path
) -> None:
    names = ["building", "tree"]
    support = write_support(site, tmp_path / "support", names)
    write_images(site, tmp_path / "images", site.dataset().splits.test)
    (tmp_path / "images" / "broken.png").write_text("nothing")
    arguments = ["--support", tmp_path / "support", "--to", tmp_path / "out.parquet"]
    done = bench("predict", winner, tmp_path / "images", *arguments)
    assert done.status == 0, done.err
    assert "skipped broken.png: not an image" in done.out
    table, card = pl.read_parquet(tmp_path / "out.parquet"), card_of(winner)
    assert table.columns == ["path", "mask", "present", "p_building", "p_tree", "share_building", "share_tree"]
    assert table["path"].to_list() == [f"{index:03}.png" for index in sorted(site.dataset().splits.test)]
    wanted, chosen = guesses(*pairs, names, support), card["row"]["selected"]
    limits = Thresholds(chosen["presence"], chosen["mask"])
    order = np.argsort(site.dataset().splits.test)
    raw = wanted.presence.double().numpy()[order]
    found = table.select("p_building", "p_tree").to_numpy()
    assert np.allclose(found, 1 / (1 + (1 / raw - 1) ** (1 / card["temperature"])), atol=1e-4)
    said = [[name for name, chance in zip(names, row, strict=True) if chance > limits.presence] for row in raw]
    assert table["present"].to_list() == said
    masks = np.stack([np.asarray(Image.open(tmp_path / name)) for name in table["mask"]])
    assert (masks == called(wanted.masks, limits.mask).numpy()[order] + 1).all()
    shares = table.select("share_building", "share_tree").to_numpy()
    assert np.allclose(shares, [[(mask == number).mean() for number in (1, 2)] for mask in masks])


@pytest.mark.parametrize("supervision", ["image", "mixed"])
def test_image_labels_are_enough_where_masks_are_made(
    site: Site, supervision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_shot, "write_program", lambda model, folder: "left out here")
    contender = next(one for one in contenders(site.root, study="take-home-labels") if supervision in one.entrant)
    take.take_home(site.root, contender, tmp_path / "home", onnx=False, licence="not stated")
    card, names = card_of(tmp_path / "home"), ["building", "field", "road"]
    assert card["exported"]["differing"] == 0
    row = row_of(site, card)
    number, folds = card["fold"]["number"], card["fold"]["of"]
    assert folds == (2 if supervision == "image" else 1)
    details = json.loads(row["details"])
    for metric in ("exact_ratio", "miou"):
        assert card["exported"][metric] == details.get(f"{metric}_fold{number}", row[metric])
    support = write_support(site, tmp_path / "support", names, masks=supervision == "image")
    write_images(site, tmp_path / "images", site.dataset().splits.test)
    answered = predict(tmp_path / "home", tmp_path / "images", tmp_path / "out.parquet", tmp_path / "support")
    assert [note[:22] for note in answered.notes] == (["6 masks in " + repr(str(tmp_path))[:11]] if not number else [])
    wanted = guesses(*learned(site, card), names, support)
    order = np.argsort(site.dataset().splits.test)
    table = pl.read_parquet(tmp_path / "out.parquet")
    masks = np.stack([np.asarray(Image.open(tmp_path / name)) for name in table["mask"]])
    assert (masks == called(wanted.masks, card["thresholds"]["mask"]).numpy()[order] + 1).all()


def test_larger_images_are_asked_about_chip_by_chip(site: Site, winner: Path, tmp_path: Path) -> None:
    write_support(site, tmp_path / "support", ["building", "tree"])
    parts = site.dataset().splits.test[:3]
    write_images(site, tmp_path / "images", parts)
    wide = np.concatenate([site.dataset().images.images[index] for index in parts], axis=1)
    Image.fromarray(wide).save(tmp_path / "images" / "wide.png")
    predict(winner, tmp_path / "images", tmp_path / "out.parquet", tmp_path / "support")
    table = pl.read_parquet(tmp_path / "out.parquet").sort("path")
    masks = {path: np.asarray(Image.open(tmp_path / name)) for path, name in table.select("path", "mask").rows()}
    assert (masks["wide.png"] == np.concatenate([masks[f"{index:03}.png"] for index in parts], axis=1)).all()
    chances = table.select("p_building", "p_tree").to_numpy()
    assert np.allclose(chances[3], chances[:3].max(0), atol=1e-5)


def test_a_network_that_does_not_score_as_its_row_is_not_written(
    site: Site, bench: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(site: Site, contender: Any) -> list[Any]:
        found = candidates(site, contender)
        for one in found:
            details = json.loads(one.row["details"])
            details["item_jackknife"]["miou"][3] += 0.01
            one.row["details"] = json.dumps(details)
        return found

    monkeypatch.setattr(take, "candidates", other)
    done = bench("weights", "best", "--to", tmp_path / "best", "--results", site.root, "--study", "take-home-episodes")
    assert done.status == 1
    assert "answers the test episodes otherwise than row" in done.err
    assert not list(tmp_path.iterdir())


def spoil(support: Path, mistake: str) -> None:
    """One mistake of a user in a support that is right."""
    image, mask = sorted((support / "tree").iterdir())[:2]
    if mistake == "empty":
        (support / "grass").mkdir()
    elif mistake == "unmasked":
        mask.unlink()
    elif mistake == "orphan":
        image.unlink()
    elif mistake == "broken":
        image.write_text("nothing")
    elif mistake == "broken mask":
        mask.write_text("nothing")
    elif mistake == "size":
        Image.fromarray(np.ones((8, 16), np.uint8)).save(mask)
    elif mistake == "blank":
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(mask)
    elif mistake == "large":
        Image.fromarray(np.zeros((20, 16, 3), np.uint8)).save(image)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("empty", "--support: no image of the class 'grass'"),
        ("unmasked", "_mask.png' beside 'tree/"),
        ("orphan", "is the mask of no image"),
        ("broken", "cannot be read: not an image"),
        ("broken mask", "_mask.png' cannot be read: "),
        ("size", "_mask.png' is 8 x 16 pixels, its image 16 x 16"),
        ("blank", "marks no pixel"),
        ("large", "is 20 x 16 pixels; valid: 16 x 16"),
    ],
)
def test_a_support_that_cannot_be_read_is_one_line(
    site: Site, winner: Path, bench: Callable[..., Done], tmp_path: Path, mistake: str, message: str
) -> None:
    write_support(site, tmp_path / "support", ["building", "tree"])
    write_images(site, tmp_path / "images", site.dataset().splits.test[:1])
    spoil(tmp_path / "support", mistake)
    arguments = ["--support", tmp_path / "support", "--to", tmp_path / "out.parquet"]
    done = bench("predict", winner, tmp_path / "images", *arguments)
    assert done.status == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"support", "images"}


def test_a_support_is_asked_for_and_looked_for(site: Site, winner: Path, tmp_path: Path) -> None:
    write_images(site, tmp_path / "images", site.dataset().splits.test[:1])
    (tmp_path / "bare").mkdir()
    told = {
        None: "a few-shot winner is shown its classes",
        tmp_path / "nowhere": "--support: no folder",
        tmp_path / "bare": "--support: no class in",
    }
    for support, message in told.items():
        with pytest.raises(UserError, match=message):
            predict(winner, tmp_path / "images", tmp_path / "out.parquet", support)
    with pytest.raises(UserError, match="would lie in the support"):
        predict(winner, tmp_path / "images", tmp_path / "bare" / "out.parquet", tmp_path / "bare")


@pytest.mark.parametrize("damage", ["thresholds", "head", "settings", "masks"])
def test_a_damaged_winner_is_one_line(site: Site, winner: Path, tmp_path: Path, damage: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(winner, home)
    card = json.loads((home / "card.json").read_text())
    if damage == "thresholds":
        del card["winner"]["thresholds"]
    elif damage == "head":
        (home / "head.safetensors").write_bytes((home / "head.safetensors").read_bytes()[:900])
    elif damage == "settings":
        card["winner"]["head"]["grid"] = [3, 4]
    else:
        card["winner"]["head"]["supervision"] = "mixed"
    (home / "card.json").write_text(json.dumps(card))
    write_images(site, tmp_path / "images", site.dataset().splits.test[:1])
    with pytest.raises(UserError, match="do not fit together"):
        predict(home, tmp_path / "images", tmp_path / "out.parquet", tmp_path)


def test_the_traceable_threshold_is_that_of_scikit_image() -> None:
    numbers = np.random.default_rng(0)
    low, high = numbers.random((2, 200, 12, 12), dtype=np.float32)
    maps = np.where(numbers.random(low.shape) < 0.4, 0.5 + high / 3, low / 2).astype(np.float32)
    maps[0] = 0.25
    wanted = np.array([threshold_otsu(picture) for picture in maps], np.float32)
    found = traceable(torch.from_numpy(maps)).numpy()
    assert found[0] == 0.25
    assert (found == wanted).mean() > 0.98
