"""What a file of somebody else's may not do: start a program, fill the memory, name what lies elsewhere."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from bench.data.coco import read_coco
from bench.data.decode import MAX_PIXELS, UnreadableError, decode_file, read_header
from bench.data.folders import read_folder
from bench.data.listing import LINKS, list_files
from bench.data.palette import read_palette
from bench.data.scenes import Scene, cut_scene
from bench.data.shards import read_shards
from bench.data.tables import read_table
from bench.errors import UserError
from bench.study.load import MOST_BYTES, load_study, parse_yaml
from bench.study.spec import DataSpec


def saved(image: Image.Image, format: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def test_a_name_ending_in_png_starts_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(saved(Image.new("RGB", (8, 8)), "EPS"))
    with pytest.raises(UnreadableError, match="not an image"):
        read_header(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match="not an image"):
        decode_file((tmp_path / "a.png").read_bytes(), 8, 3)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    bomb = saved(Image.new("1", (side, side)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(UnreadableError, match="more than the limit"):
        decode_file(bomb, 8, 3)
    (tmp_path / "a.png").write_bytes(bomb)
    scene = Scene("a", tmp_path / "a.png", tmp_path / "a.png", 0)
    (tmp_path / "palette.yaml").write_text("classes: {a: 0, b: 1}")
    assert "more than the limit" in str(cut_scene(scene, read_palette(tmp_path / "palette.yaml"), None, 0, 8, 3))


def test_a_bomb_of_many_bands_is_refused() -> None:
    file = io.BytesIO()
    small = np.zeros((13, 16, 16), np.float64)
    tifffile.imwrite(file, small, photometric="minisblack", planarconfig="separate", compression="zlib")
    content = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as tiff:
        tags = tiff.pages.first.tags
        offsets = [tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
        sizes = [2 if tags[name].dtype == 3 else 4 for name in ("ImageWidth", "ImageLength")]
    for offset, size in zip(offsets, sizes, strict=True):
        content[offset : offset + size] = (8192).to_bytes(size, "little")
    with pytest.raises(UnreadableError, match="MiB"):
        read_header(bytes(content))


def test_a_tiff_of_very_many_pages_is_refused() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for _ in range(300):
            writer.write(np.zeros((1, 2), np.uint8), contiguous=False)
    with pytest.raises(UnreadableError, match="pages"):
        read_header(file.getvalue())


@pytest.mark.parametrize("text", ["a: !!python/object/apply:os.system [id]", "a: !!set {b}", "a: !!binary aGk="])
def test_a_study_names_no_objects(text: str) -> None:
    with pytest.raises(UserError, match="tag"):
        parse_yaml(text, "study")


def test_a_few_lines_do_not_become_billions(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(UserError, match="parts"):
        parse_yaml("\n".join(lines), "study")
    with pytest.raises(UserError, match="levels"):
        parse_yaml("a: &a [*a]", "study")
    assert parse_yaml("a: &a [1, 2]\nb: *a", "study") == {"a": [1, 2], "b": [1, 2]}
    (tmp_path / "study.yaml").write_text("#" * (MOST_BYTES + 1))
    with pytest.raises(UserError, match="bytes"):
        load_study(tmp_path / "study.yaml")


def test_links_out_of_a_data_folder_are_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, other = tmp_path / "data", tmp_path / "other"
    for folder in (root / "cat", root / "dog", other):
        folder.mkdir(parents=True)
        Image.new("L", (8, 8)).save(folder / "a.png")
    (root / "cat" / "linked.png").symlink_to(other / "a.png")
    with pytest.raises(UserError, match=LINKS):
        read_folder(root)
    monkeypatch.setenv(LINKS, "allow")
    assert read_folder(root).paths == ("cat/a.png", "cat/linked.png", "dog/a.png")
    (root / "cat" / "round").symlink_to(root)
    with pytest.raises(UserError, match="is a link to"):
        list_files(root)


def test_a_linked_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "a.tar", "w"):
        pass
    (tmp_path / "shards" / "a.tar").symlink_to(tmp_path / "a.tar")
    with pytest.raises(UserError, match="is a link to"):
        read_shards(str(tmp_path / "shards"))


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "a" * 300 + ".png", "\ud800.png", "C:\\a.png", "a\0.png"])
def test_a_list_names_nothing_elsewhere(name: str, tmp_path: Path) -> None:
    content = {"images": [{"id": 1, "file_name": name}], "annotations": [], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="file_name"):
        read_coco(tmp_path / "a.json")


def test_deep_json_and_strange_types_are_one_line(tmp_path: Path) -> None:
    for text in ("[" * 100_000, '{"images": [{"id": [1], "file_name": "a"}], "annotations": [], "categories": []}'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(UserError, match="cannot be read"):
            read_coco(tmp_path / "a.json")
    for text in ("ignore: 3", "ignore: [0]", "classes: {a: 1, b: 99999999999}", "[" * 200, "? [a]\n: 1"):
        (tmp_path / "p.yaml").write_text(text)
        with pytest.raises(UserError, match=r"data\.palette"):
            read_palette(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_text("classes: {a: 1, b: 2}\nignore: 3")
    with pytest.raises(UserError, match="a list is needed"):
        read_palette(tmp_path / "p.yaml")


def test_a_damaged_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,label,Path \na.png,cat,b.png\n")
    with pytest.raises(UserError, match="cannot be read as a table"):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "root", ["https://me:word@host/a.tar", "https://host/a.tar?X-Amz-Signature=1", "https://host/a.tar?sv=1&sig=2"]
)
def test_an_address_holds_no_secret(root: str) -> None:
    with pytest.raises(ValueError, match="password, signature or token, which manifests"):
        DataSpec(name="shards", root=root)
    assert DataSpec(name="shards", root="s3://bucket/train-{000..012}.tar").root is not None


def test_pickles_are_not_read(tmp_path: Path) -> None:
    from bench.training.checkpoint import read_checkpoint

    (tmp_path / "state.pt").write_bytes(pickle.dumps(yaml.SafeLoader))
    assert read_checkpoint(tmp_path / "state.pt") is None
    (tmp_path / "a.npy").write_bytes(b"")
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        np.load(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "line",
    [
        "scientific: true",
        "nuisance: 3",
        "without: true",
        "evaluate: [{protocol: [linear]}]",
        "evaluate: [{protocol: {}}]",
        "evaluate: [{protocol: linear, label_budgets: null}]",
    ],
)
def test_a_study_of_another_shape_is_one_line(line: str, tmp_path: Path) -> None:
    text = "study: a\ndata: {name: digits}\nmethods: {pixels: {}}\n"
    text += line + ("" if line.startswith("evaluate") else "\nevaluate: [{protocol: linear}]")
    (tmp_path / "study.yaml").write_text(text)
    for overrides in ([], ["mae.lr=1"], ["methods=3", "mae.lr=1"], ["evaluate=3", "evaluate.linear.draws=1"]):
        with pytest.raises(UserError):
            load_study(tmp_path / "study.yaml", overrides)
