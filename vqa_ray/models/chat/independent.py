"""A chat model that is asked as transformers asks it: whole prompts, nothing shared between questions.

The way of beam search, and of families whose attention or positions are not known to allow sharing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.chat.batching import Prompt, collate
from vqa_ray.models.chat.processor import Encoded
from vqa_ray.models.generation.decoding import Generated, ended


def generate(model: Any, prompts: Sequence[Prompt], eos_token_ids: Sequence[int], **options: Any) -> list[Generated]:
    """Continue prompts of one layout by transformers' own `generate`.

    Args:
        model: in inference mode.
        prompts: of one layout.
        eos_token_ids: the ids that end a text.
        options: of `generate`: max_new_tokens, num_beams, length_penalty.
    """
    # A prompt may begin with its image (PaliGemma); it ends in text.
    last = [prompt.encoded.ids[-1] for prompt in prompts]
    inputs = collate([p.encoded for p in prompts], [p.image for p in prompts], model, last)
    beams = options.get("num_beams", 1) > 1
    outputs = model.generate(
        **inputs,
        **options,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=list(eos_token_ids),
        pad_token_id=eos_token_ids[0],
        return_dict_in_generate=True,
        output_scores=True,
    )
    values = model.compute_transition_scores(
        outputs.sequences,
        outputs.scores,
        outputs.beam_indices if beams else None,
        normalize_logits=not beams,
    )
    written = outputs.sequences[:, inputs["input_ids"].shape[1] :]
    return [
        _generated(tokens, given, eos_token_ids)
        for tokens, given in zip(written.tolist(), values.tolist(), strict=True)
    ]


def _generated(tokens: Sequence[int], log_probabilities: Sequence[float], eos_token_ids: Sequence[int]) -> Generated:
    end = next((index for index, token in enumerate(tokens) if token in eos_token_ids), None)
    counted = len(tokens) if end is None else end + 1
    return ended(tokens[:counted], sum(log_probabilities[:counted]) / max(1, counted), eos_token_ids)


def mean_log_probabilities(
    model: Any, prompts: Sequence[Prompt], choices: Sequence[Sequence[Sequence[int]]]
) -> list[list[float]]:
    """See `decoding.mean_log_probabilities`; each choice is read behind its whole prompt."""
    pairs = [(prompt, tokens) for prompt, options in zip(prompts, choices, strict=True) for tokens in options]
    rows = [_with_choice(prompt.encoded, tokens) for prompt, tokens in pairs]
    inputs = collate(rows, [prompt.image for prompt, _ in pairs], model, [row.ids[-1] for row in rows])
    longest = max(len(tokens) for _, tokens in pairs)
    logits: Tensor = model(**inputs, logits_to_keep=longest + 1).logits[:, -longest - 1 : -1].float()
    wanted = inputs["input_ids"][:, -longest:]
    given = logits.gather(-1, wanted[..., None])[..., 0] - logits.logsumexp(dim=-1)
    lengths = torch.tensor([len(tokens) for _, tokens in pairs], device=given.device)
    counts = torch.arange(longest, device=given.device)[None] >= (longest - lengths)[:, None]
    means = iter(((given * counts).sum(dim=-1) / lengths).tolist())
    return [[next(means) for _ in options] for options in choices]


def _with_choice(encoded: Encoded, tokens: Sequence[int]) -> Encoded:
    kinds = {name: _extended(values, len(tokens)) for name, values in encoded.kinds.items()}
    return Encoded((*encoded.ids, *tokens), kinds)


def _extended(values: Tensor, count: int) -> Tensor:
    """Values per token, with those of `count` tokens of text behind: what they see stays, their kind is text's."""
    behind = values[-1:] if values.dim() > 1 else torch.zeros_like(values[-1:])
    return torch.cat([values, behind.expand(count, *values.shape[1:])])
