"""Rows of conversations as one batch, padded and with all positions and lengths made on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from vqa_ray.models.chat.host_arguments import READ_BY_HOST, has_image_positions, image_positions, vision_arguments
from vqa_ray.models.generation.kv_cache import padded
from vqa_ray.models.layers.device import send
from vqa_ray.training.chat.parts import plain_model
from vqa_ray.training.chat.row import IGNORED, ChatRow


@dataclass(frozen=True, slots=True, eq=False)
class ChatBatch:
    """A pass of a training step.

    Attributes:
        inputs: arguments of the model, by name.
        index: int64 (N,), the tokens that something is learnt behind, as places in (rows · length).
        targets: int64 (N,), what has to follow each of them.
        owners: int64 (N,), the row of each.
        rows: how many.
        tokens: of all rows, with padding.
    """

    inputs: Mapping[str, Tensor]
    index: Tensor
    targets: Tensor
    owners: Tensor
    rows: int
    tokens: int

    @property
    def answer_tokens(self) -> int:
        """Tokens under the loss."""
        return len(self.targets)

    @property
    def shows_images(self) -> bool:
        """Whether a row has an image."""
        return any(name.startswith("pixel_values") for name in self.inputs)

    def to(self, device: torch.device) -> Self:
        """Return the batch on a device, through pinned memory and without waiting; lengths stay on the host."""
        inputs = {
            name: tensor if name in READ_BY_HOST else send(tensor, device) for name, tensor in self.inputs.items()
        }
        index, targets, owners = (send(each, device) for each in (self.index, self.targets, self.owners))
        return replace(self, inputs=inputs, index=index, targets=targets, owners=owners)


class ChatCollator:
    """Makes batches for one model.

    Args:
        model: of transformers, with adapters or without; it says how positions are counted.
    """

    def __init__(self, model: Any) -> None:
        self._model = plain_model(model)
        config = self._model.config
        self._image_tokens: int | None = getattr(config, "num_query_tokens", None)

    def __call__(self, rows: Sequence[ChatRow]) -> ChatBatch:
        """Pad rows on the right, where a causal model does not look; on the host."""
        ids, mask = padded([row.ids for row in rows], left=False)
        inputs = {"input_ids": ids} | {name: _kinds(rows, name, ids.shape[1]) for name in _names(rows, "kinds")}
        inputs |= {name: _joined(rows, name) for name in _names(rows, "images")}
        if rows[0].decoder_ids is not None:
            inputs["decoder_input_ids"], _ = padded([row.decoder_ids or () for row in rows], left=False)
            inputs["attention_mask"] = torch.ones_like(ids) if mask is None else mask
        seen = {**inputs, "attention_mask": torch.ones_like(ids) if mask is None else mask}
        places = image_positions(self._model, seen)
        if places is not None:
            inputs["position_ids"] = places[0]
        inputs |= vision_arguments(self._model, inputs)
        width = max(len(row.targets) for row in rows)
        targets = torch.tensor([[*row.targets, *[IGNORED] * (width - len(row.targets))] for row in rows]).flatten()
        index = (targets != IGNORED).nonzero()[:, 0]
        return ChatBatch(inputs, index, targets[index], index // width, len(rows), ids.numel())

    def placeholder(self) -> ChatRow:
        """Return a row for a worker that has none: two tokens, with the image that BLIP-2 does not do without."""
        if self._image_tokens is None:
            kinds = {"mm_token_type_ids": torch.zeros(2, dtype=torch.long)}
            return ChatRow((0, 0), (0, IGNORED), kinds if has_image_positions(self._model) else {})
        config = self._model.config
        side = config.vision_config.image_size
        images = {"pixel_values": torch.zeros(1, 3, side, side)}
        if config.model_type == "instructblip":
            images |= dict.fromkeys(("qformer_input_ids", "qformer_attention_mask"), torch.ones(1, 1, dtype=torch.long))
        ids = [config.image_token_index] * self._image_tokens
        if config.text_config.is_encoder_decoder:
            return ChatRow((*ids, 0), (0,), images=images, decoder_ids=(0,))
        return ChatRow((*ids, 0), (*[IGNORED] * len(ids), 0), images=images)


def _names(rows: Sequence[ChatRow], attribute: str) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in getattr(row, attribute)))


def _kinds(rows: Sequence[ChatRow], name: str, width: int) -> Tensor:
    """(R, width, …), zeros behind each row."""
    known = next(row.kinds[name] for row in rows if name in row.kinds)
    values = known.new_zeros(len(rows), width, *known.shape[1:])
    for place, row in enumerate(rows):
        if name in row.kinds:
            values[place, : len(row.ids)] = row.kinds[name]
    return values


def _joined(rows: Sequence[ChatRow], name: str) -> Tensor:
    """Join the images of all rows; where their tensors differ in shape (tiles, question), zeros stand behind."""
    parts = [row.images[name] for row in rows if name in row.images]
    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    return torch.cat([_grown(part, largest) for part in parts])


def _grown(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    missing = [wanted - given for wanted, given in zip(sizes, tensor.shape[1:], strict=True)]
    if not any(missing):
        return tensor
    return F.pad(tensor, [side for each in reversed(missing) for side in (0, each)])
