"""Objects by name, imported when they are asked for: a process loads what its work needs, and none of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def load_reference(reference: str) -> Any:
    """The object that "package.module:name" names."""
    return EntryPoint(name="", value=reference, group="").load()


class References(Mapping[str, T], Generic[T]):
    """Names and the objects that stand behind "package.module:name" each; going through the names imports nothing."""

    def __init__(self, references: Mapping[str, str]) -> None:
        self._references = dict(references)
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            self._loaded[name] = load_reference(self._references[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)

    def named(self, value: Any) -> str:
        """The name that stands for a class or function.

        Raises:
            KeyError: none does.
        """
        wanted = f"{value.__module__}:{value.__qualname__}"
        for name, reference in self._references.items():
            if reference == wanted:
                return name
        raise KeyError(wanted)

    def __contains__(self, name: object) -> bool:
        return name in self._references
