"""Learning which caption belongs to which image, over a batch that may lie on several ranks and in several passes.

The loss of a pair depends on every other pair of the batch, so the vectors of all of them are needed before anything
goes backward. They are gathered, each rank computes the loss of its own rows against all, and the gradients of the
vectors are summed over the ranks; what then goes backward through the towers, pass by pass, is the product of vectors
and their gradients (as in GradCache, Gao et al. 2021, arXiv:2101.06983). A rank with one pass keeps its first forward;
several are run again, one by one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vqa_ray.training import distributed, microbatch
from vqa_ray.training.auxiliary import auxiliary_loss
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.contrastive.loss import KEYS, MAX_SCALE, contrastive_loss
from vqa_ray.training.contrastive.network import PairNetwork
from vqa_ray.training.data.batch import Group
from vqa_ray.training.group_trainer import GroupTrainer
from vqa_ray.training.step import Step


class PairGradients(NamedTuple):
    """The loss of some rows, and its gradients: of their vectors (N, 2 D), images beside texts, and of the scale."""

    loss: Tensor
    vectors: Tensor
    scale: Tensor


class BatchState(NamedTuple):
    """What is known of a batch before its passes.

    Attributes:
        counts: rows of each rank.
        known: of each pass; None where every rank has one pass, which then finds out by itself.
        seed: of the dropout of the first pass, the next number of the next.
    """

    counts: list[int]
    known: list[PairGradients] | None
    seed: int


class PairTrainer(GroupTrainer):
    """Learns by the contrastive loss, and classes beside it; see `contrastive`, `auxiliary` and `Trainer`.

    The learned scale stays at or below 100.

    Args:
        network: with trainable weights, on its device.
        config, total_steps, dtype, seed: see `Trainer`.
        tokens_per_pass: larger groups are cut; None chooses for the device. Halved when memory does not suffice.
    """

    def __init__(
        self,
        network: PairNetwork,
        config: OptimizerConfig,
        total_steps: int,
        dtype: torch.dtype = torch.bfloat16,
        *,
        seed: int = 0,
        tokens_per_pass: int | None = None,
    ) -> None:
        self.network = network
        device = network.mean.device
        towers = network.model.config.vision_config, network.model.config.text_config
        super().__init__(
            network,
            config,
            total_steps,
            dtype,
            device=device,
            seed=seed,
            patch=network.patch,
            tokens_per_pass=tokens_per_pass or microbatch.default_pair_tokens(*towers, device),
        )

    def train_step(self, groups: Sequence[Group]) -> Step:
        """See `Trainer`."""
        done = super().train_step(groups)
        with torch.no_grad():
            self.network.model.logit_scale.clamp_(max=math.log(MAX_SCALE))
        return done

    def begin(self, parts: Sequence[Sequence[Group]]) -> BatchState:
        """Return the rows of each rank, and where any rank has several passes the gradients of all vectors."""
        # What ranks do together cannot be done again by one alone.
        self._exchanged = self._ranks > 1
        rows = sum(microbatch.rows(part) for part in parts)
        sizes = torch.tensor([[rows, len(parts)]])
        if self._ranks > 1:
            sizes = distributed.gathered_rows(sizes.to(self.device), [1] * self._ranks)
        counts, most = sizes[:, 0].tolist(), int(sizes[:, 1].max())
        seed = torch.initial_seed()
        if most <= 1:
            return BatchState(counts, None, seed)
        vectors = [torch.zeros(0, 2 * self.network.model.config.projection_dim, device=self.device)]
        keys = [torch.zeros(0, KEYS, dtype=torch.long, device=self.device)]
        with torch.no_grad():
            for index, part in enumerate(parts):
                torch.manual_seed(seed + index)
                moved = [group.to(self.device) for group in part]
                with self.autocast():
                    images, texts, *_ = self.network(moved)
                vectors.append(torch.cat([images, texts], dim=1))
                keys.append(_keys(moved))
            scale = self.network.model.logit_scale.exp()
        known = self._known(torch.cat(vectors), torch.cat(keys), scale, counts)
        # The loss and the gradient of the scale are those of all passes together: they go with the first.
        ends = list(itertools.accumulate(microbatch.rows(part) for part in parts))
        nothing = torch.zeros_like(known.loss)
        shares = [
            PairGradients(
                known.loss if index == 0 else nothing,
                known.vectors[end - microbatch.rows(part) : end],
                known.scale if index == 0 else nothing,
            )
            for index, (part, end) in enumerate(zip(parts, ends, strict=True))
        ]
        return BatchState(counts, shares, seed)

    def pass_loss(self, groups: Sequence[Group], state: BatchState, index: int) -> Tensor:
        """See `Trainer`: its value is the loss, its gradient that of the whole batch's."""
        if state.known is not None:
            torch.manual_seed(state.seed + index)
        images, texts, scale, *classes = self._replica(groups)
        rows = state.counts[self._rank]
        vectors = torch.cat([images, texts], dim=1)
        if state.known is not None:
            known = state.known[index] if rows else None
        else:
            known = self._known(vectors.detach()[:rows], _keys(groups)[:rows], scale.detach(), state.counts)
        if not rows or known is None:
            # Of a row that stands for none, nothing is wanted.
            nothing: Tensor = vectors.sum() + scale + sum(logits.sum() for logits in classes)
            return nothing
        going_back = (vectors * known.vectors).sum() + scale * known.scale
        loss: Tensor = going_back + (known.loss - going_back).detach()
        if classes:
            loss = loss + auxiliary_loss(classes, torch.cat([group.attributes[:, KEYS:] for group in groups]))
        return loss

    def placeholder(self) -> Group:
        """See `Trainer`."""
        side = self.network.side
        end = self.network.model.config.text_config.eos_token_id
        return Group(
            torch.zeros(1, side, side, 3, dtype=torch.uint8),
            torch.full((1, 1), end, dtype=torch.long),
            None,
            torch.zeros(1, 0),
            torch.zeros(1, KEYS + len(self.network.auxiliary), dtype=torch.long),
        )

    def _known(self, vectors: Tensor, keys: Tensor, scale: Tensor, counts: Sequence[int]) -> PairGradients:
        """Every rank must call.

        Args:
            vectors: float32 (N, 2 D) of this rank's rows, without a gradient.
            keys: int64 (N, KEYS).
            scale: (), without a gradient.
            counts: rows of each rank.
        """
        first, rows = sum(counts[: self._rank]), counts[self._rank]
        together = distributed.gathered_rows(vectors, counts).requires_grad_()
        all_keys = distributed.gathered_rows(keys, counts)
        factor = scale.float().clone().requires_grad_()
        with torch.enable_grad(), torch.autocast(self.device.type, enabled=False):
            images, texts = together.chunk(2, dim=1)
            loss = contrastive_loss(images, texts, all_keys, factor, first=first, rows=rows)
            of_vectors, of_scale = torch.autograd.grad(loss, [together, factor])
        of_vectors = distributed.sum_over_ranks(of_vectors)
        return PairGradients(loss.detach(), of_vectors[first : first + rows], of_scale)


def _keys(groups: Sequence[Group]) -> Tensor:
    """int64 (N, KEYS)."""
    return torch.cat([group.attributes[:, :KEYS] for group in groups])
