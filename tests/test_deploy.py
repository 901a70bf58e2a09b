"""The manifests in `deploy/`: their fields against schemas, their commands against our own options.

Pods and services are held to Kubernetes' published schemas, Ray's autoscaler file to the schema that Ray ships. KubeRay
publishes none as a package: what we use of its fields is written down here, from its Go types.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from vqa_ray import __version__
from vqa_ray.jobs import typer_app
from vqa_ray.jobs.commands import COMMANDS
from vqa_ray.jobs.submit.spec import SubmitSpec

DEPLOY = Path(__file__).parents[1] / "deploy"
IMAGE = f"vqa-ray:{__version__}"
_COUNT = {"type": "integer", "minimum": 0}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _fields(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


_CLUSTER = _fields(
    ["headGroupSpec"],
    rayVersion={"type": "string"},
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=_fields(
        [],
        idleTimeoutSeconds=_COUNT,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        env={"type": "array"},
        envFrom={"type": "array"},
    ),
    headGroupSpec=_fields(["rayStartParams", "template"], rayStartParams=_TEXTS, template={"type": "object"}),
    workerGroupSpecs={
        "type": "array",
        "items": _fields(
            ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
            groupName={"type": "string"},
            replicas=_COUNT,
            minReplicas=_COUNT,
            maxReplicas=_COUNT,
            rayStartParams=_TEXTS,
            template={"type": "object"},
        ),
    },
)
KUBERAY = {
    "RayCluster": _CLUSTER,
    "RayJob": _fields(
        ["entrypoint", "rayClusterSpec"],
        entrypoint={"type": "string"},
        backoffLimit=_COUNT,
        submitterConfig=_fields([], backoffLimit=_COUNT),
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=_COUNT,
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        rayClusterSpec=_CLUSTER,
    ),
}
MANIFESTS = ("rayjob.yaml", "raycluster.yaml")


def loaded(name: str) -> dict[str, Any]:
    document = yaml.safe_load((DEPLOY / name).read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def cluster_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]
    return spec.get("rayClusterSpec", spec)


def groups_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = cluster_of(manifest)
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@pytest.mark.parametrize("name", MANIFESTS)
def test_kuberay_knows_the_fields(name: str) -> None:
    manifest = loaded(name)
    assert manifest["apiVersion"] == "ray.io/v1"
    jsonschema.validate(manifest["spec"], KUBERAY[manifest["kind"]])


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_are_valid_and_run_our_image(name: str) -> None:
    for group in groups_of(loaded(name)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": group["template"]["spec"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
        (container,) = pod["spec"]["containers"]
        assert container["image"] == IMAGE
        assert container["resources"]["requests"] == container["resources"]["limits"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_head_is_on_demand_and_workers_are_spot(name: str) -> None:
    head, *workers = (group["template"]["spec"]["nodeSelector"].values() for group in groups_of(loaded(name)))
    assert [*head] == ["on-demand"]
    assert {kind for each in workers for kind in each} == {"spot"}


def test_the_standing_cluster_wants_a_token_of_every_process() -> None:
    manifest = loaded("raycluster.yaml")
    containers = [group["template"]["spec"]["containers"][0] for group in groups_of(manifest)]
    for each in (*containers, cluster_of(manifest)["autoscalerOptions"]):
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in each["env"]
        assert {"secretRef": {"name": "ray-auth-token"}} in each["envFrom"]


def test_kustomize_changes_what_is_there() -> None:
    kustomization = loaded("kustomization.yaml")
    resources = [loaded(name) for name in kustomization["resources"]]
    assert [(each["kind"], each["metadata"]["name"]) for each in resources] == [("RayJob", "vqa-ray")]
    assert [f"{each['name']}:{each['newTag']}" for each in kustomization["images"]] == [IMAGE]
    (patch,) = kustomization["patches"]
    assert patch["target"] == {"kind": "RayJob", "name": "vqa-ray"}
    assert [each["path"] for each in yaml.safe_load(patch["patch"])] == ["/spec/entrypoint"]
    named = {source["secretRef"]["name"] for each in resources for source in _env_from(each)}
    assert {each["name"] for each in kustomization["secretGenerator"]} == named


def _env_from(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    containers = [group["template"]["spec"]["containers"][0] for group in groups_of(manifest)]
    return [source for each in containers for source in each["envFrom"]]


def test_the_file_of_rays_autoscaler_fits_the_schema_of_ray() -> None:
    schema = json.loads((files("ray.autoscaler") / "ray-schema.json").read_text("utf-8"))
    file = loaded("autoscaler.yaml")
    jsonschema.validate(file, schema)
    assert file["head_node_type"] in file["available_node_types"]
    assert "InstanceMarketOptions" not in file["available_node_types"]["head"]["node_config"]
    # Ray gives the head an instance profile, and the workers none: they would not read the bucket.
    workers = {name: each for name, each in file["available_node_types"].items() if name != "head"}
    assert all("IamInstanceProfile" in each["node_config"] for each in workers.values())


@pytest.mark.parametrize("name", MANIFESTS)
def test_nodes_with_a_role_need_no_secret_of_the_bucket(name: str) -> None:
    secrets = [source["secretRef"] for source in _env_from(loaded(name))]
    assert {each["name"] for each in secrets if each.get("optional")} == {"bucket-credentials"}


def test_the_image_has_what_a_submitted_command_may_need() -> None:
    extras = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (installed,) = re.findall(r'"\.\[(.+)\]"', (DEPLOY / "Dockerfile").read_text("utf-8"))
    # The base image has ray[default]; pages are not served there, and vLLM has an image of its own.
    assert extras.keys() - set(installed.split(",")) == {"browse", "cluster", "dev", "docs", "vllm"}
    (named,) = re.findall(r"vqa-ray\[(.+)\]", loaded("autoscaler.yaml")["setup_commands"][0])
    assert {"cluster", "delta", "report"} <= set(named.split(",")) <= extras.keys()


def test_the_image_has_the_ray_that_the_manifests_name() -> None:
    (base,) = set(re.findall(r"rayproject/ray:([\d.]+)", (DEPLOY / "Dockerfile").read_text("utf-8")))
    assert {cluster_of(loaded(name))["rayVersion"] for name in MANIFESTS} == {base}


def command_lines() -> list[tuple[str, list[str]]]:
    """Every command in `deploy/`: entrypoints, lists in Python, and comments, with the file that holds it."""
    patch = yaml.safe_load(loaded("kustomization.yaml")["patches"][0]["patch"])
    texts = [("rayjob.yaml", loaded("rayjob.yaml")["spec"]["entrypoint"]), ("kustomization.yaml", patch[0]["value"])]
    found = [(name, shlex.split(text)) for name, text in texts]
    for file in sorted(DEPLOY.glob("*.py")):
        values: dict[str, Any] = {}
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.List):
                code = compile(ast.Expression(node.value), file.name, "eval")
                values[ast.unparse(node.targets[0])] = eval(code, {}, values)
        found += [(file.name, value) for value in values.values() if isinstance(value, list)]
    return found


@pytest.mark.parametrize(("file", "line"), command_lines(), ids=lambda value: value if isinstance(value, str) else "")
def test_commands_are_ours(file: str, line: list[str]) -> None:
    assert line[0] == "vqa-ray"
    spec = typer_app.parse(line[1:], COMMANDS)
    if isinstance(spec, SubmitSpec):
        spec = typer_app.parse(spec.job, COMMANDS)
    assert spec is not None


def test_all_commands_are_found() -> None:
    assert [file for file, _ in command_lines()] == [
        *("rayjob.yaml", "kustomization.yaml", "airflow_dag.py", "airflow_dag.py", "dagster_job.py")
    ]
