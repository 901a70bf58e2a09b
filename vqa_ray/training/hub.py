"""Upload of a finished checkpoint directory to a Hugging Face hub."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from vqa_ray.errors import RequestError, RunError, one_line

# Checkpoints and records of the run are of no use to who loads the model.
LEFT_OUT = ("_vqa_ray/*", ".*")
_NO_LOGIN = "not logged in: run `hf auth login`, or set HF_TOKEN to a token that may write"
_OFFLINE = "offline: HF_HUB_OFFLINE is set"
# The client waits for an answer without end; nothing of it is worth so much of a person's time before a training.
_ANSWER_TIMEOUT_S = 30.0


class HubApi(Protocol):
    """What of `huggingface_hub.HfApi` is needed."""

    def whoami(self) -> dict[str, Any]:
        """Return the account of the token, its organisations, and what the token may do."""
        ...

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


def check_push(name: str, *, api: HubApi | None = None) -> str:
    """Check before any work that the hub can be reached and that the token may write to a repository.

    Args:
        name: ORG/NAME, or NAME for one of the user's own.
        api: see `push`.

    Returns:
        ORG/NAME.

    Raises:
        RequestError: see `check_repo`; or offline, no token, no answer, or no permission.
    """
    import huggingface_hub
    from huggingface_hub import constants

    check_repo(name)
    if api is None and constants.HF_HUB_OFFLINE:
        raise RequestError(f"--push-to-hub {name}: {_OFFLINE}")
    if api is None and huggingface_hub.get_token() is None:
        raise RequestError(f"--push-to-hub {name}: {_NO_LOGIN}")
    account = _account(name, huggingface_hub.HfApi() if api is None else api)
    user = str(account.get("name"))
    full = name if "/" in name else f"{user}/{name}"
    reason = _refused(account, user, full)
    if reason:
        raise RequestError(f"--push-to-hub {name}: {reason}")
    return full


def _account(name: str, hub: HubApi) -> Mapping[str, Any]:
    """Ask `whoami`, with a time limit."""
    from huggingface_hub import constants, errors

    unreachable: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    answers: list[Mapping[str, Any]] = []
    failures: list[Exception] = []

    def ask() -> None:
        try:
            answers.append(hub.whoami())
        except (unreachable, OSError, RuntimeError, ValueError) as error:
            failures.append(error)

    thread = threading.Thread(target=ask, name="whoami", daemon=True)
    thread.start()
    thread.join(_ANSWER_TIMEOUT_S)
    if failures:
        raise RequestError(f"--push-to-hub {name}: {_reason(failures[0], asked=constants.ENDPOINT)}") from failures[0]
    if not answers:
        raise RequestError(
            f"--push-to-hub {name}: the hub at {constants.ENDPOINT} gave no answer within {_ANSWER_TIMEOUT_S:g} s"
        )
    return answers[0]


def _refused(account: Mapping[str, Any], user: str, full: str) -> str:
    """Why the account may not write to a repository; empty where it may."""
    namespace = full.partition("/")[0]
    organisations = {str(each.get("name")): each for each in account.get("orgs") or ()}
    known = {each.lower(): each for each in (user, *organisations)}
    own = known.get(namespace.lower())
    if own is None:
        allowed = ", ".join([user, *sorted(organisations)])
        return f"the user {user} is no member of {namespace}; allowed are repositories of {allowed}"
    if own != user and organisations[own].get("roleInOrg") == "read":
        return f"the user {user} may only read in the organisation {own}"
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        return "the token may only read; set HF_TOKEN to one that may write, or run `hf auth login` with it"
    if token.get("role") == "fineGrained" and not _may_write(token.get("fineGrained") or {}, own, full):
        return f"the token has no permission repo.write for {full}; give it that, or use another"
    return ""


def _may_write(granted: Mapping[str, Any], namespace: str, full: str) -> bool:
    names = {namespace.lower(), full.lower()}
    return "repo.write" in (granted.get("global") or ()) or any(
        str((scope.get("entity") or {}).get("name")).lower() in names and "repo.write" in scope.get("permissions", ())
        for scope in granted.get("scoped") or ()
    )


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
        created = hub.create_repo(repo, private=private, exist_ok=True)
        with warnings.catch_warnings():
            # The tables beside the model are meant to go with it.
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            hub.upload_folder(
                repo_id=str(getattr(created, "repo_id", repo)),
                folder_path=directory,
                ignore_patterns=list(LEFT_OUT),
                commit_message="Model trained with vqa-ray",
            )
    except (unreachable, OSError, RuntimeError, ValueError) as error:
        raise RunError(
            f"upload to {repo}: {_reason(error)}; the model itself is finished, the same command uploads it"
        ) from error
    return str(created)


def _reason(error: Exception, asked: str = "") -> str:
    """In words why the hub did not do what it was asked.

    Args:
        error: what the client raised.
        asked: the address where it was only asked who the user is; empty for an upload.
    """
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, LocalTokenNotFoundError) or status == 401:
        return f"the hub does not know the token; {_NO_LOGIN}" if asked else _NO_LOGIN
    if status == 403:
        return "the token may not write there"
    if isinstance(error, OfflineModeIsEnabled):
        return _OFFLINE
    if asked:
        what = "gave an error" if status else "cannot be reached"
        return f"the hub at {asked} {what}: {one_line(error, 160) or type(error).__name__}"
    return f"the hub did not take it: {one_line(error) or type(error).__name__}"
