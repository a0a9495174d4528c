"""Links from a page to files of the repository that lie outside docs/: the site takes a copy of such a file along.

On a git host `../search_spaces/quickstart.yaml` leads to the file; in the site it leads to `files/search_spaces/...`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_LINK = re.compile(r"\]\(((?:\.\./)+[^)\s#]+)\)")
_PLACE = "files"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds every linked file to the site."""
    root = Path(config.docs_dir).parent
    pages = [file for file in files if file.is_documentation_page()]
    wanted = {name for page in pages for name in _outside(page, root)}
    for name in sorted(wanted):
        files.append(File.generated(config, f"{_PLACE}/{name}", abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links round to the copies."""
    root, here = Path(config.docs_dir).parent, posixpath.dirname(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        name = _repository_name(page.file.src_uri, match[1], root)
        return match[0] if name is None else f"]({posixpath.relpath(f'{_PLACE}/{name}', here or '.')})"

    return _LINK.sub(turned, markdown)


def _outside(page: File, root: Path) -> set[str]:
    names = (_repository_name(page.src_uri, link, root) for link in _LINK.findall(page.content_string))
    return {name for name in names if name is not None}


def _repository_name(page: str, link: str, root: Path) -> str | None:
    """The path in the repository that a page's link leads to; None where it stays in docs/ or leads to no file."""
    name = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if name.startswith(("docs/", "..")) or not (root / name).is_file() else name
