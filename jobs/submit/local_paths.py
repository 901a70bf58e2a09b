"""The paths in the options of a command that is to run elsewhere: what a cluster sees of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.field import Spec, extra_of, option_name
from vqa_ray.storage.redaction import without_url_secrets
from vqa_ray.storage.uri import SCHEME, redacted_uri
from vqa_ray.structured.load import is_class

logger = logging.getLogger(__name__)

# Units of options that name files which a command reads as a whole when it starts; and those of all that may be a path.
_READ_FIRST = ("FILE", "FILE|CLASS", "NAME|FILE", "SCHEMA")
_CLASSES = ("FILE|CLASS", "SCHEMA")
_PATHS = (
    *(*_READ_FIRST, "URI", "DIR", "MODEL", "RUN", "INDEX", "RESULTS", "[NAME=]DIR", "FIRST SECOND", "TABLE"),
    *("URL", "URL|FILE", "table|json|FILE"),
)
_WRITTEN = ("output", "gallery", "batch_file", "llava", "openlineage")
# Values of `--output` that write no file.
PRINTED = ("table", "json")
# Streams of the process that submits, such as those of `<(…)`.
_STREAMS = ("/dev/fd/", "/dev/std", "/proc/")
# `bundled:NAME`, `openai:NAME`; what is read or written as a file has a scheme only with `://`.
_NAMED = re.compile(r"[A-Za-z][\w+.-]*:")
# A table in a directory, with the version that an input may name.
_TABLE = re.compile(r"(?:delta|lance|parquet):(?!//)(.+?)(?:@\d+)?", re.DOTALL)


def files_to_send(spec: Spec, spec_file: str | None) -> list[str]:
    """List the files that the command reads from below the current directory.

    An absolute path is left as it is, with a warning, since nodes may share a file system.

    Args:
        spec: of the command.
        spec_file: value of its --spec.

    Raises:
        RequestError: an option names what lies on this machine alone, or holds a secret.
    """
    files, absolute = [], []
    own = [] if spec_file is None else [("--spec", "spec", "FILE", spec_file)]
    for option, name, unit, given in (*own, *_paths(spec)):
        if without_url_secrets(given) != given:
            raise RequestError(
                f"{option} {redacted_uri(given)}: holds a name, password or signature, which everyone would see on the "
                "cluster's dashboard; pass credentials by --env"
            )
        if unit in _CLASSES and is_class(given):
            raise RequestError(
                f"{option} {given}: a class of a module on this machine, which the cluster does not see; write it as a "
                f"file first: vqa-ray schema {given} --output product.json"
            )
        is_written, table = name in _WRITTEN or unit == "TABLE", _TABLE.fullmatch(given)
        value = given if table is None else table[1]
        if SCHEME.match(value) or (unit not in _READ_FIRST and name not in _WRITTEN and _NAMED.match(value)):
            continue
        if value.startswith(_STREAMS):
            raise RequestError(
                f"{option} {given}: a stream of this process, which the cluster does not see; use a file"
            )
        if PurePath(value).is_absolute():
            absolute.append(f"{option} {given}")
        elif is_written:
            raise RequestError(
                f"{option} {given}: a relative path ends in the job's own directory, which is deleted; wanted a URI "
                "(s3://…), or an absolute path that the cluster sees"
            )
        elif unit in _READ_FIRST and Path(value).is_file():
            files.append(_sent(option, value))
        elif unit in _READ_FIRST and PurePath(value).suffix:
            raise RequestError(f"{option} {given}: no such file here; a file below the current directory is sent along")
        elif Path(value).exists() or value.startswith((".", "~")) or any(sign in value for sign in "*?["):
            raise RequestError(
                f"{option} {given}: lies on this machine, where the cluster does not see it; wanted a URI (s3://…), or "
                "an absolute path that the cluster sees"
            )
    if absolute:
        logger.warning("%s: local paths, where all nodes of the cluster must see the same files", ", ".join(absolute))
    return sorted(set(files))


def _paths(spec: Spec) -> Iterator[tuple[str, str, str, str]]:
    """Yield option, field, unit and value of each that may name a path, and of those that hold URLs."""
    kind = type(spec)
    given = {name: (option_name(name, kind), getattr(spec, name)) for name in kind.model_fields}
    # The second model takes options of the first one.
    second = {name: ("--second-option", value) for name, value in (getattr(spec, "second_option", None) or {}).items()}
    for name, (option, value) in (*given.items(), *second.items()):
        unit = extra_of(kind.model_fields[name])["unit"] if name in kind.model_fields else ""
        if unit not in _PATHS and name not in _WRITTEN:
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and not _is_no_path(spec, name, each):
                text = each.rpartition("=")[2] if unit == "[NAME=]DIR" else each
                yield option, name, unit, text


def _is_no_path(spec: Spec, name: str, value: str) -> bool:
    """Whether an output is printed, or goes to a hub under a name."""
    return name == "output" and (value in PRINTED or getattr(spec, "to", None) == "hub")


def _sent(option: str, file: str) -> str:
    if ".." in PurePath(file).parts:
        raise RequestError(f"{option} {file}: is sent along only from below the current directory; give a path in it")
    return PurePath(file).as_posix()
