"""Upload of a finished checkpoint directory to a Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from vqa_ray.errors import RequestError, RunError, one_line

# Checkpoints and records of the run are of no use to who loads the model.
LEFT_OUT = ("_vqa_ray/*", ".*")


class HubApi(Protocol):
    """What of `huggingface_hub.HfApi` is needed."""

    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> Any:
        """Make a repository."""
        ...

    def upload_folder(
        self, *, repo_id: str, folder_path: str | Path, ignore_patterns: list[str], commit_message: str
    ) -> Any:
        """Upload all files of a directory but those that match a pattern."""
        ...


def check_repo(name: str) -> None:
    """Check that a repository can have this name, without asking anyone.

    Raises:
        RequestError: it cannot.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise RequestError(
            f"repository {one_line(name)!r}: not a name for a hub; wanted ORG/NAME of letters, digits, '-', '_', '.', "
            "at most 96 characters each, without '--', '..' or a '.git' at the end"
        ) from error


def push(directory: Path, repo: str, *, private: bool | None = None, api: HubApi | None = None) -> str:
    """Upload a checkpoint directory; the repository is made where there is none.

    Args:
        directory: local, in `save_pretrained` layout.
        repo: ORG/NAME, or NAME for one of the user's own.
        private: whether a new repository is; None for the hub's default.
        api: the hub; without, that of `HF_ENDPOINT` with the token that `hf auth login` stored or `HF_TOKEN` holds.

    Returns:
        Where it can be looked at.

    Raises:
        RequestError: see `check_repo`.
        RunError: there is no model in the directory, or the hub cannot be reached, refuses, or wants a login.
    """
    import huggingface_hub
    from huggingface_hub import errors

    check_repo(repo)
    if not (directory / "config.json").is_file():
        raise RunError(f"upload of {directory} to {repo}: there is no config.json; wanted a finished model directory")
    hub = huggingface_hub.HfApi() if api is None else api
    # The transport's own errors, whichever package this version of the client travels with.
    unreachable: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    try:
        place = hub.create_repo(repo, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=str(getattr(place, "repo_id", repo)),
            folder_path=directory,
            ignore_patterns=list(LEFT_OUT),
            commit_message="Model trained with vqa-ray",
        )
    except (unreachable, OSError, RuntimeError, ValueError) as error:
        raise RunError(f"upload of {directory} to {repo}: {_reason(error)}; the model itself is finished") from error
    return str(place)


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, LocalTokenNotFoundError) or status == 401:
        return "not logged in: run `hf auth login`, or set HF_TOKEN to a token that may write"
    if status == 403:
        return "the token may not write there"
    if isinstance(error, OfflineModeIsEnabled):
        return "offline: HF_HUB_OFFLINE is set"
    return f"the hub did not take it: {one_line(error) or type(error).__name__}"
