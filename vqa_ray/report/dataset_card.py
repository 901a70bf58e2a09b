"""The card of a run, which describes its rows, and the configuration by which `datasets` finds them.

Beside the rows both have names that readers of a directory pass over; on a hub the card is the README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pyarrow as pa
import yaml

from vqa_ray.counted import counted
from vqa_ray.report.markdown import text

_MEANINGS: Mapping[str, str] = {
    "row_id": "of the input row",
    "image_id": "the name of the image in the input",
    "image_uri": "where the image can be fetched; null for an image embedded in the input",
    "status": "`ok`, `error`, or `gone`: not in the input any more",
    "error_code": "why there is no result",
    "error_message": "the same, in one line",
    "warning": "a problem in spite of which there is a result",
    "attempt": "1, or the number of the retry that made the row",
    "source_key": "the place of the row in the input: shard number × 2³² + row number in the shard",
    "question_index": "the number of the question in its input row, from 0",
    "finish_reason": "how a free text ended: `stop`, or `length` if it was cut",
    "decided_by": "`first` or `second`: the model whose outcome the row holds",
    "agrees": "whether both models say the same; null where the second was not asked",
    "tag_scores": "the score of every choice, below its threshold, too",
}


def dataset_card(manifest: Mapping[str, Any], columns: pa.Schema, files: Sequence[str] = ("part-*.parquet",)) -> str:
    """Render a card as Markdown; hubs and `datasets.load_dataset` read its front matter from a README.md.

    Args:
        manifest: of the run.
        columns: of its files.
        files: patterns of the part files, relative to the card.
    """
    front = {
        "license": "unknown",
        "tags": ["vqa-ray", str(manifest["job"])],
        **_configs(files, "default"),
    }
    model = manifest["model"]
    # The rows of an index lie in directories below it.
    whole = all("/" not in each for each in files)
    facts = [
        f"Made by `vqa-ray {manifest['job']}` with the model {text(model['reference'])}.",
        f"{counted(manifest['rows'], 'row')}: {manifest['ok']:,} ok, {manifest['failed']:,} failed.",
        f"A score is: {text(model['score_meaning'])}.",
        "The licence of the images and of the model is not known here.",
    ]
    errors = [f"- `{code}`: {count:,}" for code, count in manifest["errors"].items()]
    rows = [f"| {text(each.name)} | {text(each.type)} | {_MEANINGS.get(each.name, '')} |" for each in columns]
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# Results of vqa-ray {manifest['job']}",
        "",
        *facts,
        *(["", "Errors:", "", *errors] if errors else []),
        "",
        "## Columns",
        "",
        "| column | type | |",
        "|---|---|---|",
        *rows,
        "",
        "## Reading",
        "",
        "```python",
        "import datasets, pandas" if whole else "import datasets",
        'datasets.load_dataset("DIRECTORY")  # this directory',
        *(['pandas.read_parquet("DIRECTORY")'] if whole else []),
        "```",
        "",
        "```sql",
        f"SELECT * FROM 'DIRECTORY/{'*.parquet' if whole else '**/*.parquet'}' WHERE status = 'ok';  -- DuckDB",
        "```",
        "",
    ]
    return "\n".join(lines)


def data_files(files: Sequence[str] = ("part-*.parquet",)) -> str:
    """Return the YAML that tells `datasets.load_dataset` of a directory which of its files are rows.

    The configuration gets a new name each time: the cache of `datasets` 5 knows a directory by that name and the last
    part of its path, and would give the rows of another run, or the rows before a retry.

    Args:
        files: patterns of the part files, relative to the directory.
    """
    return str(yaml.safe_dump(_configs(files, f"rows-{uuid4().hex[:12]}"), sort_keys=False, allow_unicode=True))


def _configs(files: Sequence[str], name: str) -> dict[str, object]:
    return {"configs": [{"config_name": name, "data_files": [{"split": "train", "path": list(files)}]}]}
