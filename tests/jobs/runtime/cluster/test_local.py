"""A Ray of the command's own starts what a run needs, and nothing that only a cluster needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vqa_ray.pipelines.replaced import replaced

# In a process of its own: the Ray of the other tests was started in another way.
_RUN = """
import contextlib, json, logging, pathlib, time
import psutil, ray
from vqa_ray.jobs.runtime import logs
from vqa_ray.jobs.runtime.cluster.connect import connect_ray

class Doubled:
    def __call__(self, batch):
        logging.getLogger("vqa_ray.test").warning("doubling", extra={"fields": {"rows": len(batch["id"])}})
        return {"id": batch["id"] * 2}

logs.configure(quiet=True, log_format="json")
with logs.of_run("r1"), connect_ray(None) as cluster:
    from ray.data import ActorPoolStrategy
    rows = ray.data.range(20).map_batches(lambda batch: batch)
    doubled = rows.map_batches(Doubled, compute=ActorPoolStrategy(min_size=1, max_size=2), num_cpus=0.5)
    total = sum(row["id"] for row in doubled.take_all())
    found = []
    for name, namespace in (
        ("AutoscalingCoordinator", "AutoscalingCoordinator"),
        ("ActorLocationTracker", "ActorLocationTracker"),
        ("datasets_stats_actor", "_dataset_stats_actor"),
    ):
        try:
            ray.get_actor(name, namespace=namespace)
            found.append(name)
        except ValueError:
            pass
    me = psutil.Process()
    sockets = []
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # Workers end while the processes are walked.
            sockets += process.net_connections("inet")
    listening = {one.laddr.ip.removeprefix("::ffff:") for one in sockets if one.status == psutil.CONN_LISTEN}
    files = pathlib.Path(ray._private.worker._global_node.get_logs_dir_path())
    dashboards = sorted(path.name for path in files.glob("dashboard.*"))
    logged, deadline = [], time.monotonic() + 30
    while not logged and time.monotonic() < deadline:
        lines = [line for path in files.glob("worker-*.err") for line in path.read_text().splitlines()]
        logged = [json.loads(line) for line in lines if "doubling" in line]
    print(json.dumps(logged[:1]))
    print(json.dumps([total, found, dashboards, sorted(listening), cluster.cores]))
"""


def test_a_local_run_starts_no_helper_actors_and_no_dashboard_and_listens_on_loopback_alone() -> None:
    done = subprocess.run([sys.executable, "-c", _RUN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    logged, found = done.stdout.splitlines()[-2:]
    assert found.startswith('[380, [], [], ["127.0.0.1"], '), done.stdout
    # Its workers log as the command does: JSON lines here.
    (line,) = json.loads(logged)
    assert (line["level"], line["message"], line["run_id"], line["rows"] > 0) == ("warning", "doubling", "r1", True)
    assert {"node_id", "worker_id", "actor_id"} <= line.keys()


class Owner:
    kept = "before"

    @staticmethod
    def call() -> str:
        return "before"


def test_attributes_are_restored_also_after_an_error() -> None:
    def fail() -> None:
        with replaced(Owner, kept="after", call=staticmethod(lambda: "after")):
            assert (Owner.kept, Owner.call()) == ("after", "after")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (Owner.kept, Owner.call()) == ("before", "before")


def test_an_attribute_that_is_not_there_is_not_made() -> None:
    with pytest.raises(AttributeError, match="absent"), replaced(Owner, kept="after", absent=1):
        pass
    assert Owner.kept == "before"
    assert not hasattr(Owner, "absent")
