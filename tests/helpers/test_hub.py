"""The stand-in of the hub, spoken to by the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, errors, snapshot_download

from tests.helpers.hub import CONVERSION_BOT, TOKEN, Hub, hub_server


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_server(tmp_path / "cache") as served:
        yield served


def test_files_of_revisions_are_listed_and_fetched_once(hub: Hub) -> None:
    hub.add("org/name", {"config.json": b"{}", "inner/model.bin": b"old"})
    first = hub.repositories["org/name"].refs["main"].sha
    second = hub.commit("org/name", {"inner/model.bin": b"new"})

    assert HfApi().model_info("org/name").sha == second
    assert [file.rfilename for file in HfApi().model_info("org/name").siblings or []] == [
        "config.json",
        "inner/model.bin",
    ]
    assert (Path(snapshot_download("org/name", revision=first)) / "inner/model.bin").read_bytes() == b"old"
    assert (Path(snapshot_download("org/name")) / "inner/model.bin").read_bytes() == b"new"
    snapshot_download("org/name")
    assert hub.downloads == ["config.json", "inner/model.bin", "inner/model.bin"]


def test_pull_requests_stand_on_main(hub: Hub) -> None:
    hub.add("org/name", {"pytorch_model.bin": b"x"})
    ref = hub.open_pull_request("org/name", {"model.safetensors": b"y"})

    (request,) = HfApi().get_repo_discussions("org/name")
    assert (request.git_reference, request.author, request.is_pull_request) == (ref, CONVERSION_BOT, True)
    main, asked = HfApi().list_repo_commits("org/name"), HfApi().list_repo_commits("org/name", revision=ref)
    assert asked[1].commit_id == main[0].commit_id
    assert HfApi().file_exists("org/name", "model.safetensors", revision=ref)


def test_what_may_not_be_seen_is_refused_as_the_hub_refuses(hub: Hub) -> None:
    hub.add("org/private", {"config.json": b"{}"}, private=True)
    hub.add("org/gated", {"config.json": b"{}"}, gated=True)
    with pytest.raises(errors.RepositoryNotFoundError):
        HfApi().model_info("org/private")
    with pytest.raises(errors.GatedRepoError):
        HfApi().hf_hub_download("org/gated", "config.json")
    with pytest.raises(errors.RevisionNotFoundError):
        HfApi(token=TOKEN).model_info("org/private", revision="nowhere")
    hub.failures["/api/models/"] = 429
    with pytest.raises(errors.HfHubHTTPError, match="429"):
        HfApi().model_info("org/gated")


def test_a_folder_is_pushed(hub: Hub, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.mkdir()
    (source / "config.json").write_bytes(b"{}")
    (source / "model.safetensors").write_bytes(bytes(range(256)))
    with pytest.raises(errors.HfHubHTTPError):
        HfApi(token=False).create_repo("tester/new")

    api = HfApi(token=TOKEN)
    assert str(api.create_repo("tester/new", exist_ok=True)) == f"{hub.url}/tester/new"
    api.create_repo("tester/new", exist_ok=True)
    api.upload_folder(repo_id="tester/new", folder_path=source, commit_message="Model")
    commit = hub.repositories["tester/new"].refs["main"]
    assert commit.title == "Model"
    assert commit.files["model.safetensors"] == bytes(range(256))
