"""Failures of a Hugging Face hub, explained in one line to the user who named the model."""

from __future__ import annotations

import errno

from vqa_ray.errors import one_line

_LOGIN = "`hf auth login`, or HF_TOKEN"


def hub_failure(error: BaseException, reference: str) -> str:
    """One line: which model, what happened, what to do."""
    from huggingface_hub import constants, errors

    label, name = f"model {reference}", reference.partition("@")[0]
    cause = _cause(error, errors.HfHubHTTPError, errors.OfflineModeIsEnabled)
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if isinstance(cause, errors.GatedRepoError):
        return (
            f"{label}: is gated: accept its terms at {constants.ENDPOINT}/{name}, then log in with the same account "
            f"({_LOGIN})"
        )
    if isinstance(cause, errors.RevisionNotFoundError):
        revision = reference.partition("@")[2] or "main"
        return f"{label}: {name} has no revision {revision!r}: expected a branch, a tag or a commit of it"
    if isinstance(cause, errors.DisabledRepoError):
        return f"{label}: the hub has disabled access to it"
    if isinstance(cause, errors.RepositoryNotFoundError):
        return (
            f"{label}: no such local directory, and no such repository at {constants.ENDPOINT}, or a private one: "
            f"check the name; a private one needs a login ({_LOGIN})"
        )
    if status == 429:
        return f"{label}: the hub takes no more requests for now (429): wait some minutes, or log in ({_LOGIN})"
    if status in (401, 403):
        return f"{label}: the hub refuses ({status}): the token given with {_LOGIN} is wrong, or may not read it"
    if status is not None:
        return f"{label}: the hub at {constants.ENDPOINT} failed with status {status}; try again later"
    if isinstance(cause, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return (
            f"{label}: no such local directory; HF_HUB_OFFLINE is set and the model is not, or not wholly, in "
            f"{constants.HF_HUB_CACHE}: fetch it once with HF_HUB_OFFLINE=0, or name a directory"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{label}: no space left in {constants.HF_HUB_CACHE} (HF_HOME names another place)"
    return (
        f"{label}: no such local directory, and the hub at {constants.ENDPOINT} cannot be reached: "
        f"{one_line(error, 160) or type(error).__name__}"
    )


def _cause(error: BaseException, *kinds: type[BaseException]) -> BaseException:
    """Return the first of an exception's causes that is one of the hub's own; the exception itself where none is."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, kinds):
            return found
        found = found.__cause__ or found.__context__
    return error
