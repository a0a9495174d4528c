"""The audit of one data set: every check on one survey of its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.audit.alike import alike_images
from bench.data.audit.close import close_images
from bench.data.audit.copies import exact_copies, near_copies
from bench.data.audit.embedding import Embedding, neighbours_of, pixel_embedding
from bench.data.audit.facts import Facts, composition, facts_of, unreadable
from bench.data.audit.findings import Finding, counted, ranked
from bench.data.audit.leaks import leaks
from bench.data.audit.sequences import sequences
from bench.data.audit.subject import FOLDER, Subject
from bench.data.audit.survey import Survey, survey
from bench.data.audit.suspicion import suspicious_labels
from bench.data.listing import list_files
from bench.data.raw import RawImages
from bench.errors import UserError

Embed = Callable[[RawImages, np.ndarray], Embedding]  # of the images in these rows


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        folder: as the user named it.
        reader: name in the catalog of what read it.
        facts: counts and sizes.
        embedding: what the embedding is, in words.
        findings: errors first.
        raw: the images, for pictures of what was found.
    """

    folder: str
    reader: str
    facts: Facts
    embedding: str
    findings: tuple[Finding, ...]
    raw: RawImages

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data: counts, and every file of every finding."""
        return {
            "folder": self.folder,
            "reader": self.reader,
            "facts": self.facts.as_json(),
            "embedding": self.embedding,
            "findings": [finding.as_json() for finding in self.findings],
        }


def audit(subject: Subject, folder: Path, embed: Embed | None = None) -> Audit:
    """Looks at every image once and runs every check.

    Args:
        subject: which images there are.
        folder: as the user named it.
        embed: turns the images in some rows into points; None takes principal components of pixels.

    Raises:
        UserError: no image can be read.
    """
    seen = survey(subject.raw)
    if not seen.paths:
        first = f" ({seen.broken[0][0]}: {seen.broken[0][1]})" if seen.broken else ""
        raise UserError(f"DIR: none of the {len(seen.broken)} images under {str(folder)!r} can be read{first}")
    embedding = pixel_embedding(seen.thumbs) if embed is None else embed(subject.raw, seen.rows)
    facts = facts_of(seen)
    findings = ranked([*unreadable(seen), *_checks(seen, facts, embedding, subject.name), *_elsewhere(subject)])
    return Audit(str(folder), subject.name, facts, embedding.name, findings, subject.raw)


def _checks(seen: Survey, facts: Facts, embedding: Embedding, reader: str) -> list[Finding]:
    alike = alike_images(seen, reader)
    found = [*exact_copies(seen), *near_copies(seen, alike), *leaks(seen, alike), *sequences(seen, embedding.points)]
    if len(np.unique(seen.pixels)) > 1:
        neighbours = neighbours_of(embedding.points, seen)
        found += close_images(seen, neighbours, alike.names, embedding.name)
        found += suspicious_labels(seen, neighbours, embedding.name)
    return found + composition(seen, facts)


def _elsewhere(subject: Subject) -> list[Finding]:
    """Files of a folder of classes that no reader would take up."""
    if subject.name != FOLDER:
        return []
    taken = {*subject.raw.paths, *(path for path, _ in subject.raw.left_out)}
    others = [file.path for file in list_files(subject.raw.root) if file.path not in taken]
    if not others:
        return []
    named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    what = f"{counted(len(others), 'file')} lie in no class folder or are no images: {named}"
    return [Finding("left_alone", "note", what, "they take no part in a study")]
