"""The table of protocols: name → class.

Light: the module of a protocol is imported when the protocol is first named.
"""

from __future__ import annotations

import difflib
import importlib

from vqa_ray.errors import RequestError
from vqa_ray.evaluation.protocol import Protocol

# Name → module of `vqa_ray.evaluation.protocols` and class; the class states the same name.
_CLASSES = {
    "ai2d": "ai2d:Ai2d",
    "anls": "open_answers:Anls",
    "anls-rrc": "open_answers:AnlsRrc",
    "caption": "coco_captions:Captions",
    "chartqa": "open_answers:ChartQa",
    "exact-match": "open_answers:ExactMatch",
    "gqa": "gqa:Gqa",
    "gqa-llava": "gqa:GqaLlava",
    "gqa-lmms-eval": "gqa:GqaLmmsEval",
    "mathvista": "mathvista:MathVista",
    "mathvista-official": "mathvista:MathVistaOfficial",
    "mmbench": "mmbench:MMBench",
    "mmbench-circular": "mmbench:MMBenchCircular",
    "mme": "mme:Mme",
    "mmmu": "mmmu:Mmmu",
    "mmmu-official-random": "mmmu:MmmuOfficialRandom",
    "ocrbench": "ocrbench:OcrBench",
    "okvqa": "vqa_answers:OkVqa",
    "okvqa-lmms-eval": "vqa_answers:OkVqaLmmsEval",
    "pope": "pope:Pope",
    "retrieval": "ranked_retrieval:Retrieval",
    "scienceqa": "scienceqa:ScienceQa",
    "seed-bench": "seed_bench:SeedBench",
    "tags": "multi_label:Tags",
    "textvqa": "vqa_answers:TextVqa",
    "token-f1": "open_answers:TokenF1",
    "verdicts": "verdicts:Verdicts",
    "vizwiz": "vqa_answers:VizWiz",
    "vizwiz-lmms-eval": "vqa_answers:VizWizLmmsEval",
    "vqa-v2": "vqa_answers:VqaV2",
    "wups": "open_answers:Wups",
}
# Shorter names that `--protocol` also takes.
_ALIASES = {"official-random": "mmmu-official-random"}
# Formats of input whose protocol has another name.
_OF_FORMATS = {"docvqa": "anls"}


def names() -> list[str]:
    """Return the names of all protocols, sorted."""
    return sorted(_CLASSES)


def protocol_of(input_format: str | None) -> str | None:
    """Return the name of the protocol of a benchmark's files; None for a format that is of no benchmark."""
    name = _OF_FORMATS.get(input_format or "", input_format)
    return name if name in _CLASSES else None


def protocol(name: str) -> Protocol:
    """Make a protocol.

    Raises:
        RequestError: no protocol has this name; the message states the nearest names, or all of them. Or what the
            protocol needs is not installed.
    """
    known = _ALIASES.get(name, name)
    if known not in _CLASSES:
        near = difflib.get_close_matches(name.lower(), [*_CLASSES, *_ALIASES], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names())}"
        raise RequestError(f"no protocol {name!r}; {hint}")
    module, _, kind = _CLASSES[known].partition(":")
    made: Protocol = getattr(importlib.import_module(f"vqa_ray.evaluation.protocols.{module}"), kind)()
    return made
