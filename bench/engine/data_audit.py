"""What `bench data audit` does: the audit, with an encoder's eyes where there is one, and its reports."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from bench.data.audit.audit import Audit, Embed, audit
from bench.data.audit.findings import check_fail_on, exit_status
from bench.data.audit.page import audit_page
from bench.data.audit.subject import read_subject
from bench.data.audit.terminal import show_audit
from bench.errors import UserError


def run_audit(
    folder: Path,
    name: str | None,
    results: Path | None,
    encoder: str | None,
    html: Path | None,
    json_file: Path | None,
    fail_on: str,
    console: Console,
) -> int:
    """Audits a folder, prints what was found, writes the reports that were asked for, and gives the exit status.

    Args:
        folder: class folders, or a data set of the catalog.
        name: of the reader in the catalog; None recognises the layout.
        results: folder whose best encoder embeds the images; None takes principal components of pixels.
        encoder: key of the pretraining to embed them with.
        html: file of the report with pictures.
        json_file: file of the findings.
        fail_on: "error" or "warning".
        console: where the findings are shown.

    Raises:
        UserError: a mistake in the arguments, or images that cannot be audited.
    """
    check_fail_on(fail_on)
    for option, file in (("--html", html), ("--json", json_file)):
        if file is not None and not file.absolute().parent.is_dir():
            raise UserError(f"{option}: no folder {str(file.absolute().parent)!r}")
    subject = read_subject(folder, name)
    found = audit(subject, folder, embed_with(results, encoder, subject.name))
    show_audit(found, console)
    _write(found, html, json_file)
    return exit_status(found.findings, fail_on)


def embed_with(results: Path | None, key: str | None, dataset: str) -> Embed | None:
    """What turns images into points: an encoder of the results, or None where none is asked for or there is none.

    Raises:
        UserError: an encoder is named without results, or the results hold no such one.
    """
    if results is None:
        if key is not None:
            raise UserError(f"--encoder: {key!r} is a pretraining of a results folder; name that with --results")
        return None
    from bench.engine.best_encoder import choose_encoder, embed_images  # torch, which an audit of pixels need not load

    chosen = choose_encoder(results, dataset, key)
    return None if chosen is None else lambda raw, rows: embed_images(chosen, raw, rows)


def _write(found: Audit, html: Path | None, json_file: Path | None) -> None:
    if html is not None:
        html.write_text(audit_page(found), encoding="utf-8")
    if json_file is not None:
        json_file.write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
