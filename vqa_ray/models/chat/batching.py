"""The rows that a chat model reads: prompts with the tensors of their images, gathered into batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.chat.processor import Encoded


@dataclass(frozen=True, slots=True, eq=False)
class ImageTensors:
    """The processor's output for one image, or for several that are shown together.

    Attributes:
        tensors: by name; their first dimension is the one that joins images.
        count: how many images.
        size: (height, width) in pixels as the model sees the first.
    """

    tensors: Mapping[str, Tensor]
    count: int
    size: tuple[int, int]

    @property
    def layout(self) -> Hashable:
        """Images of one layout can be joined."""
        return tuple((name, tensor.shape[1:]) for name, tensor in sorted(self.tensors.items()))


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """One question of one image.

    Attributes:
        index: its place among all questions of the call.
        image: shared by the prompts about that image.
        encoded: its tokens.
        split: tokens up to here hold the image and are the same for other prompts about it; the rest is its own.
        warning: what was left out, or None.
    """

    index: int
    image: ImageTensors
    encoded: Encoded
    split: int
    warning: str | None = None

    @property
    def shared(self) -> Hashable:
        """Prompts of one such key read the same image in the same words."""
        return id(self.image), self.encoded.ids[: self.split]


def batches(prompts: Sequence[Prompt], cost: Callable[[Prompt, bool], int], limit: int) -> list[list[Prompt]]:
    """Split prompts into batches of one layout; those about one image stay together, and lengths are alike.

    Args:
        prompts: in any order.
        cost: of a prompt, and whether it is the first about its image in the batch.
        limit: what a batch may cost in all, unless it is a single prompt.
    """
    layouts: dict[Hashable, int] = {}
    seen: dict[Hashable, int] = {}
    for prompt in prompts:
        layouts.setdefault(prompt.image.layout, len(layouts))
        seen.setdefault(prompt.shared, len(seen))
    ordered = sorted(prompts, key=lambda p: (layouts[p.image.layout], p.split, seen[p.shared], len(p.encoded.ids)))
    found: list[list[Prompt]] = []
    spent = 0
    for prompt in ordered:
        before = found[-1][-1] if found else None
        new = before is None or before.shared != prompt.shared
        spent += cost(prompt, new)
        if before is None or before.image.layout != prompt.image.layout or spent > limit:
            found.append([])
            spent = cost(prompt, True)
        found[-1].append(prompt)
    return found


def collate(
    rows: Sequence[Encoded], images: Sequence[ImageTensors], model: Any, padding: Sequence[int]
) -> dict[str, Tensor]:
    """Return the arguments of a forward pass over rows that each bring their images, on the host.

    Args:
        rows: as many of each.
        images: as many of each.
        model: says in which dtype pixels are wanted.
        padding: the token that pads each row; one of text, and of the row itself, so that padding adds no token that a
            repetition penalty would count.

    Returns:
        input_ids and attention_mask, int64 (R, L), left-padded; the mask hides the padding. Then what else the model
        wants.
    """
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row.ids)) + list(row.ids) for row, pad in zip(rows, padding, strict=True)])
    mask = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows])
    kinds = {name: torch.stack([_left_padded(row.kinds[name], width) for row in rows]) for name in rows[0].kinds}
    joined = {name: torch.cat([image.tensors[name] for image in images]) for name in images[0].tensors}
    inputs = {"input_ids": ids, "attention_mask": mask, **kinds, **joined}
    # Fuyu multiplies pixels as they come.
    return {name: tensor.to(model.dtype) if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}


def _left_padded(values: Tensor, width: int) -> Tensor:
    """(L, …) → (width, …), zeros before."""
    return torch.cat([values.new_zeros(width - len(values), *values.shape[1:]), values])


def followed_by(encoded: Encoded, tokens: Sequence[int]) -> Encoded:
    """Return a prompt with tokens of text behind it."""
    kinds = {name: _extended(values, len(tokens)) for name, values in encoded.kinds.items()}
    return Encoded((*encoded.ids, *tokens), kinds)


def _extended(values: Tensor, count: int) -> Tensor:
    """Values per token, with those of `count` tokens of text behind: what they see stays, their kind is text's."""
    behind = values[-1:] if values.dim() > 1 else torch.zeros_like(values[-1:])
    return torch.cat([values, behind.expand(count, *values.shape[1:])])


def positions(mask: Tensor) -> Tensor:
    """Position of each token of left-padded rows, int64 (R, L), from their mask."""
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)
