"""A nightly Airflow DAG: tag new photos on a Ray cluster, then publish the tags as a table.

Airflow starts a task again where that helps: a run that was killed (1, 143) resumes, while a wrong request (2) or too
many failed rows (3) wants a person. The worker of Airflow needs `vqa-ray`, RAY_ADDRESS=http://HOST:8265 and the token.
"""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

TAG = [
    *("vqa-ray", "submit", "tag"),
    *("--input", "s3://my-bucket/products/"),
    *("--output", "s3://my-bucket/tags/"),
    *("--model", "dandelin/vilt-b32-finetuned-vqa"),
    *("--tags", "s3://my-bucket/tags.yaml"),
    "--update",
    "--wait",
    "--wait-for-cluster",
]
PUBLISH = ["vqa-ray", "submit", "publish", "s3://my-bucket/tags/", "--to", "delta:s3://my-bucket/tables/tags"]
NEEDS_A_PERSON = {2: "the request is wrong", 3: "too many rows failed"}


def run(command: list[str]) -> None:
    """Run a command; its exit code decides whether Airflow tries again."""
    code = subprocess.run(command, check=False).returncode
    if code in NEEDS_A_PERSON:
        raise AirflowFailException(f"{NEEDS_A_PERSON[code]} (exit code {code}): {' '.join(command)}")
    if code:
        raise AirflowException(f"exit code {code}; the next try goes on from here: {' '.join(command)}")


@dag(schedule="0 2 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def catalogue_tags() -> None:
    """Tag the catalogue, night by night."""

    @task(retries=5, retry_delay=timedelta(minutes=5), execution_timeout=timedelta(hours=20))
    def tag() -> None:
        run(TAG)

    @task(retries=3, retry_delay=timedelta(minutes=5))
    def publish() -> None:
        run(PUBLISH)

    tag() >> publish()


catalogue_tags()
