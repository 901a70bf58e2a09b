"""The record of how the input of an update was read, so that its rows can be read again by their keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from vqa_ray.errors import RequestError
from vqa_ray.readers import InputConfig, Shard, Source
from vqa_ray.readers.source import ColumnMap
from vqa_ray.schema import passthrough_name
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes

FORMAT = 1


def write_input_snapshot(uri: str, source: Source) -> None:
    """Record how a source is read: its shards and its columns."""
    config = source.config
    content = {
        "format": FORMAT,
        "uri": config.uri,
        "input_format": source.format,
        "columns": dict(config.columns),
        "keep": list(config.keep),
        "image_root": config.image_root,
        "allow_local": config.allow_local,
        "encoding": config.encoding,
        "root": source.root,
        "layout": asdict(source.column_map),
        "shards": [asdict(shard) for shard in source.shards],
    }
    write_bytes_atomic(uri, json.dumps(content).encode())


def read_input_snapshot(uri: str, kept: Sequence[pa.Field] = (), keep: Sequence[str] = ()) -> Source:
    """Restore the source.

    Args:
        uri: where `write_input_snapshot` put it.
        kept: the fields of the kept columns of the output, in order; none leaves these columns out.
        keep: their names in the input, where these differ.

    Raises:
        RequestError: the record has another format version.
        FileNotFoundError: there is no record.
    """
    content = json.loads(read_bytes(uri))
    if content["format"] != FORMAT:
        raise RequestError(f"{uri}: format {content['format']!r} of another version; this one reads {FORMAT}")
    keep_as = tuple(field.name for field in kept)
    config = InputConfig(
        content["uri"],
        content["input_format"],
        content["columns"],
        tuple(keep) or keep_as,
        keep_as,
        needs_question=False,
        image_root=content.get("image_root"),
        # Versions before it let references lead anywhere.
        allow_local=tuple(content.get("allow_local", ("/",))),
        encoding=content.get("encoding"),
    )
    shards = tuple(Shard(**{**shard, "names": tuple(shard["names"])}) for shard in content["shards"])
    layout = ColumnMap(**{role: tuple(names) for role, names in content["layout"].items()})
    return Source(
        config=config,
        format=content["input_format"],
        root=content["root"],
        shards=shards,
        passthrough=tuple(field.with_name(passthrough_name(field.name)) for field in kept),
        column_map=layout,
        total_rows=None,
        fingerprint="",
        multi_question=False,
    )
