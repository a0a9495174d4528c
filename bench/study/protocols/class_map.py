"""Which classes of the masks a protocol tells apart."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator, model_validator

from bench.errors import UserError, unknown
from bench.study.protocols.options import ProtocolOptions

IGNORED = "ignore"  # the key of a class map whose classes count nowhere


class ClassMapOptions(ProtocolOptions):
    """Of a protocol that is scored on masks: their classes as they are, or as a map puts them together."""

    class_map: dict[str, tuple[str, ...]] | None = Field(
        default=None,
        description="classes to tell apart, each with the classes of the data it is made of; the key 'ignore' holds "
        "those that count nowhere; absent: the classes of the data",
    )

    def targets(self, class_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
        """The classes to tell apart, and for each class of the data the number of its target, None where ignored.

        Those of a map stand in the order of their names: keys and rows keep no order of it.

        Raises:
            UserError: the class map leaves a class of the data out, names one twice or one that is not there.
        """
        if self.class_map is None:
            return tuple(class_names), tuple(range(len(class_names)))
        names = tuple(sorted(name for name in self.class_map if name != IGNORED))
        target_of: dict[str, int | None] = {}
        for name, sources in self.class_map.items():
            for source in sources:
                if source not in class_names:
                    raise unknown("class", source, class_names, f"class_map.{name}")
                if source in target_of:
                    raise UserError(f"class_map.{name}: class {source!r} stands twice")
                target_of[source] = None if name == IGNORED else names.index(name)
        missing = [name for name in class_names if name not in target_of]
        if missing:
            raise UserError(f"class_map: {', '.join(missing)} left out; put it under a class or under {IGNORED!r}")
        return names, tuple(target_of[name] for name in class_names)

    @field_validator("class_map", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        if isinstance(value, dict):
            return {name: (sources,) if isinstance(sources, str) else sources for name, sources in value.items()}
        return value

    @model_validator(mode="after")
    def _map_fits(self) -> ClassMapOptions:
        named = [name for name in self.class_map or () if name != IGNORED]
        if self.class_map is not None and (len(named) < 2 or not all(self.class_map[name] for name in named)):
            raise ValueError("class_map: two classes or more, each with one or more classes of the data")
        return self
