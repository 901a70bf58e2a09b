"""The grammar of a schema's objects, by llguidance: what may be written next, and whether anything can be."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError, one_line
from vqa_ray.structured.object_schema import ObjectSchema

# No white space at all: the form of vLLM's servers, which no request can change.
LAYOUT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
TOKENIZER = "tokenizer.json"


def llguidance() -> Any:
    """Import llguidance.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import llguidance as package
    except ImportError as error:
        raise RequestError(
            "--schema: a model that writes needs llguidance to be held to a schema; install vqa-ray[schema]"
        ) from error
    return package


@functools.lru_cache(maxsize=16)
def _grammar(schema: str) -> str:
    return str(llguidance().LLMatcher.grammar_from_json_schema(schema, overrides=LAYOUT))


def grammar_of(wire: Mapping[str, Any]) -> str:
    """Return the grammar of a schema, see `ObjectSchema.wire`."""
    return _grammar(json.dumps(wire))


def check_grammar(schema: ObjectSchema, where: str) -> None:
    """Check that an object can be written at all.

    Raises:
        RequestError: a field whose pattern is not supported, or that no value fits.
    """
    for path, field in schema.leaves():
        # Null alone would do where it is allowed.
        value = replace(field, nullable=False, required=True)
        failed, notes = llguidance().LLMatcher.validate_grammar_with_warnings(grammar_of(value.wire()))
        if failed:
            reason = one_line(str(notes[0]).splitlines()[-1].removeprefix("error: "), 160)
            limits = ", ".join(f"{key} {limit}" for key, limit in field.limits.items())
            raise RequestError(f"{where}: field {path!r}: no value can be written: {limits}: {reason}")
    failed, notes = llguidance().LLMatcher.validate_grammar_with_warnings(grammar_of(schema.wire))
    if failed:
        raise RequestError(f"{where}: no object can be written: {one_line(notes[0], 160)}")


def check_tokenizer(schema: ObjectSchema, directory: Path, label: str, where: str) -> None:
    """Check that the tokenizer of a checkpoint can write every name and every value of an enumeration.

    Args:
        schema: of the object.
        directory: of the checkpoint.
        label: the model's name, `model DIRECTORY`.
        where: the name of the schema, for messages.

    Raises:
        RequestError: a name or a value that it cannot write, or a checkpoint without `tokenizer.json`.
    """
    file = directory / TOKENIZER
    if not file.is_file():
        raise RequestError(f"--schema: {label}: has no {TOKENIZER}, which holding it to a schema needs")
    package, text = llguidance(), file.read_text("utf-8")
    tokenizer = package.LLTokenizer(text)
    own = [str(each["content"]) for each in json.loads(text).get("added_tokens", ()) if each.get("special")]
    single = {tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size)}
    for path, field in schema.leaves():
        names = [name.removesuffix("[]") for name in path.split(".")]
        for value in [*names, *(each for each in field.choices if isinstance(each, str))]:
            literal = json.dumps(value, ensure_ascii=False)
            known = all(bytes([byte]) in single for byte in literal.encode())
            if any(each in value for each in own) or not (known or _writes(package, tokenizer, {"const": value})):
                raise RequestError(
                    f"{where}: field {path!r}: the tokenizer of {label} cannot write {one_line(literal, 80)}"
                )


def _writes(package: Any, tokenizer: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a tokenizer can write the only value of a schema, with its longest token each time."""
    matcher = package.LLMatcher(tokenizer, grammar_of(schema))
    while not matcher.is_stopped():
        forced = matcher.compute_ff_tokens()
        if not forced:
            mask = matcher.compute_logit_bias()
            allowed = [token for token in range(tokenizer.vocab_size) if mask[token]]
            if not allowed:
                return False
            forced = [max(allowed, key=lambda token: len(tokenizer.decode_bytes([token])))]
        if not matcher.consume_tokens(forced):
            return False
    return bool(matcher.is_accepting())
