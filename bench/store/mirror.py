"""A results store at an address, seen from one machine: a folder here that holds what was read or written of it.

The folder is laid out as any results folder, so that whatever reads one reads this. A file is put at the address before
it takes its name here: what lies here lies there too. What only others have written is here once `sync` has listed it
(tables, manifests, splits) or `fetch` has asked for it.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from bench.errors import UserError
from bench.store.files_digest import is_sound, names_digest
from bench.store.keys import digest_text
from bench.store.quarantine import QUARANTINE, set_aside
from bench.store.remote import Listed, Remote, is_address
from bench.store.whole import beside, settle

FOLDERS = ("rows", "trials", "studies", "data", "splits", "drift")  # what a command lists when it begins
_LOCAL = ("progress", QUARANTINE)  # what is of this machine alone
_FILE_SCHEME = "file://"

_open: dict[Path, Mirror] = {}
