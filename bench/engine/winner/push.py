"""A winner's folder to the Hugging Face hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bench.errors import UserError


def check_repository(name: str) -> None:
    """Raises UserError where this is no name of a repository, or the hub's client is not installed."""
    if find_spec("huggingface_hub") is None:
        raise UserError("--push: needs huggingface_hub; pip install huggingface_hub")
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        name_is_valid = False
    else:
        name_is_valid = name.count("/") == 1
    if not name_is_valid:
        raise UserError(f"--push: {name!r} is no repository; valid: OWNER/NAME")


def push(folder: Path, name: str) -> str:
    """Uploads the folder's files to a model repository, made private where it does not exist; returns its address.

    The token is that of `hf auth login` or the variable HF_TOKEN.

    Raises:
        UserError: the hub refuses, or cannot be reached; the folder stays as it is.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        made = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="A winner of PretextBench")
    except Exception as error:  # which library's errors come out depends on the version of the client
        raise UserError(f"--push: {name!r} was not written: {' '.join(str(error).split())[:300]}") from error
    return str(made)
