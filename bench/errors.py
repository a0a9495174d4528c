"""The one exception a user should ever see, and how it names what was wrong."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake of the user's: printed as one or two lines without a traceback, exit status 2.

    The message names the key, the offending value and the valid choices.
    """


def unknown(noun: str, value: object, valid: Iterable[str], key: str | None = None) -> UserError:
    """The error for a name that is in no registry.

    Args:
        noun: what kind of name it is ("method", "protocol", "layer").
        value: what was asked for.
        valid: the names that would have been understood.
        key: the path in the study, when there is one ("methods.mae.encoder").
    """
    choices = sorted(valid)
    near = get_close_matches(str(value), choices, n=1)
    where = f"{key}: " if key else ""
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UserError(f"{where}unknown {noun} {value!r}{hint}; valid: {', '.join(choices) or 'none'}")
