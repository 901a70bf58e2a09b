"""A loopback stand-in of the Hugging Face hub for tests: repositories, revisions, pull requests, downloads, commits.

    with hub_server(tmp_path) as hub:
        hub.add("org/name", directory)
        hub.open_pull_request("org/name", {"model.safetensors": data})
        ...                                     # `huggingface_hub` and child processes talk to `hub.url`
        assert hub.downloads == ["config.json", "model.safetensors"]

What the clients ask for is written down in `hub.requests`. A write needs the header of a token in `hub.tokens`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

CONVERSION_BOT = "SFconvertbot"
CONVERSION_TITLE = "Adding `safetensors` variant of this model"
TOKEN = "hf_loopback"
USER = "tester"
_DATE = "2024-01-01T00:00:00.000Z"

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Commit:
    """Files of one revision, and how it came to be."""

    sha: str
    files: dict[str, bytes]
    parent: Commit | None
    title: str

    def history(self) -> list[Commit]:
        """This commit and those before it, the newest first."""
        return [self, *(self.parent.history() if self.parent else ())]


@dataclass
class Repository:
    """One repository: refs (`main`, a tag, `refs/pr/1`) and pull requests.

    Attributes:
        private: only a request with a token sees it.
        gated: its files need a token; the list of files does not.
    """

    name: str
    private: bool = False
    gated: bool = False
    refs: dict[str, Commit] = field(default_factory=dict)
    pull_requests: list[dict[str, object]] = field(default_factory=list)

    def at(self, revision: str) -> Commit | None:
        """The commit of a ref or of a commit hash."""
        known = {commit.sha: commit for ref in self.refs.values() for commit in ref.history()}
        return self.refs.get(revision) or known.get(revision)


class Hub:
    """The stand-in's state.

    Attributes:
        url: of its root.
        requests: `METHOD path` of every request.
        tokens: token → user.
        organisations: of every user, name → their role there.
        access: token → what it may do: `{"role": "read"}`; "write" of those that are not named.
        failures: path fragment → HTTP status that requests to such paths get; "" matches all.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.repositories: dict[str, Repository] = {}
        self.tokens = {TOKEN: USER}
        self.organisations: dict[str, str] = {}
        self.access: dict[str, dict[str, object]] = {}
        self.failures: dict[str, int] = {}
        self._count = 0

    @property
    def downloads(self) -> list[str]:
        """The files that were fetched, by name, in alphabetical order."""
        fetched = (line.removeprefix("GET ") for line in self.requests if line.startswith("GET "))
        return sorted(unquote(path.split("/resolve/")[1].split("/", 1)[1]) for path in fetched if "/resolve/" in path)

    def add(self, name: str, files: Files | Path, *, private: bool = False, gated: bool = False) -> Repository:
        """Make a repository with one commit on `main`.

        Args:
            files: path → content, or a directory whose files are taken.
        """
        self.repositories[name] = Repository(name, private, gated)
        self.commit(name, files)
        return self.repositories[name]

    def commit(self, name: str, files: Files | Path, *, ref: str = "main", title: str = "Upload") -> str:
        """Add files to a ref, which is made when it is not there; the hash of the new commit."""
        given = dict(files) if isinstance(files, Mapping) else _files_of(files)
        repository = self.repositories[name]
        parent = repository.refs.get(ref)
        self._count += 1
        sha = hashlib.sha1(f"{name} {ref} {self._count}".encode()).hexdigest()
        repository.refs[ref] = Commit(sha, {**(parent.files if parent else {}), **given}, parent, title)
        return sha

    def open_pull_request(
        self,
        name: str,
        files: Files,
        *,
        author: str = CONVERSION_BOT,
        title: str = CONVERSION_TITLE,
        status: str = "open",
    ) -> str:
        """Open a pull request of one commit on top of `main`; its ref, `refs/pr/N`."""
        repository = self.repositories[name]
        number = len(repository.pull_requests) + 1
        ref = f"refs/pr/{number}"
        repository.refs[ref] = repository.refs["main"]
        self.commit(name, files, ref=ref, title=title)
        repository.pull_requests.append(
            {
                "num": number,
                "author": {"name": author},
                "title": title,
                "status": status,
                "isPullRequest": True,
                "createdAt": _DATE,
                "repo": {"name": name, "type": "model"},
            }
        )
        return ref


def _files_of(directory: Path) -> dict[str, bytes]:
    found = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in found}


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class _Refusal(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: `hub.requests` holds it."""

    def _answer(self, handle: object) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        try:
            for fragment, status in self.hub.failures.items():
                if fragment in path:
                    raise _Refusal(status, message="the loopback hub fails on purpose")
            assert callable(handle)
            # Data sets are kept like models.
            handle(path.replace("/api/datasets/", "/api/models/", 1), query, body)
        except _Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self._send(json.dumps({"error": refusal.message}).encode(), refusal.status, headers)

    def _send(self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content: object, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json"})

    @property
    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def _user(self) -> str | None:
        return self.hub.tokens.get(self._token)

    def _repository(self, name: str) -> Repository:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self._user is None):
            # As the hub does: who is not logged in is not told whether there is such a repository.
            raise _Refusal(401 if self._user is None else 404, "RepoNotFound", "Repository not found")
        return repository

    def _revision(self, repository: Repository, revision: str) -> Commit:
        commit = repository.at(unquote(revision))
        if commit is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {unquote(revision)}")
        return commit

    def _get(self, path: str, query: Mapping[str, list[str]], body: bytes) -> None:
        if path == "/api/whoami-v2":
            if self._user is None:
                raise _Refusal(401, message="Invalid username or password.")
            access = self.hub.access.get(self._token, {"role": "write"})
            orgs = [{"name": name, "roleInOrg": role} for name, role in self.hub.organisations.items()]
            self._json({"name": self._user, "type": "user", "orgs": orgs, "auth": {"accessToken": access}})
        elif "/resolve/" in path:
            self._file(path)
        elif path.startswith("/api/models/"):
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            repository = self._repository(f"{owner}/{name}")
            what = rest[0] if rest else "revision"
            self._about(repository, what, rest[1] if len(rest) > 1 else "main", query)
        else:
            raise _Refusal(404, message=f"the loopback hub has no {path}")

    def _about(self, repository: Repository, what: str, revision: str, query: Mapping[str, list[str]]) -> None:
        if what == "revision":
            commit = self._revision(repository, revision)
            self._json(
                {
                    "id": repository.name,
                    "sha": commit.sha,
                    "private": repository.private,
                    "gated": "manual" if repository.gated else False,
                    "siblings": [{"rfilename": file} for file in sorted(commit.files)],
                    "tags": [],
                    "downloads": 0,
                }
            )
        elif what == "tree":
            files = sorted(self._revision(repository, revision).files.items())
            self._json([{"type": "file", "path": p, "size": len(data), "oid": _sha1(data)} for p, data in files])
        elif what == "commits":
            entry = {"authors": [{"user": USER}], "date": _DATE, "message": ""}
            history = self._revision(repository, revision).history()
            self._json([{**entry, "id": commit.sha, "title": commit.title} for commit in history])
        elif what == "refs":
            refs = [{"name": n, "ref": n, "targetCommit": c.sha} for n, c in repository.refs.items()]
            asked = [ref for ref in refs if ref["name"].startswith("refs/pr/")]
            branches = [ref for ref in refs if ref not in asked]
            self._json({"branches": branches, "tags": [], "converts": [], "pullRequests": asked})
        elif what == "discussions":
            wanted = query.get("author")
            found = [p for p in repository.pull_requests if not wanted or p["author"] == {"name": wanted[0]}]
            self._json({"discussions": found, "count": len(found), "start": 0})
        else:
            raise _Refusal(404, message=f"the loopback hub has no {what}")

    def _file(self, path: str) -> None:
        name, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        repository = self._repository(name)
        commit = self._revision(repository, revision)
        if repository.gated and self._user is None:
            raise _Refusal(401, "GatedRepo", f"Access to model {name} is restricted.")
        content = commit.files.get(unquote(file))
        if content is None:
            raise _Refusal(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{_sha1(content)}"'}
        self._send(content, headers=headers)

    def _post(self, path: str, query: Mapping[str, list[str]], body: bytes) -> None:
        if self._user is None:
            raise _Refusal(401, message="Invalid username or password.")
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given.get('organization') or self._user}/{given['name']}"
            taken = name in self.hub.repositories
            if not taken:
                private = bool(given.get("private")) or given.get("visibility") == "private"
                self.hub.add(name, {".gitattributes": b""}, private=private)
            self._json({"url": f"{self.hub.url}/{name}", "name": name}, 409 if taken else 200)
        elif path.startswith("/api/models/"):
            owner, short, what, revision = path.removeprefix("/api/models/").split("/", 3)
            repository = self._repository(f"{owner}/{short}")
            if what == "preupload":
                files = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                    for f in json.loads(body)["files"]
                ]
                self._json({"files": files})
            elif what == "commit":
                lines = [json.loads(line) for line in body.decode().splitlines()]
                added = {
                    line["value"]["path"]: base64.b64decode(line["value"]["content"])
                    for line in lines
                    if line["key"] == "file"
                }
                title = next(line["value"]["summary"] for line in lines if line["key"] == "header")
                sha = self.hub.commit(repository.name, added, ref=unquote(revision), title=title)
                place = f"{self.hub.url}/{repository.name}/commit/{sha}"
                self._json({"success": True, "commitOid": sha, "commitUrl": place, "hookOutput": ""})
        else:
            raise _Refusal(404, message=f"the loopback hub has no {path}")


@contextmanager
def hub_server(cache: Path) -> Iterator[Hub]:
    """Serve an empty hub, and point `huggingface_hub` at it, here and in child processes.

    Args:
        cache: an empty directory in the place of `~/.cache/huggingface`.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }.items():
            patch.setenv(variable, value)
        patch.delenv("HF_TOKEN", raising=False)
        patch.setattr(constants, "ENDPOINT", hub.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        patch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        close_session()
        try:
            yield hub
        finally:
            close_session()
            server.shutdown()
            thread.join()
            server.server_close()
