"""One pretraining by its key: found in the store, or trained, in this process or by a Ray Train worker group."""

from __future__ import annotations

from pathlib import Path

from bench.engine.site import Site
from bench.engine.trained import Trained, find_trained, keep, train
from bench.study.methods import MethodOptions


def ensure_trained(site: Site, key: str, name: str, options: MethodOptions) -> tuple[Path, Trained]:
    """The encoder of this key, trained now unless the store has it."""
    found = find_trained(site.root, key)
    if found is not None:
        return found
    if options.trains and site.resources.workers:
        from bench.engine.group import train_in_group  # Ray Train is slow to import, and most tasks need none

        train_in_group(site, key, name, options)
    else:
        method, result = train(site, key, name, options)
        keep(site, key, method, result)
    found = find_trained(site.root, key)
    if found is None:
        raise RuntimeError(f"pretraining {key} left no encoder in {site.root}")
    return found
