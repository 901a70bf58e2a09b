"""A dual encoder as it is trained: the towers of a `CLIPModel` over groups of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqa_ray.training.auxiliary import auxiliary_heads
from vqa_ray.training.data.batch import Group


class PairNetwork(nn.Module):
    """Runs the modules of a `CLIPModel`, whose parameters it shares, so that the model can be saved after training.

    Args:
        model: the transformers model.
        mean, std: of the image normalisation, per channel, for pixels scaled to 0–1.
        auxiliary: number of classes of each auxiliary head, which reads the mean of the image tokens.
        seed: of the auxiliary heads.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: Any,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        auxiliary: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        vision = model.config.vision_config
        self.side: int = vision.image_size
        self.patch: int = vision.patch_size
        self.auxiliary = auxiliary_heads(vision.hidden_size, auxiliary, seed=seed, device=model.device)
        self.register_buffer("mean", 255 * torch.tensor(mean), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std), persistent=False)

    def forward(self, groups: Sequence[Group]) -> tuple[Tensor, ...]:
        """Encode images and texts.

        Returns:
            Unit vectors of the images and of their texts, both float32 (N, D); what similarities are multiplied by; the
            logits of each auxiliary head (N, classes).
        """
        looked = self._looked([group.pixels for group in groups])
        texts = torch.cat([self.texts(group.input_ids) for group in groups])
        scale: Tensor = self.model.logit_scale.exp()
        mean_token = looked.last_hidden_state[:, 1:].mean(dim=1) if len(self.auxiliary) else None
        return _unit(looked.pooler_output), texts, scale, *(head(mean_token) for head in self.auxiliary)

    def images(self, pixels: Sequence[Tensor]) -> Tensor:
        """Return unit vectors, float32 (N, D), of uint8 images (n, H, W, 3) at the model's size or to be cut to it."""
        return _unit(self._looked(pixels).pooler_output)

    def texts(self, input_ids: Tensor) -> Tensor:
        """Return unit vectors, float32 (N, D), of token ids (N, L); nothing behind a text's end counts."""
        return _unit(self.model.get_text_features(input_ids=input_ids).pooler_output)

    def _looked(self, pixels: Sequence[Tensor]) -> Any:
        """Run the image tower and its projection over uint8 images."""
        x = torch.cat([self._cropped(part) for part in pixels])
        x = ((x.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        return self.model.get_image_features(pixel_values=x)

    def _cropped(self, pixels: Tensor) -> Tensor:
        """Return the middle of the images: (N, side, side, 3)."""
        top, left = ((edge - self.side) // 2 for edge in pixels.shape[1:3])
        return pixels[:, top : top + self.side, left : left + self.side]


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.float(), dim=-1)
