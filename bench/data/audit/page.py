"""The report of an audit as one HTML file with pictures: nothing is loaded from elsewhere, no name is markup."""

from __future__ import annotations

import base64
import io
from html import escape
from string import Template

from PIL import Image

from bench.data.audit.audit import Audit
from bench.data.audit.findings import Case, Finding, counted
from bench.data.audit.survey import decode_whole, picture_of, read_bytes
from bench.data.decode import UnreadableError
from bench.data.raw import RawImages

CASES = 24  # of a finding that are shown
FILES = 8  # of a case that are shown
SIDE = 96  # of a picture, in pixels

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Audit of $folder</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c1c1c; }
h2 { border-top: 1px solid #ccc; padding-top: 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { border-bottom: 1px solid #ddd; padding: .2rem .8rem; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.error { color: #a40e26; } .warning { color: #8a5a00; } .note { color: #2b5c8a; }
.case { display: flex; flex-wrap: wrap; gap: .6rem; align-items: flex-end; margin: .8rem 0; }
.case > p { flex-basis: 100%; margin: 0; color: #555; }
figure { margin: 0; width: 8.5rem; }
figcaption { font-size: 11px; overflow-wrap: anywhere; color: #555; }
img { image-rendering: pixelated; max-width: 96px; max-height: 96px; min-width: 48px; }
</style>
</head>
<body>
<h1>Audit of $folder</h1>
<p>$summary</p>
$tables
$findings
</body>
</html>
""")


def audit_page(audit: Audit) -> str:
    """The page: counts, then each finding with pictures of its first cases."""
    place = {path: row for row, path in enumerate(audit.raw.paths)}
    sections = "\n".join(_section(finding, audit.raw, place) for finding in audit.findings)
    return _PAGE.substitute(
        folder=escape(audit.folder),
        summary=escape(
            f"{audit.facts.images:,} images, read as {audit.reader}; embedding: {audit.embedding}. "
            f"Findings: {len(audit.findings)}."
        ),
        tables=_tables(audit),
        findings=sections or "<p>Nothing was found.</p>",
    )


def _tables(audit: Audit) -> str:
    facts = audit.facts
    sizes = {f"{size[0]} x {size[1]}, {counted(size[2], 'channel')}": count for size, count in facts.sizes[:10]}
    classes = facts.classes | ({"unlabelled": facts.unlabelled} if facts.unlabelled else {})
    tables = {"class": classes, "size": sizes, "split": facts.splits}
    return "\n".join(_table(head, counts) for head, counts in tables.items() if counts)


def _table(head: str, counts: dict[str, int]) -> str:
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="number">{count:,}</td></tr>' for name, count in counts.items()
    )
    return f"<table><tr><th>{head}</th><th>images</th></tr>{rows}</table>"


def _section(finding: Finding, raw: RawImages, place: dict[str, int]) -> str:
    cases = "\n".join(_case(case, raw, place) for case in finding.cases[:CASES])
    hidden = len(finding.cases) - CASES
    more = f"<p>and {hidden:,} more; the JSON report names them all.</p>" if hidden > 0 else ""
    return (
        f'<h2><span class="{finding.severity}">{finding.severity}</span>: {escape(finding.what)}</h2>\n'
        f"<p>{escape(finding.advice)}</p>\n{cases}{more}"
    )


def _case(case: Case, raw: RawImages, place: dict[str, int]) -> str:
    figures = "".join(_figure(path, raw, place) for path in case.files[:FILES])
    hidden = len(case.files) - FILES
    note = case.note + (f" (and {hidden:,} more files)" if hidden > 0 else "")
    return f'<div class="case"><p>{escape(note)}</p>{figures}</div>'


def _figure(path: str, raw: RawImages, place: dict[str, int]) -> str:
    source = _picture(raw, place[path]) if path in place else None
    image = "" if source is None else f'<img alt="" src="{source}">'
    return f"<figure>{image}<figcaption>{escape(path)}</figcaption></figure>"


def _picture(raw: RawImages, row: int) -> str | None:
    """A small copy as a data address; None where the image cannot be read."""
    try:
        picture = picture_of(raw.pixels[row] if raw.pixels is not None else decode_whole(read_bytes(raw, row)))
    except (UnreadableError, OSError):
        return None
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
