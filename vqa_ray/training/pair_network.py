"""A dual encoder as it is trained: the towers of a `CLIPModel` over groups of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqa_ray.training.batch import Group


class PairNetwork(nn.Module):
    """Runs the modules of a `CLIPModel`, whose parameters it shares, so that the model can be saved after training.

    Args:
        model: the transformers model.
        mean, std: of the image normalisation, per channel, for pixels scaled to 0–1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.side: int = model.config.vision_config.image_size
        self.patch: int = model.config.vision_config.patch_size
        self.register_buffer("mean", 255 * torch.tensor(mean), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std), persistent=False)

    def forward(self, groups: Sequence[Group]) -> tuple[Tensor, Tensor, Tensor]:
        """(unit vectors of the images, of their texts, both float32 (N, D); what similarities are multiplied by)."""
        images = self.images([group.pixels for group in groups])
        texts = torch.cat([self.texts(group.input_ids) for group in groups])
        return images, texts, self.model.logit_scale.exp()

    def images(self, pixels: Sequence[Tensor]) -> Tensor:
        """Unit vectors, float32 (N, D), of uint8 images (n, H, W, 3) at the model's size or to be cut to it."""
        x = torch.cat([self._cropped(part) for part in pixels])
        x = ((x.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        return _unit(self.model.get_image_features(pixel_values=x).pooler_output)

    def texts(self, input_ids: Tensor) -> Tensor:
        """Unit vectors, float32 (N, D), of token ids (N, L). What is behind a text's end is not looked at."""
        return _unit(self.model.get_text_features(input_ids=input_ids).pooler_output)

    def _cropped(self, pixels: Tensor) -> Tensor:
        """The middle of the images: (N, side, side, 3)."""
        top, left = ((edge - self.side) // 2 for edge in pixels.shape[1:3])
        return pixels[:, top : top + self.side, left : left + self.side]


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.float(), dim=-1)
