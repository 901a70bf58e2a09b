"""The contrastive loss against one that is spelled out, and against that of transformers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from vqa_ray.training.contrastive.loss import contrastive_loss, same_pair_mask


def unit(rows: int, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, size, generator=generator), dim=-1)


def spelled_out(images: Tensor, texts: Tensor, keys: list[tuple[int, int]], scale: float) -> list[float]:
    """The loss of each row, one number at a time."""
    losses = []
    for row in range(len(keys)):
        right = [i for i in range(len(keys)) if keys[i][0] == keys[row][0] or keys[i][1] == keys[row][1]]
        total = 0.0
        for mine, others in ((images[row], texts), (texts[row], images)):
            scores = [scale * float(mine @ other) for other in others]
            whole = math.log(sum(math.exp(score) for score in scores))
            total -= sum(scores[i] - whole for i in right) / len(right)
        losses.append(total / 2)
    return losses


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9),
    st.floats(0.1, 20),
    st.data(),
)
def test_equals_the_loss_spelled_out(keys: list[tuple[int, int]], scale: float, data: st.DataObject) -> None:
    images, texts = unit(len(keys), 5, 1), unit(len(keys), 5, 2)
    first = data.draw(st.integers(0, len(keys) - 1))
    rows = data.draw(st.integers(0, len(keys) - first))
    wanted = spelled_out(images, texts, keys, scale)[first : first + rows]
    found = contrastive_loss(images, texts, torch.tensor(keys), torch.tensor(scale), first=first, rows=rows)
    assert float(found) == pytest.approx(sum(wanted), rel=1e-4, abs=1e-4)


def test_equals_that_of_transformers_where_no_two_rows_are_alike() -> None:
    images, texts = unit(8, 6, 1), unit(8, 6, 2)
    keys = torch.stack([torch.arange(8), torch.arange(8)], dim=1)
    found = contrastive_loss(images, texts, keys, torch.tensor(14.3)) / 8
    assert float(found) == pytest.approx(float(image_text_contrastive_loss(14.3 * texts @ images.T)), rel=1e-5)


def test_rows_with_the_same_caption_or_image_are_alike() -> None:
    keys = torch.tensor([[1, 10], [2, 10], [1, 11], [3, 12]])
    assert same_pair_mask(keys, keys).tolist() == [
        [True, True, True, False],
        [True, True, False, False],
        [True, False, True, False],
        [False, False, False, True],
    ]


def test_an_equal_caption_does_not_push_its_image_away() -> None:
    # Two images that look alike to the network, and a caption that fits both as well.
    images, texts = unit(1, 4, 1).repeat(2, 1), unit(1, 4, 2).repeat(2, 1)
    for captions, is_pushed in (([5, 5], False), ([5, 6], True)):
        leaf = images.clone().requires_grad_()
        keys = torch.tensor([[0, captions[0]], [1, captions[1]]])
        contrastive_loss(leaf, texts, keys, torch.tensor(10.0), first=0, rows=1).backward()
        assert leaf.grad is not None
        # How the other image would move: where a caption is not its own, away from it.
        assert (float(leaf.grad[1] @ texts[0]) > 0.1) == is_pushed
