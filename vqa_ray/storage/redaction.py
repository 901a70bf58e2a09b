"""Messages without the secrets of the URI they are about."""

from __future__ import annotations

import re
from urllib.parse import unquote

_URL = re.compile(r"(\w://)(?:[^\s/'\"]*@)?([^\s?'\"]*)(\?[^\s'\"]*)?")


def without_url_secrets(text: str) -> str:
    """Return a text without the user names, passwords and queries of the URLs in it."""
    return _URL.sub(lambda url: f"{url[1]}{url[2]}{'?…' if url[3] else ''}", text) if "://" in text else text


def without_secrets(text: str, uri: str) -> str:
    """Return a message about `uri` without its user name, password and query, should the message repeat them."""
    base, _, query = uri.partition("?")
    login = base.partition("://")[2].partition("/")[0].rpartition("@")[0]
    secrets = (login, login.partition(":")[2], query)
    for secret in sorted({*secrets, *map(unquote, secrets)}, key=len, reverse=True):
        if len(secret) > 2:
            text = text.replace(secret, "…")
    return text
