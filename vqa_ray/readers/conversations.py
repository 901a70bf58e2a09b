"""An input of conversations to train chat models on: dialogues as others write them, or our questions and answers."""

from __future__ import annotations

from dataclasses import replace

from vqa_ray.readers.open import EarlierRun, open_source
from vqa_ray.readers.source import InputConfig, Source, join_names, request_error

ANSWERS = ("annotator_answers", "answer", "label", "labels")


def open_conversations(config: InputConfig, truth: str | None = None, earlier: EarlierRun | None = None) -> Source:
    """Open an input whose rows are conversations.

    A row holds a dialogue (`conversations` of LLaVA, `messages` of chat models, `conversation` of `instruct`, `results`
    of `answer --layout nested`), or a question and its answer, which are a conversation of two turns. `read_shard`
    yields READ tables with the columns `CONVERSATION` and `TEXT_WARNING` behind the kept ones; images stand in the
    order in which the conversation shows them; a row without images is whole.

    Args:
        config: what to read; its `columns` may rename `conversation`, `system` and the usual ones.
        truth: the column with the answers of questions; None takes the first there is of `ANSWERS`.
        earlier: what the output knows of the input.

    Raises:
        RequestError: as `open_source`; or there are neither dialogues nor questions with answers.
    """
    renamed = {name: theirs for name, theirs in config.columns.items() if name in ANSWERS}
    others = {name: theirs for name, theirs in config.columns.items() if name not in ANSWERS}
    labels = (truth,) if truth is not None else tuple(renamed.values()) or ANSWERS
    config = replace(config, columns=others, labels=labels, conversations=True, reads_several=True, needs_image=False)
    source = open_source(config, earlier)
    if source.column_map.conversation:
        if truth is not None:
            raise request_error(
                f"--truth {truth}: {config.uri} holds dialogues in column {source.column_map.conversation[0]!r}; its "
                "questions and answers are read with --column question=NAME"
            )
        return source.with_labels(())
    columns = join_names(source.columns)
    if source.multi_question:
        raise request_error(f"{config.uri}: several questions a row; a conversation of ours has one question a row")
    if not source.config.labels:
        raise request_error(
            f"{config.uri}: no column with answers ({join_names(labels)}); the columns are: {columns}; "
            "name it with --truth NAME"
        )
    return source
