"""Readers of sets with a class for every pixel: the user's own folder, and published sets in their own layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.data.listing import list_images
from bench.data.palette import Palette, read_palette
from bench.data.raw import TEST, TRAIN, VALIDATION, RawImages
from bench.data.readers import from_root
from bench.data.scenes import Scene, read_scenes
from bench.data.source import PLACES
from bench.errors import UserError, unknown
from bench.study.spec import DataSpec

_PALETTES = ("palette.yaml", "palette.yml", "palette.json")
_SPLITS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST}

DUBAI = Palette(
    {
        "land": (132, 41, 246),
        "water": (226, 169, 41),
        "building": (60, 16, 152),
        "vegetation": (254, 221, 58),
        "road": (110, 193, 228),
    },
    ignore=((0, 0, 0), (155, 155, 155)),
)
_FACADE = "background facade window door cornice sill balcony blind deco molding pillar shop"
_VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
FACADE = Palette({name: number for number, name in enumerate(_FACADE.split(), start=1)})
PETS = Palette({"animal": 1, "background": 2}, ignore=(3,))
VOC = Palette({name: number for number, name in enumerate(_VOC.split())}, ignore=(255,))


def read_masks(spec: DataSpec) -> RawImages:
    """The user's own: `images/NAME.jpg` with `masks/NAME.png`, under the root or under train, val and test in it.

    Raises:
        UserError: a mask is missing, there are no pairs, or no palette says what the mask values mean.
    """
    root = Path(str(spec.root)).expanduser().resolve()
    palette = read_palette(_palette_file(spec, root))
    found = {file.path for file in list_images(root)}
    images = sorted(path for path in found if "images" in Path(path).parts[:2])
    masks = {_stem(path, "masks"): path for path in found if "masks" in Path(path).parts[:2]}
    missing = [path for path in images if _stem(path, "images") not in masks]
    if missing or not images:
        what = f"{len(missing)} images without a mask, such as {missing[0]!r}" if missing else "no images"
        raise UserError(f"data.root: {what} under {str(root)!r}; wanted images/NAME.jpg and masks/NAME.png")
    scenes = [
        Scene(path, root / path, root / masks[_stem(path, "images")], group, _SPLITS.get(Path(path).parts[0].lower()))
        for group, path in enumerate(images)
    ]
    return _read(spec, scenes, palette)


def read_dubai(spec: DataSpec) -> RawImages:
    """Aerial images of Dubai, 72 in 8 tiles, 5 classes; a tile is a group, black and grey are ignored."""
    folder = _folder(spec)
    tiles = sorted(path for path in folder.glob("Tile *") if path.is_dir())
    for name in spec.test_tiles or ():
        if name not in {tile.name for tile in tiles}:
            raise unknown("tile", name, [tile.name for tile in tiles], "data.test_tiles")
    scenes = [
        Scene(
            f"{tile.name}/{image.stem}",
            image,
            tile / "masks" / f"{image.stem}.png",
            group,
            None if spec.test_tiles is None else TEST if tile.name in spec.test_tiles else TRAIN,
        )
        for group, tile in enumerate(tiles)
        for image in sorted((tile / "images").glob("*.jpg"))
    ]
    return _read(spec, scenes, DUBAI)


def read_facade(spec: DataSpec) -> RawImages:
    """CMP facades, 378 rectified house fronts with index masks of 12 classes; no official split."""
    images = sorted((_folder(spec) / "base").glob("*.jpg"))
    scenes = [Scene(image.stem, image, image.with_suffix(".png"), group) for group, image in enumerate(images)]
    return _read(spec, scenes, FACADE)


def read_pets(spec: DataSpec) -> RawImages:
    """Oxford-IIIT Pets: animal against background, the border ignored; the official trainval and test lists."""
    from torchvision.datasets import OxfordIIITPet

    def load(root: Path, download: bool) -> RawImages:
        OxfordIIITPet(root, target_types="segmentation", download=download)  # torchvision fetches, and says what lacks
        folder = root / PLACES[spec.name].folder
        scenes = [
            Scene(name, folder / "images" / f"{name}.jpg", folder / "annotations" / "trimaps" / f"{name}.png", 0, code)
            for part, code in (("trainval", TRAIN), ("test", TEST))
            for name in _names(folder / "annotations" / f"{part}.txt")
        ]
        return _read(spec, _apart(scenes), PETS)

    return from_root(spec, load)


def read_voc(spec: DataSpec) -> RawImages:
    """PASCAL VOC 2012 segmentation: train to train on, val to test on, 21 classes, 255 ignored."""
    from torchvision.datasets import VOCSegmentation

    def load(root: Path, download: bool) -> RawImages:
        scenes = []
        for part, code in (("train", TRAIN), ("val", TEST)):
            found = VOCSegmentation(str(root), year="2012", image_set=part, download=download)
            for image, mask in zip(found.images, found.masks, strict=True):
                scenes.append(Scene(Path(image).stem, Path(image), Path(mask), 0, code))
        return _read(spec, _apart(scenes), VOC)

    return from_root(spec, load)


def _read(spec: DataSpec, scenes: Sequence[Scene], palette: Palette) -> RawImages:
    if not scenes:
        raise UserError(f"data.root: {spec.root!r} holds no images of {spec.name}")
    options = spec.model_dump(include={"chip", "overlap", "image_size", "channels", "on_error"})
    return read_scenes(scenes, palette, **options)


def _apart(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes, each in a group of its own."""
    return [Scene(s.name, s.image, s.mask, group, s.official) for group, s in enumerate(scenes)]


def _folder(spec: DataSpec) -> Path:
    return (Path(str(spec.root)).expanduser() / PLACES[spec.name].folder).resolve()


def _palette_file(spec: DataSpec, root: Path) -> Path:
    if spec.palette is not None:
        return Path(spec.palette).expanduser()
    for name in _PALETTES:
        if (root / name).is_file():
            return root / name
    raise UserError(f"data.palette: none given, and {str(root)!r} holds none of {', '.join(_PALETTES)}")


def _stem(path: str, folder: str) -> str:
    """The path without the folder of its kind and without its suffix: what image and mask share."""
    parts = list(Path(path).with_suffix("").parts)
    parts.remove(folder)
    return "/".join(parts)


def _names(path: Path) -> list[str]:
    return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
