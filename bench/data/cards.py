"""What each data set of the catalog is, how large, under which licence, and how to get it (torch-free)."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.data.place import DataPlugin
from bench.data.source import PLACES


class Card(NamedTuple):
    """One line of `bench data list`; the licence is a note, not advice: read the source's own words before use."""

    what: str
    size: str
    licence: str
    how: str


_OWN = "yours"
_LIBRARY = "comes with scikit-learn"
_DOWNLOAD = "downloaded when first used, or data.root"

CARDS: dict[str, Card] = {
    "digits": Card(
        "handwritten digits, 10 classes", "1,797 grey, 8 x 8", "BSD (with scikit-learn), CC BY 4.0 (UCI)", _LIBRARY
    ),
    "fashion_mnist": Card("articles of clothing, 10 classes", "70,000 grey, 28 x 28", "MIT", _DOWNLOAD),
    "cifar10": Card("things and animals, 10 classes", "60,000 RGB, 32 x 32", "none stated by its authors", _DOWNLOAD),
    "eurosat": Card(
        "satellite scenes of land use, 10 classes", "27,000 RGB, 64 x 64", "MIT; Sentinel data notice", _DOWNLOAD
    ),
    "stl10": Card(
        "things and animals, 10 classes, most unlabelled",
        "113,000 RGB, 96 x 96",
        "none stated; of ImageNet images",
        _DOWNLOAD,
    ),
    "infrared_solar": Card(
        "thermal images of solar modules, 12 classes, 57:1",
        "20,000 grey, 24 x 40",
        "MIT",
        "github.com/RaptorMaps/InfraredSolarModules, then data.root",
    ),
    "dubai_aerial": Card(
        "aerial images with masks, 5 classes, 8 tiles",
        "72 RGB, 99 megapixels",
        "CC0, as reported",
        "Humans in the Loop (Kaggle), then data.root",
    ),
    "cmp_facade": Card(
        "house fronts with masks, 12 classes",
        "378 RGB, up to 1024 x 1024",
        "CC BY-SA, as reported",
        "cmp.felk.cvut.cz/~tylecr1/facade (base), then data.root",
    ),
    "oxford_pets": Card("pets with masks, animal or background", "7,349 RGB", "CC BY-SA 4.0", _DOWNLOAD),
    "voc": Card("PASCAL VOC 2012 with masks, 21 classes", "2,913 RGB", "Flickr terms of use", _DOWNLOAD),
    "land_cover": Card("a generated test bed with masks", "600 by default", "generated here", "made when first used"),
    "shape_scenes": Card(
        "a generated test bed for few shots, 20 classes with masks",
        "800 by default",
        "generated here",
        "made when first used",
    ),
    "masks": Card("your images with masks", "any", _OWN, "data.root: images/NAME.jpg with masks/NAME.png"),
    "folder": Card("your images in class folders", "any", _OWN, "data.root: CLASS/IMAGE or train/CLASS/IMAGE"),
    "table": Card("your images named in a table", "any", _OWN, "data.root: a CSV or Parquet file"),
    "coco": Card("your images with COCO annotations", "any", _OWN, "data.root: the folder or the JSON file"),
    "shards": Card("your images in WebDataset shards", "any", _OWN, "data.root: the folder of the .tar files"),
    "hub": Card(
        "images of a Hugging Face data set", "any", "the data set's own", "data.root: its address or its folder"
    ),
}


def card_of(name: str) -> Card:
    """The card of a data set of the catalog, of which at least the name is known."""
    place = PLACES[name]
    if isinstance(place, DataPlugin):
        return Card(*place.card)
    return CARDS.get(name, Card("-", "-", "-", "data.root" if place.folder else "-"))


def show_cards(console: Console) -> None:
    """Prints a line for every data set of the catalog."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for head in ("name", "what", "images", "licence note", "how to get it"):
        table.add_column(head, overflow="fold")
    for name in PLACES:
        table.add_row(name, *card_of(name))
    console.print(table)
