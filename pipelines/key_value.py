"""The key-value store of Ray's head, for what the driver and the processes of a run tell each other."""

from __future__ import annotations

from collections.abc import Iterator

from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_exists,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)

_NAMESPACE = "vqa-ray"


def put(key: str, value: bytes) -> None:
    """Replace the value of a key."""
    _internal_kv_put(key, value, namespace=_NAMESPACE)


def get(key: str) -> bytes | None:
    """Return the value of a key; None where there is none."""
    found: bytes | None = _internal_kv_get(key, namespace=_NAMESPACE)
    return found


def exists(key: str) -> bool:
    """Whether a key has a value."""
    return bool(_internal_kv_exists(key, namespace=_NAMESPACE))


def values(prefix: str) -> Iterator[bytes]:
    """Yield the values of the keys that begin with `prefix`."""
    for key in _internal_kv_list(prefix, namespace=_NAMESPACE):
        # Another process may have deleted it.
        if value := _internal_kv_get(key, namespace=_NAMESPACE):
            yield value


def delete(prefix: str) -> None:
    """Delete the keys that begin with `prefix`."""
    _internal_kv_del(prefix, del_by_prefix=True, namespace=_NAMESPACE)
