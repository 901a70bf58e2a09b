"""The card of a finished training under another name, or with a licence."""

from __future__ import annotations

import json
import re
import shlex

from vqa_ray.report.licences import front_matter, licence_fields
from vqa_ray.report.markdown import text
from vqa_ray.report.model_card import NO_LICENCE, front_matter_text

_ESCAPED = re.compile(r"\\(.)")
_USE = re.compile(r"^## Use$.*?(?=^## )", re.DOTALL | re.MULTILINE)


def amended_card(card: str, *, name: str | None = None, licence: str | None = None) -> str:
    """Return a card that `render_card` wrote with the name that its lines load the model by, or its licence, replaced.

    Args:
        card: Markdown; what somebody else has written instead keeps its text.
        name: a repository; None keeps the name.
        licence: as `--licence`; None keeps it.
    """
    metadata, body = front_matter(card)
    changed = dict(metadata)
    if licence is not None:
        kept = {key: value for key, value in metadata.items() if not key.startswith("license")}
        changed, body = licence_fields(licence) | kept, body.replace(NO_LICENCE + chr(10), "")
    if name is not None and isinstance(changed.get("model-index"), list):
        changed["model-index"] = [{**entry, "name": name} for entry in changed["model-index"]]
    if changed != metadata or licence is not None:
        card = f"{front_matter_text(changed)}\n{body}"
    return card if name is None else _renamed(card, name)


def _renamed(card: str, name: str) -> str:
    heading = re.search(r"^# (.*)$", front_matter(card)[1], re.MULTILINE)
    if heading is None:
        return card
    former = _ESCAPED.sub(r"\1", heading[1])

    def use(found: re.Match[str]) -> str:
        lines = found[0].replace(json.dumps(former), json.dumps(name))
        option, quoted = f"--model {shlex.quote(former)}", f"--model {shlex.quote(name)}"
        return re.sub(rf"{re.escape(option)}(?=\s)", lambda _: quoted, lines)

    return _USE.sub(use, card.replace(heading[0], f"# {text(name)}", 1), count=1)
