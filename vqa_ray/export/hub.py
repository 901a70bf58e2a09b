"""The rows and the card of a run as a data set of a Hugging Face hub."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from vqa_ray.errors import RequestError, RunError, one_line
from vqa_ray.storage.filesystem import copy_file, filesystem_for
from vqa_ray.storage.uri import scheme_of
from vqa_ray.training.hub import check_push


def check_repository(name: str) -> str:
    """Check before any work that a data set ORG/NAME can be written.

    Raises:
        RequestError: the name is invalid, or network, token or permission is missing.
    """
    try:
        return check_push(name)
    except RequestError as error:
        raise RequestError(str(error).replace(f"--push-to-hub {name}", f"--output {name}", 1)) from error


def upload(parts: Sequence[str], card: str, repository: str) -> str:
    """Upload part files and the card in one commit; a new repository is private.

    Args:
        parts: URIs of the part files; remote ones are copied into a temporary directory first.
        card: Markdown, the README.md of the data set.
        repository: ORG/NAME.

    Returns:
        The URL of the data set.

    Raises:
        RunError: the hub cannot be reached or refuses the upload.
    """
    import huggingface_hub
    from huggingface_hub import errors

    unreachable: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    hub = huggingface_hub.HfApi()
    with tempfile.TemporaryDirectory() as directory:
        for uri in parts:
            _bring(uri, Path(directory))
        Path(directory, "README.md").write_text(card, "utf-8")
        try:
            made = hub.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
            with warnings.catch_warnings():
                # Uploading data files is intended.
                warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
                hub.upload_folder(
                    repo_id=repository,
                    repo_type="dataset",
                    folder_path=directory,
                    # Files of an earlier upload would be read as rows, too.
                    delete_patterns=["*.parquet"],
                    commit_message="Rows written by vqa-ray",
                )
        except (unreachable, OSError, RuntimeError, ValueError) as error:
            raise RunError(f"upload to {repository}: the hub refused it: {one_line(error, 400)}") from error
    return str(made)


def _bring(uri: str, directory: Path) -> None:
    target = directory / uri.rsplit("/", 1)[-1]
    if scheme_of(uri) != "file":
        copy_file(uri, str(target))
        return
    source = Path(filesystem_for(uri)[1])
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
