"""`vqa-ray schema`: check a schema, and write it as JSON Schema or as a taxonomy."""

from __future__ import annotations

import json

import typer

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.output_file import check_file
from vqa_ray.jobs.spec.tools import SchemaSpec
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.structured.conversion import taxonomy_of_schema, taxonomy_yaml
from vqa_ray.structured.load import load_schema


def run(spec: SchemaSpec) -> None:
    """Check it, and print or write it."""
    schema = load_schema(spec.schema_of)
    text = json.dumps(schema.document, indent=2, ensure_ascii=False) + "\n"
    if spec.output is None:
        typer.echo(text, nl=False)
        return
    if spec.output.lower().endswith((".yaml", ".yml")):
        text = taxonomy_yaml(taxonomy_of_schema(schema, spec.schema_of))
    elif not spec.output.lower().endswith(".json"):
        raise RequestError(f"--output {spec.output}: wanted a file named *.json (a JSON Schema) or *.yaml (a taxonomy)")
    check_file("--output", spec.output)
    write_bytes_atomic(spec.output, text.encode())
    typer.echo(f"{counted(len(schema.fields), 'field')} → {spec.output}")
