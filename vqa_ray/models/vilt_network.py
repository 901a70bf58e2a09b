"""The forward pass of ViLT, exact but without its stock detours; inference and training share it.

What differs from transformers' `ViltModel`, with the same weights and the same result up to rounding:
images of one size form a batch, so nothing is padded, masked or drawn at random; position grids are interpolated
once per size; attention runs through `scaled_dot_product_attention`; the last layer computes only [CLS], the one
token that is read from it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ViltNetwork(nn.Module):
    """Runs the modules of a `ViltForQuestionAnswering`, whose parameters it shares.

    Args:
        model: the transformers model; it keeps owning the parameters, so it can be saved after training.
        mean, std: of the image normalisation, per channel, for pixels scaled to 0–1.
        frozen: the weights no longer change: projections are fused and position grids kept.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: Any,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self.heads: int = config.num_attention_heads
        self.patch: int = config.patch_size
        self.max_patches: int = config.max_image_length
        self.frozen = frozen
        self.register_buffer("mean", 255 * torch.tensor(mean), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std), persistent=False)
        self._grids: dict[tuple[int, int], Tensor] = {}
        self._fused: list[tuple[Tensor, Tensor]] = []
        if frozen:
            self.requires_grad_(False)
            for layer in model.vilt.encoder.layer:
                self._fused.append(_join_projections(layer.attention.attention))

    @property
    def _embeddings(self) -> Any:
        return self.model.vilt.embeddings

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """Embed images of one size.

        Args:
            pixels: uint8 or float (B, H, W, 3) in 0–255, H and W multiples of the patch size.

        Returns:
            (B, 1 + patches, D): the visual class token, then patches in row-major order.
        """
        weight = self._embeddings.patch_embeddings.projection.weight
        batch, height, width, _ = pixels.shape
        rows, columns = height // self.patch, width // self.patch
        x = ((pixels.float() - self.mean) / self.std).to(weight.dtype)
        x = x.view(batch, rows, self.patch, columns, self.patch, 3).permute(0, 1, 3, 5, 2, 4)
        x = F.linear(
            x.reshape(batch, rows * columns, -1),
            weight.flatten(1),
            self._embeddings.patch_embeddings.projection.bias,
        )
        grid = self._grid(rows, columns)
        x = x + grid[:, 1:]
        if 0 < self.max_patches < rows * columns:
            # The stock model draws this many patches at random; an even spread is repeatable.
            keep = torch.linspace(0, rows * columns - 1, self.max_patches, device=x.device).round().long()
            x = x[:, keep]
        first = (self._embeddings.cls_token + grid[:, :1]).expand(batch, -1, -1)
        x = torch.cat([first, x], dim=1)
        tokens: Tensor = self._embeddings.dropout(x) + self._modality(1)
        return tokens

    def _modality(self, index: int) -> Tensor:
        row: Tensor = self._embeddings.token_type_embeddings.weight[index]
        return row

    def _grid(self, rows: int, columns: int) -> Tensor:
        """Position embeddings (1, 1 + rows × columns, D), interpolated bilinearly as in pre-training."""
        if (rows, columns) in self._grids:
            return self._grids[rows, columns]
        table = self._embeddings.position_embeddings
        side = int((table.shape[1] - 1) ** 0.5)
        square = table[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
        # Interpolated in float32 whatever the weights' dtype: the result is what is rounded, once.
        grid = F.interpolate(square.float(), size=(rows, columns), mode="bilinear", align_corners=True)
        full = torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
        if self.frozen:
            self._grids[rows, columns] = full
        return full

    def forward(self, input_ids: Tensor, text_mask: Tensor | None, image_tokens: Tensor) -> Tensor:
        """Logits of question/image pairs.

        Args:
            input_ids: int64 (N, L), padded on the right.
            text_mask: bool (N, L), True where a token is real; None when nothing is padded.
            image_tokens: (N, 1 + patches, D) from `image_tokens`.

        Returns:
            (N, A) logits in the dtype of the weights.
        """
        hidden, mask = self.hidden(input_ids, text_mask, image_tokens)
        return self.head(hidden, mask)

    def hidden(self, input_ids: Tensor, text_mask: Tensor | None, image_tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """All layers but the last: hidden states (N, L + 1 + patches, D) and the attention mask they need."""
        text = self._embeddings.text_embeddings(input_ids=input_ids) + self._modality(0)
        x = torch.cat([text, image_tokens], dim=1)
        mask = None
        if text_mask is not None:
            seen = torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=text_mask.device)
            mask = torch.cat([text_mask, seen], dim=1)[:, None, None, :]
        for index, layer in enumerate(self.model.vilt.encoder.layer[:-1]):
            x = self._layer(layer, index, x, mask)
        return x, mask

    def head(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """The last layer, for [CLS] alone, and the classifier: (N, A) logits."""
        layers = self.model.vilt.encoder.layer
        x = self._layer(layers[-1], len(layers) - 1, hidden, mask, only_first=True)
        pooled = self.model.vilt.pooler(self.model.vilt.layernorm(x))
        logits: Tensor = self.model.classifier(pooled)
        return logits

    def _layer(self, layer: Any, index: int, x: Tensor, mask: Tensor | None, only_first: bool = False) -> Tensor:
        attention = layer.attention.attention
        normed = layer.layernorm_before(x)
        width = x.shape[-1]
        if self.frozen:
            weight, bias = self._fused[index]
        else:
            weight, bias = _join_projections(attention)
        if only_first:
            x = x[:, :1]
            q = F.linear(normed[:, :1], weight[:width], bias[:width])
            k, v = F.linear(normed, weight[width:], bias[width:]).chunk(2, dim=-1)
        else:
            q, k, v = F.linear(normed, weight, bias).chunk(3, dim=-1)
        dropout = attention.dropout.p if self.training else 0.0
        attend = _attend_plainly if self.training and x.device.type == "cpu" else F.scaled_dot_product_attention
        heads = attend(self._split(q), self._split(k), self._split(v), attn_mask=mask, dropout_p=dropout)
        joined = heads.transpose(1, 2).flatten(2)
        x = x + layer.attention.output.dropout(layer.attention.output.dense(joined))
        hidden = layer.intermediate(layer.layernorm_after(x))
        out: Tensor = x + layer.output.dropout(layer.output.dense(hidden))
        return out

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


def _attend_plainly(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None, dropout_p: float) -> Tensor:
    """Attention spelled out: on a CPU its backward is several times faster than the fused kernel's."""
    scores = q @ (k * q.shape[-1] ** -0.5).transpose(-1, -2)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    return F.dropout(scores.softmax(dim=-1, dtype=q.dtype), dropout_p) @ v


def _join_projections(attention: Any) -> tuple[Tensor, Tensor]:
    """Query, key and value as one (3D, D) projection: one large product instead of three small ones."""
    parts = (attention.query, attention.key, attention.value)
    weight = torch.cat([part.weight for part in parts])
    if parts[0].bias is None:
        return weight, torch.zeros(weight.shape[0], dtype=weight.dtype, device=weight.device)
    return weight, torch.cat([part.bias for part in parts])
