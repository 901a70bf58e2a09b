"""Learning the answers of conversations: rows cut into passes by their tokens, the loss divided by answer tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from vqa_ray.training.chat.collate import ChatCollator
from vqa_ray.training.chat.network import ChatNetwork
from vqa_ray.training.chat.row import ChatRow
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.step import Trainer

# On a CPU more tokens at once cost memory and gain no speed; on CUDA a pass that does not fit is halved.
_CPU_TOKENS, _CUDA_TOKENS = 4_096, 16_384


class ChatTrainer(Trainer[ChatRow]):
    """Learns to say the answers of conversations; see `Trainer`.

    Args:
        network: with trainable weights, on its device.
        collate: pads rows.
        config, total_steps, dtype, device, seed: see `Trainer`.
        projector: names of the parameters of `network` that learn at the projector's rate.
        tokens_per_pass: padded tokens of a pass; None chooses for the device.
    """

    def __init__(
        self,
        network: ChatNetwork,
        collate: ChatCollator,
        config: OptimizerConfig,
        total_steps: int,
        dtype: torch.dtype,
        *,
        device: torch.device,
        seed: int = 0,
        projector: Collection[str] = (),
        tokens_per_pass: int | None = None,
    ) -> None:
        self.network = network
        self._collate, self._projector = collate, frozenset(projector)
        tokens = tokens_per_pass or (_CUDA_TOKENS if device.type == "cuda" else _CPU_TOKENS)
        super().__init__(network, config, total_steps, dtype, device=device, seed=seed, tokens_per_pass=tokens)

    def is_head(self, name: str) -> bool:
        """See `Trainer`: the projector."""
        return name in self._projector

    def passes(self, groups: Sequence[ChatRow]) -> list[list[ChatRow]]:
        """See `Trainer`; rows of about one length stand together, so that little is padded."""
        parts: list[list[ChatRow]] = []
        # The longest first: where memory does not suffice, the first pass shows it.
        for row in sorted(groups, key=lambda row: row.tokens, reverse=True):
            if not parts or parts[-1][0].tokens * (len(parts[-1]) + 1) > self.tokens_per_pass:
                parts.append([])
            parts[-1].append(row)
        return parts

    def tokens(self, part: Sequence[ChatRow]) -> int:
        """See `Trainer`: padded tokens."""
        return len(part) * max(row.tokens for row in part)

    def rows(self, part: Sequence[ChatRow]) -> int:
        """See `Trainer`."""
        return len(part)

    def weight(self, part: Sequence[ChatRow]) -> int:
        """See `Trainer`: tokens of the answers, over which the loss is a sum."""
        return sum(row.answer_tokens for row in part)

    def to_device(self, group: ChatRow) -> ChatRow:
        """Return a row as it is: rows go to the device together, padded."""
        return group

    def begin(self, parts: Sequence[Sequence[ChatRow]]) -> None:
        """Nothing: a row's loss is its own."""

    def pass_loss(self, groups: Sequence[ChatRow], state: None, index: int) -> Tensor:
        """See `Trainer`."""
        loss: Tensor = self._replica(self._collate(groups).to(self.device))
        return loss

    def placeholder(self) -> ChatRow:
        """See `Trainer`."""
        return self._collate.placeholder()

    @torch.no_grad()
    def row_losses(self, rows: Sequence[ChatRow]) -> list[float]:
        """Return the loss of each row summed over its answer tokens, of this rank alone."""
        self.module.eval()
        found: dict[int, float] = {}
        for part in self.passes(rows):
            with self.autocast():
                losses = self.network.row_losses(self._collate(part).to(self.device))
            found |= zip(map(id, part), losses.float().tolist(), strict=True)
        return [found[id(row)] for row in rows]
