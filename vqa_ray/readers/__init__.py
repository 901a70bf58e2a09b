"""Input formats: bytes or text to rows and row errors, without Ray."""

from vqa_ray.readers.open import FORMATS, EarlierRun, InputConfig, Shard, Source, open_source, read_shard

__all__ = ["FORMATS", "EarlierRun", "InputConfig", "Shard", "Source", "open_source", "read_shard"]
