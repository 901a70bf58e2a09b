"""Names of datasets for OpenLineage.

The rules: https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqa_ray.storage.filesystem import exists
from vqa_ray.storage.lake_storage import TABLE
from vqa_ray.storage.redaction import without_url_secrets
from vqa_ray.storage.uri import scheme_of

# Several schemes of one store → the one that OpenLineage names it by.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss", "wasb": "wasbs"}
# What precedes the @ of these names a container, elsewhere it is a login.
_CONTAINERS = ("abfss", "wasbs")
_INDEX = "index:"


def dataset(uri: str, format_name: str | None = None) -> dict[str, Any]:
    """Name a dataset as OpenLineage does: the store is its namespace, the path its name.

    A table is one dataset in all of its versions, and a directory one with and without a slash at its end.

    Args:
        uri: a path, a URI, or a table as `--input` names it.
        format_name: of an input; one of `hf` may be on the hub.
    """
    if (table := TABLE.fullmatch(uri)) is not None:
        if table[1] == "iceberg":
            return _named("iceberg", table[2])
        uri = table[2]
    if format_name == "hf" and "://" not in uri and not exists(uri.partition("#")[0]):
        return _named("hf://datasets", uri.partition("#")[0].partition("@")[0])
    scheme = scheme_of(uri)
    if scheme == "file":
        path = uri.partition("://")[2] if "://" in uri else uri
        return _named("file", os.path.normpath(Path(without_url_secrets(path)).absolute()))
    scheme = _SCHEMES.get(scheme, scheme)
    authority, _, path = uri.partition("://")[2].partition("/")
    login, at, host = authority.rpartition("@")
    store = authority if at and scheme in _CONTAINERS and ":" not in login else host
    path = path.partition("?")[0] if scheme in ("http", "https") else path
    return _named(f"{scheme}://{store.partition('?')[0]}", path.rstrip("/") or "/")


def inputs(given: Mapping[str, Any], command: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name what a run reads.

    Args:
        given: `RunRecord.input`.
        command: `RunRecord.command`; `images_from` is where the images are, if they lie apart.
    """
    named = [dataset(str(given["uri"]), given.get("format"))]
    if (images := command.get("images_from")) is not None:
        named.append(dataset(str(images).removeprefix(_INDEX)))
    return named


def _named(namespace: str, name: str) -> dict[str, Any]:
    # A path need not be UTF-8; JSON must be.
    return {"namespace": namespace, "name": name.encode("utf-8", "replace").decode()}
