"""Licences in the front matter of cards of a Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from vqa_ray.errors import one_line
from vqa_ray.strict_yaml import StrictLoader

# https://huggingface.co/docs/hub/repositories-licenses
_NAMES = (
    "afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 "
    "bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 "
    "cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 "
    "cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 "
    "cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 "
    "etalab-2.0 eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 h-research intel-research isc lgpl lgpl-2.1 "
    "lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by "
    "ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib"
)
_IDENTIFIERS = frozenset(_NAMES.split())
_FRONT_MATTER = re.compile(r"\A(?:\ufeff)?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def licence_fields(licence: str | None) -> dict[str, str]:
    """Return the entries of the front matter for a licence: an identifier of the hub, or any other text."""
    if licence is None:
        return {}
    words = one_line(licence, 200).strip()
    identifier = re.sub(r"\s+", "-", words.lower())
    if identifier in _IDENTIFIERS:
        return {"license": identifier}
    return {"license": "other", "license_name": words}


def licence_of(card: str) -> str | None:
    """Return the licence in the card of a model; None without one."""
    found = front_matter(card)[0]
    licence = found.get("license")
    if isinstance(licence, list):
        licence = licence[0] if len(licence) == 1 else None
    if licence == "other" and isinstance(found.get("license_name"), str):
        licence = found["license_name"]
    return licence if isinstance(licence, str) and licence.strip() else None


def front_matter(card: str) -> tuple[Mapping[str, Any], str]:
    """Split a card into (metadata, rest); the metadata are empty where they cannot be parsed."""
    matter = _FRONT_MATTER.match(card)
    if matter is None:
        return {}, card
    try:
        content = yaml.load(matter[1], StrictLoader)
    except yaml.YAMLError:
        return {}, card
    return (content, card[matter.end() :]) if isinstance(content, dict) else ({}, card)
