"""The forward pass of ViLT, exact but without its stock detours; inference and training share it.

What differs from transformers' `ViltModel`, with the same weights and the same result up to rounding:
images of one size form a group, so nothing is padded, masked or drawn at random; the tokens of all groups lie one
after the other, so the products of a batch are few and large; position grids are interpolated once per size;
attention runs through `scaled_dot_product_attention`; the last layer computes only [CLS], the one token that is read
from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqa_ray.models.layers.linear import FrozenLinear, differentiable_product, trained_linear
from vqa_ray.models.layers.packed_sequences import PackedSequences, Segment, joined, split


class Questions(Protocol):
    """Questions, each with its image, all of one size; see `Pairs` and `ViltNetwork.image_tokens`."""

    @property
    def input_ids(self) -> Tensor: ...
    @property
    def text_mask(self) -> Tensor | None: ...
    @property
    def pixels(self) -> Tensor: ...


class Pairs(NamedTuple):
    """N question/image pairs of one size.

    Attributes:
        input_ids: int64 (N, L), padded on the right.
        text_mask: bool (N, L), True where a token is real; None when nothing is padded.
        image_tokens: (N, 1 + patches, D) from `ViltNetwork.image_tokens`.
    """

    input_ids: Tensor
    text_mask: Tensor | None
    image_tokens: Tensor


class ViltNetwork(nn.Module):
    """Runs the modules of a `ViltForQuestionAnswering`, whose parameters it shares.

    Args:
        model: the transformers model, or peft's around it; it keeps owning the parameters, so it can be saved after
            training.
        mean, std: of the image normalisation, per channel, for pixels scaled to 0–1.
        frozen: the weights no longer change: projections are joined and packed, position grids kept. The model gives
            up its own copies of the encoder's matrices, so it can no longer be saved.
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
        self._layers: list[_FrozenLayer] = []
        if frozen:
            self.requires_grad_(False)
            if config.hidden_act == "gelu":
                self._layers = [_FrozenLayer(layer) for layer in model.vilt.encoder.layer]

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
        return self.all_image_tokens([pixels])[0]

    def all_image_tokens(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return `image_tokens` of each batch, computed by one product for all."""
        projection = self._embeddings.patch_embeddings.projection
        patches = [self._patches(pixels).to(projection.weight.dtype) for pixels in images]
        sizes = [len(part) for part in patches]
        projected = F.linear(joined(patches), projection.weight.flatten(1), projection.bias)
        return [self._embedded(pixels, x) for pixels, x in zip(images, split(projected, sizes), strict=True)]

    def _patches(self, pixels: Tensor) -> Tensor:
        """(B × patches, 3 × patch²), normalised."""
        batch, height, width, _ = pixels.shape
        x = (pixels.float() - self.mean) / self.std
        x = x.view(batch, height // self.patch, self.patch, width // self.patch, self.patch, 3)
        return x.permute(0, 1, 3, 5, 2, 4).reshape(-1, 3 * self.patch**2)

    def _embedded(self, pixels: Tensor, x: Tensor) -> Tensor:
        """Projected patches (B × patches, D) with their places and the class token."""
        batch, height, width, _ = pixels.shape
        rows, columns = height // self.patch, width // self.patch
        grid = self._grid(rows, columns)
        x = x.view(batch, rows * columns, -1) + grid[:, 1:]
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

    def forward(self, groups: Sequence[Pairs]) -> Tensor:
        """Logits of question/image pairs: (N, A) in the dtype of the weights, in the order of the groups."""
        return self.head(self.hidden(groups))

    def pairs(self, groups: Sequence[Questions]) -> list[Pairs]:
        """Questions with the tokens of their images."""
        images = self.all_image_tokens([group.pixels for group in groups])
        return [Pairs(g.input_ids, g.text_mask, tokens) for g, tokens in zip(groups, images, strict=True)]

    def hidden(self, groups: Sequence[Pairs]) -> PackedSequences:
        """All layers but the last, over pairs of any sizes together: only attention treats each group by itself."""
        x = self._pack(groups)
        for index, layer in enumerate(self.model.vilt.encoder.layer[:-1]):
            x = x.with_tokens(self._layer(layer, index, x))
        return x

    def head(self, hidden: PackedSequences) -> Tensor:
        """Run the last layer for [CLS] alone, and the classifier: (N, A) logits."""
        layers = self.model.vilt.encoder.layer
        x = self._layer(layers[-1], len(layers) - 1, hidden, only_first=True)
        # The stock pooler reads the first token of a sequence: here, the only one.
        pooled = self.model.vilt.pooler(self.model.vilt.layernorm(x)[:, None])
        logits: Tensor = self.model.classifier(pooled)
        return logits

    def _pack(self, groups: Sequence[Pairs]) -> PackedSequences:
        parts, segments = [], []
        for input_ids, text_mask, image_tokens in groups:
            text = self._embeddings.text_embeddings(input_ids=input_ids) + self._modality(0)
            x = torch.cat([text, image_tokens], dim=1)
            mask = None
            if text_mask is not None:
                seen = torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=text_mask.device)
                mask = torch.cat([text_mask, seen], dim=1)[:, None, None, :]
            segments.append(Segment(len(x), x.shape[1], text.shape[1], mask))
            parts.append(x.flatten(0, 1))
        return PackedSequences.of(parts, segments)

    def _layer(self, layer: Any, index: int, packed: PackedSequences, only_first: bool = False) -> Tensor:
        """One encoder layer: (T, D), or (N, D) of the first token of each pair."""
        x = packed.tokens
        if self._layers:
            return self._frozen_layer(layer, self._layers[index], packed, only_first)
        attention = layer.attention.attention
        q, k, v = _project(attention, layer.layernorm_before(x))
        if only_first:
            x, q = packed.first(x), packed.first(q)
        dropout = attention.dropout.p if self.training else 0.0
        attended = packed.attend(q, k, v, self.heads, dropout=dropout, training=self.training)
        x = x + layer.attention.output.dropout(trained_linear(layer.attention.output.dense, attended))
        hidden = trained_linear(layer.intermediate.dense, layer.layernorm_after(x))
        hidden = layer.intermediate.intermediate_act_fn(hidden)
        out: Tensor = x + layer.output.dropout(trained_linear(layer.output.dense, hidden))
        return out

    def _frozen_layer(self, layer: Any, frozen: _FrozenLayer, packed: PackedSequences, only_first: bool) -> Tensor:
        x = packed.tokens
        normed = layer.layernorm_before(x)
        k, v = frozen.key_value(normed).chunk(2, dim=-1)
        if only_first:
            x, normed = packed.first(x), packed.first(normed)
        x = frozen.attended.plus(packed.attend(frozen.query(normed), k, v, self.heads), x)
        return frozen.down.plus(frozen.up.gelu(layer.layernorm_after(x)), x)


class _FrozenLayer:
    """The matrices of one encoder layer, taken from it."""

    def __init__(self, layer: Any) -> None:
        attention = layer.attention.attention
        weight, bias = _join_projections(attention)
        width = weight.shape[1]
        self.query = FrozenLinear(weight[:width], bias[:width])
        self.key_value = FrozenLinear(weight[width:], bias[width:])
        self.attended = _taken(layer.attention.output.dense)
        self.up = _taken(layer.intermediate.dense)
        self.down = _taken(layer.output.dense)
        for part in (attention.query, attention.key, attention.value):
            _empty(part)


def _taken(linear: Any) -> FrozenLinear:
    projection = FrozenLinear(linear.weight, linear.bias)
    _empty(linear)
    return projection


def _empty(linear: Any) -> None:
    linear.weight = nn.Parameter(linear.weight.new_empty(0), requires_grad=False)


def _project(attention: Any, x: Tensor) -> Sequence[Tensor]:
    """Query, key and value of x, by one product where all three are plain; adapted ones are called one by one."""
    if any(type(part) is not nn.Linear for part in (attention.query, attention.key, attention.value)):
        return attention.query(x), attention.key(x), attention.value(x)
    weight, bias = _join_projections(attention)
    return differentiable_product(x, weight, bias).chunk(3, dim=-1)


def _join_projections(attention: Any) -> tuple[Tensor, Tensor]:
    """Query, key and value as one (3D, D) projection: one large product instead of three small ones."""
    parts = (attention.query, attention.key, attention.value)
    weight = torch.cat([part.weight for part in parts])
    if parts[0].bias is None:
        return weight, torch.zeros(weight.shape[0], dtype=weight.dtype, device=weight.device)
    return weight, torch.cat([part.bias for part in parts])
