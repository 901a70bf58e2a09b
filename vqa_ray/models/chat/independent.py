"""A chat model that is asked as transformers asks it: whole prompts, nothing shared between questions.

The way of beam search, and of families whose attention or positions are not known to allow sharing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from vqa_ray.models.chat.batching import Prompt, collate, followed_by
from vqa_ray.models.chat.host_arguments import image_positions, send_inputs, vision_arguments
from vqa_ray.models.generation.decoding import Decoding, Generated, ended, greedy
from vqa_ray.models.generation.processed import ProcessedDecoding, on_device
from vqa_ray.models.layers.device import send, send_indices


def generate(model: Any, prompts: Sequence[Prompt], eos_token_ids: Sequence[int], **options: Any) -> list[Generated]:
    """Continue prompts of one layout: greedily, or with beams by transformers' own `generate`.

    Args:
        model: in inference mode.
        prompts: of one layout.
        eos_token_ids: the ids that end a text.
        options: of `generate`: max_new_tokens, num_beams, length_penalty.
    """
    if options.get("num_beams", 1) == 1:
        decoding = read(model, prompts, eos_token_ids, **options)
        # How a cache gives up rows differs between these families.
        return greedy(decoding, eos_token_ids, options["max_new_tokens"], drops_rows=False)
    inputs = send_inputs(model, _inputs(model, prompts))
    outputs = model.generate(
        **inputs, **_search(eos_token_ids), **options, return_dict_in_generate=True, output_scores=True
    )
    values = model.compute_transition_scores(
        outputs.sequences, outputs.scores, outputs.beam_indices, normalize_logits=False
    )
    written = outputs.sequences[:, inputs["input_ids"].shape[1] :]
    return [
        _generated(tokens, given, eos_token_ids)
        for tokens, given in zip(written.tolist(), values.tolist(), strict=True)
    ]


def read(model: Any, prompts: Sequence[Prompt], eos_token_ids: Sequence[int], **options: Any) -> Decoding:
    """Read prompts of one layout, to be continued greedily; rows of the result cannot be selected.

    `generate` checks and completes its arguments on the host and hands them to this file's loop in the place of its
    own, which waits for the device at every token.

    Args:
        model: see `generate`.
        prompts: see `generate`.
        eos_token_ids: see `generate`.
        options: see `generate`; one beam.
    """
    inputs = _inputs(model, prompts)
    seen = {name: inputs[name] for name in prompts[0].image.tensors}
    # `generate` would run the vision tower, and on the host.
    inputs = {name: given for name, given in inputs.items() if not given.is_floating_point()}
    loop = functools.partial(_begun, seen=seen)
    decoding: Decoding = model.generate(**inputs, **_search(eos_token_ids), **options, custom_generate=loop)
    return decoding


def _inputs(model: Any, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
    # A prompt may begin with its image (PaliGemma); it ends in text.
    last = [prompt.encoded.ids[-1] for prompt in prompts]
    return collate([prompt.encoded for prompt in prompts], [prompt.image for prompt in prompts], model, last)


def _search(eos_token_ids: Sequence[int]) -> dict[str, Any]:
    """Return the arguments of a `generate` that draws nothing by lot."""
    ends = {"eos_token_id": list(eos_token_ids), "pad_token_id": eos_token_ids[0]}
    return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, **ends}


def _begun(
    model: Any,
    input_ids: Tensor,
    *,
    seen: dict[str, Tensor],
    logits_processor: LogitsProcessorList,
    stopping_criteria: Any,
    generation_config: Any,
    **inputs: Any,
) -> Decoding:
    """Read the prompts of a `generate`, which calls this with all on the host; `seen` are the tensors of images."""
    del stopping_criteria, generation_config
    ids = send(input_ids, model.device)
    seen |= vision_arguments(model, seen)
    inputs.pop("mm_encoder_outputs", None)
    for layer in inputs["past_key_values"].layers:
        window = getattr(layer, "_sliding_window_tensor", None)
        if window is not None:
            # The layer would send the number of its window by itself, and wait for it.
            layer._sliding_window_tensor = send(window, model.device)
    plain = WholeDecoding(model, ids, send_inputs(model, inputs), send_inputs(model, seen))
    if not logits_processor:
        return plain
    processors = on_device(logits_processor, model.device)
    return ProcessedDecoding(plain, processors, ids, processors(ids, plain.logits.float()))


class WholeDecoding:
    """See `Decoding`: whole prompts read and continued as `generate` does it; its rows cannot be selected.

    Args:
        model: in inference mode.
        ids: (R, L), left-padded.
        inputs: the other arguments that `generate` hands on from step to step.
        seen: those of the images.
    """

    def __init__(self, model: Any, ids: Tensor, inputs: dict[str, Any], seen: dict[str, Any]) -> None:
        self._model = model
        self._ids = ids
        self._inputs = inputs
        first = model.prepare_inputs_for_generation(ids, is_first_iteration=True, **inputs)
        self.logits = self._forward(first | seen)[:, -1]

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Decoding.decode`; one after the other, as `generate` counts positions."""
        return torch.cat([self._next(token[:, None]) for token in tokens.unbind(dim=1)], dim=1)

    def _next(self, token: Tensor) -> Tensor:
        self._ids = torch.cat([self._ids, token], dim=1)
        return self._forward(
            self._model.prepare_inputs_for_generation(self._ids, next_sequence_length=1, **self._inputs)
        )

    def select(self, rows: Tensor) -> WholeDecoding:
        """See `Decoding.select`; not possible here."""
        raise NotImplementedError

    def _forward(self, inputs: dict[str, Any]) -> Tensor:
        outputs = self._model(**inputs, return_dict=True)
        self._inputs = self._model._update_model_kwargs_for_generation(outputs, self._inputs, is_encoder_decoder=False)
        logits: Tensor = outputs.logits
        return logits


def _generated(tokens: Sequence[int], log_probabilities: Sequence[float], eos_token_ids: Sequence[int]) -> Generated:
    end = next((index for index, token in enumerate(tokens) if token in eos_token_ids), None)
    counted = len(tokens) if end is None else end + 1
    return ended(tokens[:counted], sum(log_probabilities[:counted]) / max(1, counted), eos_token_ids)


def mean_log_probabilities(
    model: Any, prompts: Sequence[Prompt], choices: Sequence[Sequence[Sequence[int]]]
) -> list[list[float]]:
    """See `decoding.mean_log_probabilities`; each choice is read behind its whole prompt."""
    pairs = [(prompt, tokens) for prompt, options in zip(prompts, choices, strict=True) for tokens in options]
    rows = [followed_by(prompt.encoded, tokens) for prompt, tokens in pairs]
    inputs = collate(rows, [prompt.image for prompt, _ in pairs], model, [row.ids[-1] for row in rows])
    found = image_positions(model, inputs)
    if found is not None:
        inputs["position_ids"] = found[0]
    inputs = send_inputs(model, inputs | vision_arguments(model, inputs))
    longest = max(len(tokens) for _, tokens in pairs)
    logits: Tensor = model(**inputs, use_cache=False, logits_to_keep=longest + 1).logits[:, -longest - 1 : -1].float()
    wanted = inputs["input_ids"][:, -longest:]
    given = logits.gather(-1, wanted[..., None])[..., 0] - logits.logsumexp(dim=-1)
    lengths = send_indices([len(tokens) for _, tokens in pairs], given.device)
    counts = torch.arange(longest, device=given.device)[None] >= (longest - lengths)[:, None]
    means = iter(((given * counts).sum(dim=-1) / lengths).tolist())
    return [[next(means) for _ in options] for options in choices]
