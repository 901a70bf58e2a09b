"""A chat model in training: the loss of answers, computed for the tokens of answers alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqa_ray.models.chat.host_arguments import CountedImages, read_less
from vqa_ray.training.chat.collate import ChatBatch
from vqa_ray.training.chat.parts import language_model, plain_model


class ChatNetwork(nn.Module):
    """The module that is trained, in one forward, as gradients over several workers need it.

    Args:
        model: with trainable weights, on its device; see `lora.prepare`.
        checkpointing: whether activations are computed anew for the backward instead of kept.
    """

    def __init__(self, model: Any, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.model = model
        inner = plain_model(model)
        spoken = {id(weight) for weight in language_model(inner).parameters()}
        spoken |= {id(weight) for weight in inner.get_output_embeddings().parameters()}
        self._seeing = [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in spoken]
        self._frozen = [
            part
            for part in inner.modules()
            if (weights := list(part.parameters())) and not any(weight.requires_grad for weight in weights)
        ]
        self._counted_images = CountedImages(next(model.parameters()).device)
        self._index: Tensor | None = None
        inner.get_output_embeddings().register_forward_pre_hook(self._answers_alone)
        read_less(inner)
        if checkpointing:
            # The former name, of transformers before 5.20.
            enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
            enable({"use_reentrant": False})

    def forward(self, batch: ChatBatch) -> Tensor:
        """Return the loss of a batch, summed over the tokens of its answers."""
        loss = self._token_losses(batch).sum()
        if not batch.shows_images:
            # Workers exchange the gradients of all weights, of a projector without images too.
            loss = loss + sum((weight.sum() * 0.0 for weight in self._seeing), torch.zeros_like(loss))
        return loss

    def row_losses(self, batch: ChatBatch) -> Tensor:
        """Return the loss of each row, summed over the tokens of its answers: float32 (R,)."""
        losses = self._token_losses(batch)
        return losses.new_zeros(batch.rows).index_add(0, batch.owners, losses)

    def train(self, mode: bool = True) -> ChatNetwork:
        """See `Module.train`; frozen parts outside of the language model stay without dropout."""
        super().train(mode)
        for part in self._frozen if mode else ():
            part.eval()
        return self

    def _token_losses(self, batch: ChatBatch) -> Tensor:
        """−log p of each target, float32 (N,)."""
        self._index = batch.index
        try:
            with self._counted_images.checked():
                logits: Tensor = plain_model(self.model)(**batch.inputs, use_cache=False, return_dict=True).logits
        finally:
            self._index = None
        return F.cross_entropy(logits.flatten(0, -2).float(), batch.targets, reduction="none")

    def _answers_alone(self, head: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Hand the head the hidden states (R, L, D) of `_index` alone, as (1, N, D)."""
        del head
        return None if self._index is None else (given[0].flatten(0, 1)[self._index][None],)
