"""The options of `submit`."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from vqa_ray.jobs.spec.command_line import CommandLine
from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import LoggingGroup


class SubmitSpec(LoggingGroup):
    """Run a command on a Ray cluster through its Jobs API: show its messages, end with its exit code.

    Options of submit stand before JOB. What follows is the command with its own options, as without submit.
    """

    group: ClassVar[str] = "Submission"

    job: CommandLine = option("The command: answer --input s3://… --output s3://… …", (), unit="JOB…", argument=True)
    address: str | None = option(
        "Jobs API of the cluster, http://HOST:8265 (also RAY_API_SERVER_ADDRESS, RAY_ADDRESS).",
        None,
        unit="ADDRESS",
        group="Cluster",
    )
    package: str = option(
        "Code that the cluster runs: this installation's, the one `installed` there, or a wheel's.",
        "this",
        unit="this|installed|FILE.whl",
    )
    runtime_env: str | None = option(
        "YAML file of Ray's runtime environment: pip, image_uri, env_vars, working_dir, …", None, unit="FILE"
    )
    env: list[str] = option(
        "Environment variable to pass on by name, or by pattern: AWS_*. Repeatable.", [], unit="NAME"
    )
    wait: bool = option("Follow the job to its end; --no-wait only submits it.", True)
    list_jobs: bool = option("List the submitted commands of the cluster.", False, name="list", group="Submitted jobs")
    stop: str | None = option("Stop this job; its command resumes later.", None, unit="ID", group="Submitted jobs")
    logs: str | None = option(
        "Show the messages of this job, to its end unless --no-wait.", None, unit="ID", group="Submitted jobs"
    )

    @model_validator(mode="after")
    def _check_action(self) -> Self:
        actions = {"JOB": self.job, "--list": self.list_jobs, "--stop": self.stop, "--logs": self.logs}
        given = [name for name, value in actions.items() if value]
        if len(given) != 1:
            raise ValueError(
                f"wanted one of JOB, --list, --stop ID and --logs ID, given {' and '.join(given) or 'none'}"
            )
        return self
