"""What installed packages add to bench: methods, protocols and data sets, found by their entry points."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.errors import UserError

T = TypeVar("T")
Options = TypeVar("Options")

METHOD_GROUP, PROTOCOL_GROUP, DATASET_GROUP = "bench.methods", "bench.protocols", "bench.datasets"
PIECES = ("data", "training", "features")  # what else has a numerical version of its own


@cache
def _points(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by name, as the packages on this path declare them."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, distribution(point))):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def distribution(point: EntryPoint) -> str:
    """The installed package that an entry point comes from, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


class Registry(Mapping[str, T], Generic[T]):
    """Names and what they stand for: what comes with bench in its order, then what packages add.

    The names of plug-ins are read from the packages' metadata; a plug-in is imported when it is asked for by name, and
    when all values are. One that cannot be used is an error then, and disturbs nothing before.
    """

    def __init__(
        self,
        group: str,
        built_in: Mapping[str, T],
        accept: Callable[[str, Any], T],
        taken: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """Imports nothing.

        Args:
            group: of the entry points.
            built_in: what comes with bench.
            accept: makes a value of the name and the object that an entry point names, or raises what is wrong.
            taken: names that a plug-in cannot have, beside those built in.
        """
        self.group, self.built_in = group, built_in
        self._accept, self._taken = accept, taken
        self._loaded: dict[tuple[EntryPoint, ...], T] = {}

    def __getitem__(self, name: str) -> T:
        """What the name stands for.

        Raises:
            KeyError: no such name.
            UserError: a plug-in of this name that cannot be used; the message names its package.
        """
        points = self._found.get(name, ())
        if not points:
            return self.built_in[name]
        if points not in self._loaded:
            self._loaded[points] = self._load(points)
        return self._loaded[points]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.built_in, *self._found]))

    def __len__(self) -> int:
        return len({*self.built_in, *self._found})

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._found

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names that packages add."""
        return tuple(self._found)

    @property
    def _found(self) -> Mapping[str, tuple[EntryPoint, ...]]:
        return _points(self.group, tuple(sys.path))

    def _load(self, points: tuple[EntryPoint, ...]) -> T:
        first = points[0]
        where = f"plug-in {first.name!r} ({self.group}) of {' and '.join(distribution(point) for point in points)}"
        if len(points) > 1:
            raise UserError(f"{where}: one name for two plug-ins; uninstall one of the packages")
        if first.name in self.built_in or first.name in self._taken():
            raise UserError(f"{where}: bench has this name already; rename the plug-in or uninstall the package")
        try:
            return self._accept(first.name, first.load())
        except UserError as error:
            raise (error if str(error).startswith("plug-in ") else UserError(f"{where}: {error}")) from error
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UserError(f"{where}: it cannot be imported ({reason}); mend or uninstall the package") from error


def options_of(base: type[Options], attributes: tuple[str, ...]) -> Callable[[str, Any], type[Options]]:
    """How a registry accepts classes of options: subclasses of `base`, of its own name, that have these attributes."""

    def accept(name: str, found: Any) -> type[Options]:
        if not (isinstance(found, type) and issubclass(found, base)):
            raise UserError(f"the entry point names {found!r}, which is no subclass of {base.__name__}")
        missing = [attribute for attribute in attributes if not getattr(found, attribute, None)]
        if missing:
            raise UserError(f"{found.__name__} lacks the class attributes {', '.join(missing)}")
        if vars(found).get("name") != name:
            raise UserError(f"{found.__name__}.name must be {name!r}, as the entry point says")
        return found

    return accept


def source_files(options: type[Any]) -> tuple[Path, ...]:
    """The source of a plug-in: of its options and of its implementation, with all that lies in their packages.

    Args:
        options: class with an `implementation`; nothing is imported but the packages that hold its module.
    """
    modules = (options.__module__, str(options.implementation).partition(":")[0])
    files = {file for module in modules for file in _files(module)}
    return tuple(sorted(files))


def _files(module: str) -> Iterable[Path]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ()
    file = Path(spec.origin)
    return file.parent.rglob("*.py") if spec.submodule_search_locations or "." in module else (file,)
