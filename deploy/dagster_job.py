"""A Dagster asset: the tags of a catalogue, made on a Ray cluster.

Dagster retries where that helps: a run that was killed (1, 143) resumes, while a wrong request (2) or too many failed
rows (3) wants a person. The code location needs `vqa-ray`, RAY_ADDRESS=http://HOST:8265 and the token.
"""

from __future__ import annotations

import subprocess

from dagster import Definitions, Failure, MaterializeResult, RetryRequested, ScheduleDefinition, asset, define_asset_job

OUTPUT = "s3://my-bucket/tags/"
TAG = [
    *("vqa-ray", "submit", "tag"),
    *("--input", "s3://my-bucket/products/"),
    *("--output", OUTPUT),
    *("--model", "dandelin/vilt-b32-finetuned-vqa"),
    *("--tags", "s3://my-bucket/tags.yaml"),
    "--update",
    "--wait",
    "--wait-for-cluster",
]
NEEDS_A_PERSON = {2: "the request is wrong", 3: "too many rows failed"}


@asset
def catalogue_tags() -> MaterializeResult:
    """Tag all products; the rows are Parquet in the bucket."""
    code = subprocess.run(TAG, check=False).returncode
    if code in NEEDS_A_PERSON:
        raise Failure(f"{NEEDS_A_PERSON[code]} (exit code {code})", allow_retries=False)
    if code:
        raise RetryRequested(max_retries=5, seconds_to_wait=300)
    return MaterializeResult(metadata={"output": OUTPUT})


nightly = ScheduleDefinition(job=define_asset_job("nightly_tags", [catalogue_tags]), cron_schedule="0 2 * * *")
definitions = Definitions(assets=[catalogue_tags], schedules=[nightly])
