"""URIs as text: their schemes and names, joined, and as they may stand in messages. Pure."""

from __future__ import annotations

import re

from vqa_ray.storage.data_uris import is_data_uri, short_data_uri
from vqa_ray.storage.redaction import without_url_secrets

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
# The end of a URI tells more than its beginning, and room must be left for the reason.
_SHOWN_CHARACTERS = 160


def scheme_of(uri: str) -> str:
    """Return the scheme in lower case; `file` for a plain path."""
    match = SCHEME.match(uri)
    return match[1].lower() if match else "file"


def uri_without_secrets(uri: str) -> str:
    """`uri` as it may stand in a record: without user name, password and query, which may hold secrets."""
    if is_data_uri(uri):
        return short_data_uri(uri)
    if scheme_of(uri) == "file":
        return without_url_secrets(uri)
    scheme, _, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    path = path.partition("?")[0] if scheme.lower() in ("http", "https") else path
    return f"{scheme}://{authority.rpartition('@')[2].partition('?')[0]}{slash}{path}"


def redacted_uri(uri: str) -> str:
    """`uri` as it may stand in a message: without secrets, and short; a record keeps `uri_without_secrets`."""
    shown = uri_without_secrets(uri)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"…{shown[1 - _SHOWN_CHARACTERS :]}"


def join(uri: str, *parts: str) -> str:
    """`uri` and `parts` with single slashes between them."""
    joined = uri
    for part in parts:
        stripped = part.strip("/")
        if stripped:
            joined = joined + stripped if joined.endswith("/") else f"{joined}/{stripped}"
    return joined


def name_of(uri: str) -> str:
    """Return the last part of a URI."""
    return uri.rstrip("/").rpartition("/")[2]
