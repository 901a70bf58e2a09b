"""Upload to a hub: names and permission are checked before anything else, and each failure is one line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import filter_repo_objects

from tests.helpers.hub import TOKEN, Hub, hub_server
from vqa_ray.errors import RequestError, RunError
from vqa_ray.training.hub import check_push, check_repo, push


@dataclass
class KeptHub:
    """A hub that keeps what it is given."""

    error: Exception | None = None
    repositories: list[tuple[str, bool | None]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def whoami(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {"name": "acme", "orgs": []}

    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> Any:
        assert exist_ok
        if self.error is not None:
            raise self.error
        self.repositories.append((repo_id, private))
        return f"https://hub.example/{repo_id}"

    def upload_folder(
        self, *, repo_id: str, folder_path: str | Path, ignore_patterns: list[str], commit_message: str
    ) -> Any:
        assert [repo_id for repo_id, _ in self.repositories] == [repo_id]
        assert commit_message
        root = Path(folder_path)
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        self.files = sorted(filter_repo_objects(names, ignore_patterns=ignore_patterns))


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the surroundings say: the only hub that is asked here is a loopback one."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def model_directory(tmp_path: Path) -> Path:
    names = (
        "config.json",
        "model.safetensors",
        "README.md",
        "tensorboard/events",
        "_vqa_ray/a/state.pt",
        ".export-1/x",
    )
    for name in names:
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["acme/shelf-vilt", "shelf_vilt.2", "A-b/c.d"])
def test_names_that_can_be(name: str) -> None:
    check_repo(name)


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "a b", "a/b@main", "a--b", "a/..", "a.git", "-a", "a/" + "b" * 97, "a\nb"]
)
def test_names_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="wanted ORG/NAME") as caught:
        check_repo(name)
    assert "\n" not in str(caught.value)
    hub = KeptHub()
    with pytest.raises(RequestError, match="wanted ORG/NAME"):
        push(model_directory(tmp_path), name, api=hub)
    assert hub.repositories == []


def test_the_model_is_uploaded_and_the_records_of_the_run_are_not(tmp_path: Path) -> None:
    hub = KeptHub()
    assert push(model_directory(tmp_path), "acme/shelf", private=True, api=hub) == "https://hub.example/acme/shelf"
    assert hub.repositories == [("acme/shelf", True)]
    assert hub.files == ["README.md", "config.json", "model.safetensors", "tensorboard/events"]


def test_a_directory_without_a_model_is_not_uploaded(tmp_path: Path) -> None:
    hub = KeptHub()
    with pytest.raises(RunError, match=r"there is no config\.json"):
        push(tmp_path, "acme/shelf", api=hub)
    assert hub.repositories == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LocalTokenNotFoundError("no token\nat all"), "not logged in: run `hf auth login`"),
        (OfflineModeIsEnabled("off"), "offline: HF_HUB_OFFLINE is set"),
        (ConnectionError("no route\nto host"), "the hub did not take it: no route to host"),
        (RuntimeError(""), "the hub did not take it: RuntimeError"),
    ],
)
def test_failures_are_one_line(tmp_path: Path, error: Exception, told: str) -> None:
    with pytest.raises(RunError) as caught:
        push(model_directory(tmp_path), "acme/shelf", api=KeptHub(error))
    assert told in str(caught.value)
    assert "upload to acme/shelf" in str(caught.value)
    assert str(caught.value).endswith("the model itself is finished, the same command uploads it")
    assert "\n" not in str(caught.value)


@contextmanager
def refusing(status: int) -> Iterator[str]:
    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "told"), [(401, "not logged in"), (403, "may not write there"), (400, "did not take it: ")]
)
def test_what_the_hub_refuses_is_told(tmp_path: Path, status: int, told: str) -> None:
    with refusing(status) as endpoint, pytest.raises(RunError, match=told) as caught:
        push(model_directory(tmp_path), "acme/shelf", api=HfApi(endpoint=endpoint, token="hf_none"))
    assert "\n" not in str(caught.value)
    assert "hf_none" not in str(caught.value)


def test_a_hub_that_is_not_there_is_told(tmp_path: Path) -> None:
    with refusing(400) as endpoint:
        pass
    with pytest.raises(RunError, match=r"upload to acme/shelf: the hub did not take it: "):
        push(model_directory(tmp_path), "acme/shelf", api=HfApi(endpoint=endpoint, token="hf_none"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Hub]:
    with hub_server(tmp_path / "cache") as hub:
        yield hub


class TestBeforeTheTraining:
    def test_a_repository_of_the_user_or_an_organisation(self, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        served.organisations = {"acme": "write"}
        assert check_push("shelf") == "tester/shelf"
        assert check_push("Acme/shelf") == "Acme/shelf"
        assert served.requests == ["GET /api/whoami-v2"] * 2
        assert served.repositories == {}

    @pytest.mark.parametrize(
        ("name", "access", "told"),
        [
            ("other/shelf", {"role": "write"}, "the user tester is no member of other; allowed .* of tester, acme"),
            ("acme/shelf", {"role": "write"}, "the user tester may only read in the organisation acme"),
            ("shelf", {"role": "read"}, "the token may only read"),
            ("shelf", {"role": "fineGrained"}, "the token has no permission repo.write for tester/shelf"),
        ],
    )
    def test_what_the_token_may_not_do(
        self, served: Hub, monkeypatch: pytest.MonkeyPatch, name: str, access: dict[str, object], told: str
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        served.organisations, served.access = {"acme": "read"}, {TOKEN: access}
        with pytest.raises(RequestError, match=f"^--push-to-hub {name}: {told}") as caught:
            check_push(name)
        assert "\n" not in str(caught.value)
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize("entity", ["tester", "tester/shelf"])
    def test_a_token_for_one_place(self, served: Hub, monkeypatch: pytest.MonkeyPatch, entity: str) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        scope = {"entity": {"name": entity, "type": "user"}, "permissions": ["repo.content.read", "repo.write"]}
        served.access = {TOKEN: {"role": "fineGrained", "fineGrained": {"scoped": [scope]}}}
        assert check_push("shelf") == "tester/shelf"

    def test_no_token(self, served: Hub) -> None:
        with pytest.raises(RequestError, match=r"^--push-to-hub shelf: not logged in: run `hf auth login`"):
            check_push("shelf")
        assert served.requests == []

    def test_a_token_that_the_hub_does_not_know(self, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_other")
        with pytest.raises(RequestError, match="the hub does not know the token; not logged in"):
            check_push("shelf")

    def test_offline(self, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(RequestError, match="offline: HF_HUB_OFFLINE is set"):
            check_push("shelf")

    def test_a_hub_in_trouble_and_none_at_all(self, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        served.failures["whoami"] = 500
        with pytest.raises(RequestError, match=r"the hub at http://\S+ gave an error: "):
            check_push("shelf")
        with refusing(400) as endpoint:
            pass
        with pytest.raises(RequestError, match=r"the hub at \S+ cannot be reached: "):
            check_push("shelf", api=HfApi(endpoint=endpoint, token="hf_none"))

    def test_a_hub_that_gives_no_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vqa_ray.training.hub._ANSWER_TIMEOUT_S", 0.05)
        silence = threading.Event()

        class Silent(KeptHub):
            def whoami(self) -> dict[str, Any]:
                silence.wait(30)
                return {}

        with pytest.raises(RequestError, match="gave no answer within"):
            check_push("shelf", api=Silent())
        silence.set()
