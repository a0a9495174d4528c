"""Where the files of a data set lie, and what a package says of a data set that it adds (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where the files of a data set lie under its root.

    `folder` is empty for a set that comes with a library or is generated. `published` sets can be downloaded, in one
    known form.
    """

    folder: str
    published: bool = True


@dataclass(frozen=True, kw_only=True)
class DataPlugin(Place):
    """A data set of another package: what an entry point of the group `bench.datasets` names.

    Attributes:
        read: "package.module:function", from a `bench.study.spec.DataSpec` to `bench.data.raw.RawImages`.
        version: raised whenever the same files give other images or labels than before.
        card: what the images are, how many, under which licence, and how to get them, for `bench data list`.
    """

    read: str
    version: int = 1
    card: tuple[str, str, str, str]


def accept_place(name: str, found: Any) -> Place:
    """How the catalog accepts what an entry point names.

    Raises:
        UserError: it is no `DataPlugin`.
    """
    if not isinstance(found, DataPlugin):
        raise UserError(f"the entry point of {name!r} names {found!r}, which is no bench.data.place.DataPlugin")
    return found
