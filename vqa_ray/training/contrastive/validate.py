"""Validation of pairs: every image and caption encoded once, and how well each finds the other among all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from vqa_ray import schema
from vqa_ray.errors import RunError
from vqa_ray.evaluation.recall import ranks_of_right, recall_at
from vqa_ray.training import microbatch
from vqa_ray.training.contrastive.batch import collate_pairs, text_keys
from vqa_ray.training.contrastive.loss import contrastive_loss
from vqa_ray.training.contrastive.trainer import PairTrainer
from vqa_ray.training.data.batch import Group, padded_tokens
from vqa_ray.training.data.captions import NO_CAPTION
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow
from vqa_ray.training.prefetch import Prefetcher
from vqa_ray.training.validation import ValidationMetrics, by_key, failed_rows, usable_rows

KS = (1, 5, 10)
DIRECTIONS = ("text_to_image", "image_to_text")

# One row per validation row: the unit vectors of its image and of its captions one after the other, and keys that are
# equal where images or captions are; null where status is `error`.
PAIR_RESULTS = pa.schema(
    [
        schema.SOURCE_KEY,
        pa.field("image_key", pa.int64()),
        pa.field("image_vector", pa.list_(pa.float32())),
        pa.field("text_keys", pa.list_(pa.int64())),
        pa.field("text_vectors", pa.list_(pa.float32())),
        *schema.STATUS,
    ]
)
_TEXTS_AT_ONCE = 256


class _Part(NamedTuple):
    table: pa.Table
    groups: list[tuple[npt.NDArray[np.int64], Group]]
    skipped: list[SkippedRow]


def validate_pairs(
    tables: Iterable[pa.Table], trainer: PairTrainer, tokenize: Callable[[str], tuple[int, ...]]
) -> pa.Table:
    """Encode validation rows; of this rank alone, without a word to the others.

    Args:
        tables: DECODED rows with TRAINING_FIELDS, whose captions stand where questions do; cut anywhere, in any order.
        trainer: whose network encodes.
        tokenize: caption → token ids.

    Returns:
        PAIR_RESULTS, one row for each row, in no particular order.
    """
    found = []
    with Prefetcher(_parts(tables, tokenize, trainer.device.type == "cuda"), 1) as parts:
        for part in parts:
            if part.table.num_rows:
                found.append(_encoded(part, trainer, tokenize))
            if part.skipped:
                found.append(failed_rows(part.skipped, PAIR_RESULTS))
    return pa.concat_tables(found) if found else PAIR_RESULTS.empty_table()


def pair_metrics(results: pa.Table, rows: LabelledRows, scale: float, batch_size: int) -> ValidationMetrics:
    """Return the metrics of a validation, however its rows were ordered and spread over ranks.

    A caption is asked once however many rows have it, and an image stands among the candidates once. What is right for
    a caption are all images that have it.

    Args:
        results: PAIR_RESULTS of all ranks together.
        rows: what was validated on.
        scale: what similarities are multiplied by in the loss.
        batch_size: rows of a batch of the loss.

    Returns:
        The loss of the first caption of each row in batches in order of key; as accuracy the mean of the recalls at 1,
        5 and 10 in both directions, which are the types.

    Raises:
        RunError: a row is missing, came twice or is none of `rows`; no row could be judged; the loss is no number.
    """
    validation = PairValidation.of(results, rows)
    loss = validation.pairs.loss(scale, batch_size)
    if not np.isfinite(loss):
        raise RunError(
            f"validation: the loss is {loss} over {validation.rows} rows: the network computes no numbers any more"
        )
    return validation.metrics(loss)


@dataclass(frozen=True)
class Pairs:
    """R rows with T captions of U different texts and V different images.

    Attributes:
        images: float32 (V, D). texts: float32 (U, D).
        image_of: int64 (R,), places in `images`.
        text_row, text_of: int64 (T,), the row of each caption and its place in `texts`.
    """

    images: npt.NDArray[np.float32]
    texts: npt.NDArray[np.float32]
    image_of: npt.NDArray[np.int64]
    text_row: npt.NDArray[np.int64]
    text_of: npt.NDArray[np.int64]

    @classmethod
    def of(cls, results: pa.Table) -> Pairs:
        """Return the pairs of PAIR_RESULTS without errors."""
        _, first, image_of = np.unique(results["image_key"].to_numpy(), return_index=True, return_inverse=True)
        lists = results["text_keys"].combine_chunks()
        _, first_text, text_of = np.unique(lists.flatten().to_numpy(), return_index=True, return_inverse=True)
        text_row = np.repeat(np.arange(len(results)), lists.value_lengths().to_numpy())
        images, texts = (
            _matrix(results[name], rows)
            for name, rows in (("image_vector", len(results)), ("text_vectors", len(text_of)))
        )
        return cls(images[first], texts[first_text], image_of, text_row, text_of)

    def loss(self, scale: float, batch_size: int) -> float:
        """Mean over the rows."""
        firsts = self.text_of[np.unique(self.text_row, return_index=True)[1]]
        keys = torch.from_numpy(np.stack([self.image_of, firsts], axis=1))
        total = 0.0
        for begin in range(0, len(keys), batch_size):
            part = slice(begin, begin + batch_size)
            images, texts = self.images[self.image_of[part]], self.texts[firsts[part]]
            batch = (torch.from_numpy(images), torch.from_numpy(texts), keys[part], torch.tensor(scale))
            total += float(contrastive_loss(*batch))
        return total / len(keys)

    def ranks(self) -> dict[str, npt.NDArray[np.int64]]:
        """Direction → int64, of each text or of each image: how many wrong ones it finds before the first right one."""
        # Each pair of an image and a text of it, once.
        known = np.unique(np.stack([self.text_of, self.image_of[self.text_row]]), axis=1)
        found = {}
        for direction, queries, candidates, pair in (
            (DIRECTIONS[0], self.texts, self.images, known),
            (DIRECTIONS[1], self.images, self.texts, known[::-1]),
        ):
            order = np.argsort(pair[0], kind="stable")
            offsets = np.concatenate([[0], np.cumsum(np.bincount(pair[0], minlength=len(queries)))])
            found[direction] = ranks_of_right(queries, candidates, pair[1][order], offsets)
        return found


def pair_results(
    rows: pa.Table,
    images: npt.NDArray[np.float32],
    offsets: npt.NDArray[np.int64],
    keys: npt.NDArray[np.int64],
    texts: npt.NDArray[np.float32],
) -> pa.Table:
    """PAIR_RESULTS of rows without errors.

    Args:
        rows: `source_key` and `image_key` of each.
        images: (N, D).
        offsets: (N + 1,): the captions of row i are those from `offsets[i]` up to `offsets[i + 1]`.
        keys: (T,), see `pair_batch.text_keys`.
        texts: (T, D).
    """
    count, size = images.shape
    none = pa.nulls(count, pa.string())
    columns = [
        rows["source_key"],
        rows["image_key"],
        _lists(np.arange(count + 1) * size, images),
        pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(keys)),
        _lists(offsets * size, texts),
        pa.array([schema.STATUS_OK] * count),
        none,
        none,
    ]
    return pa.table(columns, schema=PAIR_RESULTS)


@dataclass(frozen=True)
class PairValidation:
    """Validation rows that were encoded, in order of key.

    Attributes:
        encoded: bool (N,), which of them are no error.
        pairs: of those.
        skipped: error code → rows that could not be measured.
    """

    encoded: npt.NDArray[np.bool_]
    pairs: Pairs
    skipped: Mapping[str, int]

    @classmethod
    def of(cls, results: pa.Table, rows: LabelledRows) -> PairValidation:
        """Return the judgement of PAIR_RESULTS of all ranks together.

        Raises:
            RunError: see `pair_metrics`.
        """
        results = by_key(results, rows)
        encoded = schema.is_ok(results)
        skipped = Counter(results["error_code"].filter(pa.array(~encoded)).to_pylist())
        if not encoded.any():
            reasons = ", ".join(f"{code} {number}" for code, number in sorted(skipped.items())) or "there are none"
            raise RunError(f"validation: none of {len(rows)} rows could be judged: {reasons}")
        pairs = Pairs.of(results.filter(pa.array(encoded)))
        return cls(encoded, pairs, dict(sorted(skipped.items())))

    @cached_property
    def ranks(self) -> dict[str, npt.NDArray[np.int64]]:
        """See `Pairs.ranks`."""
        return self.pairs.ranks()

    @property
    def rows(self) -> int:
        """The number of rows that were measured."""
        return int(self.encoded.sum())

    def metrics(self, loss: float) -> ValidationMetrics:
        """Return the mean recall as accuracy, the recalls as its types."""
        found = {f"{way}@{k}": share for way, ranks in self.ranks.items() for k, share in recall_at(ranks, KS).items()}
        return ValidationMetrics(
            loss=loss,
            accuracy=float(np.mean(list(found.values()))),
            by_type=found,
            rows_by_type={name: len(self.ranks[name.partition("@")[0]]) for name in found},
            rows=self.rows,
            skipped=dict(self.skipped),
        )


def _parts(
    tables: Iterable[pa.Table], tokenize: Callable[[str], tuple[int, ...]], pin: bool
) -> Generator[_Part, None, None]:
    for usable, skipped in usable_rows(tables):
        is_captioned = pc.greater(pc.list_value_length(usable["questions"]), 0)
        silent = usable.filter(pc.invert(is_captioned))["source_key"].to_pylist()
        usable = usable.filter(is_captioned)
        skipped += [SkippedRow(key, NO_CAPTION, "the row has no caption") for key in silent]
        yield _Part(usable, collate_pairs(usable, tokenize, steps_per_epoch=1, seed=0, pin=pin), skipped)


@torch.no_grad()
def _encoded(part: _Part, trainer: PairTrainer, tokenize: Callable[[str], tuple[int, ...]]) -> pa.Table:
    trainer.module.eval()
    network, device = trainer.network, trainer.device
    vectors = np.empty((part.table.num_rows, network.model.config.projection_dim), np.float32)
    for rows, group in part.groups:
        cut = microbatch.passes([group], trainer.patch, trainer.tokens_per_pass)
        with trainer.autocast():
            found = [network.images([each.pixels.to(device) for each in one]).cpu() for one in cut]
        vectors[rows] = torch.cat(found).numpy()
    captions = part.table["questions"].combine_chunks()
    tokens = [tokenize(caption) for caption in captions.flatten().to_pylist()]
    texts = []
    for begin in range(0, len(tokens), _TEXTS_AT_ONCE):
        ids, _ = padded_tokens(tokens[begin : begin + _TEXTS_AT_ONCE])
        with trainer.autocast():
            texts.append(network.texts(torch.from_numpy(ids).to(device)).cpu().numpy())
    offsets = captions.offsets.to_numpy() - captions.offsets[0].as_py()
    return pair_results(part.table, vectors, offsets, text_keys(tokens), np.concatenate(texts))


def _lists(offsets: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values.reshape(-1)))


def _matrix(column: pa.ChunkedArray, rows: int) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = column.combine_chunks().flatten().to_numpy()
    return values.reshape(rows, -1)
