"""Models of a Hugging Face hub, copied into its cache: what is read of them and nothing else. No torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError, one_line
from vqa_ray.models.checkpoint.file_selection import CONFIG
from vqa_ray.models.checkpoint.hub_errors import hub_failure
from vqa_ray.storage.atomic import write_bytes_atomic

# As transformers finds it (its safetensors_conversion.py): an open pull request of this title on top of `main`.
_CONVERSION_TITLE = "Adding `safetensors` variant of this model"
_CONVERSION_BOT = "SFconvertbot"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a repository.

    Attributes:
        name: of the repository.
        revision: a branch, a tag, `refs/pr/N` or a commit.
        files: paths of its files; None where only the local cache is at hand.
        note: how it was chosen, for the user; empty for the revision that was named.
    """

    name: str
    revision: str
    files: tuple[str, ...] | None
    note: str = ""


def find_revision(reference: str, *, pickled: Callable[[Sequence[str]], bool]) -> Revision:
    """Return the revision of a hub reference to read.

    That is the one named, or `main`. Where `main` has pickles alone, and a conversion of it to safetensors lies in a
    pull request of the hub's bot, it is that. Without a network, what is in the local cache.

    Args:
        reference: `org/name[@revision]`.
        pickled: whether the weights among files of these names are pickles.

    Raises:
        ModelLoadError: there is no such repository or revision, it cannot be seen, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, errors

    name, _, given = reference.partition("@")
    api = HfApi()
    try:
        info = api.model_info(name, revision=given or None)
    except errors.RevisionNotFoundError as error:
        raise ModelLoadError(hub_failure(error, reference)) from error
    except (errors.HTTPError, OSError, RuntimeError, ValueError) as error:  # type: ignore[attr-defined]
        cached = _cached(name, given)
        if cached is None:
            raise ModelLoadError(hub_failure(error, reference)) from error
        return cached
    files = tuple(sibling.rfilename for sibling in info.siblings or ())
    if given in ("", "main") and pickled(files):
        try:
            converted = _conversion(api, name, str(info.sha), private=bool(info.private))
        except (errors.HTTPError, OSError, ValueError) as error:  # type: ignore[attr-defined]
            # A mirror without pull requests, or a repository that has turned them off.
            note = (
                f"conversions to safetensors cannot be listed ({one_line(error, 120)}); the pickles of main are taken"
            )
            return Revision(name, "main", files, note)
        if converted is not None:
            return converted
    return Revision(name, given or "main", files)


def download(revision: Revision, files: Sequence[str], reference: str) -> Path:
    """Fetch files of a revision into the hub's cache; those that are there already are not fetched again.

    Returns:
        The directory that holds them under their paths.

    Raises:
        ModelLoadError: one cannot be fetched.
    """
    from huggingface_hub import errors, snapshot_download

    # Names are patterns to the client: what is special in one is taken literally.
    literal = [file.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]") for file in files]
    offline = revision.files is None
    try:
        found = snapshot_download(
            revision.name,
            revision=revision.revision,
            allow_patterns=literal or [CONFIG],
            local_files_only=offline,
        )
    except (errors.HTTPError, OSError, RuntimeError, ValueError) as error:  # type: ignore[attr-defined]
        raise ModelLoadError(hub_failure(error, reference)) from error
    return Path(found)


def _conversion(api: Any, name: str, main: str, *, private: bool) -> Revision | None:
    """Return the revision of the hub's conversion of `main` to safetensors; None where there is none."""
    known = _read_note(name)
    if known is None or known["main"] != main:
        found = _converting_request(api, name, main, private=private)
        if found is None:
            return None
        known = {"main": main, "ref": found, "commit": str(api.model_info(name, revision=found).sha)}
        _write_note(name, known)
    files = api.list_repo_files(name, revision=known["commit"])
    return Revision(name, known["commit"], tuple(files), _note_of(known))


def _note_of(known: Mapping[str, str]) -> str:
    return f"weights: the hub's own conversion to safetensors ({known['ref']}), in place of the pickles of main"


def _converting_request(api: Any, name: str, main: str, *, private: bool) -> str | None:
    for request in api.get_repo_discussions(name):
        if not request.is_pull_request or request.status != "open" or request.title != _CONVERSION_TITLE:
            continue
        commits = api.list_repo_commits(name, revision=request.git_reference)
        if len(commits) > 1 and commits[1].commit_id == main and (private or request.author == _CONVERSION_BOT):
            return str(request.git_reference)
    return None


def _cached(name: str, given: str) -> Revision | None:
    """Return the revision of a name that the local cache holds; None if it holds none."""
    from huggingface_hub import errors, snapshot_download

    known = _read_note(name) if given in ("", "main") else None
    choices = [(given or "main", ""), *([(known["commit"], _note_of(known))] if known else [])]
    for revision, note in choices:
        with contextlib.suppress(errors.LocalEntryNotFoundError, OSError, ValueError):
            found = Path(snapshot_download(name, revision=revision, allow_patterns=[CONFIG], local_files_only=True))
            if any(path.suffix in (".safetensors", ".bin") for path in found.rglob("*")):
                return Revision(name, revision, None, note)
    return None


def _note(name: str) -> Path:
    root = Path(os.environ.get("VQA_RAY_CACHE", Path.home() / ".cache" / "vqa-ray"))
    return root / "conversions" / f"{name.replace('/', '--')}.json"


def _read_note(name: str) -> dict[str, str] | None:
    """Read the conversion that was found last, with its commit, to find it again without the hub."""
    try:
        content = json.loads(_note(name).read_bytes())
    except (OSError, ValueError):
        return None
    complete = isinstance(content, dict) and all(isinstance(content.get(key), str) for key in ("main", "ref", "commit"))
    return content if complete else None


def _write_note(name: str, content: dict[str, str]) -> None:
    write_bytes_atomic(str(_note(name)), json.dumps(content).encode())
