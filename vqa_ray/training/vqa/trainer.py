"""Learning answers: the network with what is trained beside it, its loss, and what it says of other rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training import microbatch
from vqa_ray.training.auxiliary import auxiliary_heads, auxiliary_loss
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.data.batch import Group
from vqa_ray.training.group_trainer import GroupTrainer


def vqa_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy summed over labels and samples (ViLT: mean over the batch times the number of labels).

    Args:
        logits: (N, A).
        targets: float32 (N, A) in 0–1.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum")


class TrainedNetwork(nn.Module):
    """The network and what is trained beside it, in one forward, as gradients over several ranks need it.

    The auxiliary heads read the mean of the image tokens before the last layer.

    Args:
        auxiliary: number of classes of each auxiliary head.
        seed: of the auxiliary heads.
    """

    def __init__(self, network: ViltNetwork, auxiliary: Sequence[int], seed: int) -> None:
        super().__init__()
        self.network = network
        width, device = network.model.config.hidden_size, network.mean.device
        self.auxiliary = auxiliary_heads(width, auxiliary, seed=seed, device=device)

    def forward(self, groups: Sequence[Group]) -> tuple[Tensor, ...]:
        """Logits of the answers (N, A), then of each auxiliary head (N, classes), of N rows together."""
        hidden = self.network.hidden(self.network.pairs(groups))
        logits = self.network.head(hidden)
        if not len(self.auxiliary):
            return (logits,)
        parts = zip(hidden.groups(hidden.tokens), hidden.segments, strict=True)
        pooled = torch.cat([part[:, segment.text_length :].mean(dim=1) for part, segment in parts])
        return (logits, *(head(pooled) for head in self.auxiliary))


class VqaTrainer(GroupTrainer):
    """Learns right answers: binary cross-entropy over the vocabulary, and classes beside it.

    Args:
        network: with trainable weights, on its device.
        config, total_steps, dtype: see `Trainer`.
        auxiliary: number of classes of each auxiliary head (`Group.attributes`; -1 is unknown and teaches nothing).
        seed: of dropout and the auxiliary heads.
        tokens_per_pass: larger groups are cut; None chooses for the device. Halved when memory does not suffice.
    """

    def __init__(
        self,
        network: ViltNetwork,
        config: OptimizerConfig,
        total_steps: int,
        dtype: torch.dtype = torch.bfloat16,
        *,
        auxiliary: Sequence[int] = (),
        seed: int = 0,
        tokens_per_pass: int | None = None,
    ) -> None:
        self.network = network
        device: torch.device = network.mean.device
        self.trained = TrainedNetwork(network, auxiliary, seed)
        super().__init__(
            self.trained,
            config,
            total_steps,
            dtype,
            device=device,
            seed=seed,
            patch=network.patch,
            tokens_per_pass=tokens_per_pass or microbatch.default_tokens(network.model.config, device),
        )

    def begin(self, parts: Sequence[Sequence[Group]]) -> None:
        """Nothing: a row's loss is its own."""

    def pass_loss(self, groups: Sequence[Group], state: None, index: int) -> Tensor:
        """See `Trainer`."""
        return self.loss(groups)

    def loss(self, groups: Sequence[Group]) -> Tensor:
        """Return the loss of groups on the network's device, summed over their rows."""
        logits, *others = self._replica(groups)
        total = vqa_loss(logits, torch.cat([group.targets for group in groups]))
        if others:
            total = total + auxiliary_loss(others, torch.cat([group.attributes for group in groups]))
        return total

    def placeholder(self) -> Group:
        """See `Trainer`."""
        return microbatch.placeholder_batch(
            self.network.model.config.num_labels, len(self.trained.auxiliary), self.patch
        )


@torch.no_grad()
def predictions(trainer: VqaTrainer, groups: Sequence[Group]) -> Iterator[tuple[Tensor, Tensor]]:
    """(float32 logits (N, A), targets (N, A)) of each group, on the CPU; of this rank alone."""
    trainer.module.eval()
    network, logits = trainer.network, []
    for part in microbatch.passes(groups, network.patch, trainer.tokens_per_pass):
        moved = [group.to(trainer.device) for group in part]
        with trainer.autocast():
            logits.append(network(network.pairs(moved)).float())
    if logits:
        sizes = [len(group.targets) for group in groups]
        found = torch.split(torch.cat(logits).cpu(), sizes)
        yield from zip(found, (group.targets for group in groups), strict=True)
