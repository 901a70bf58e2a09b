"""Outages of image stores: the fault of a store is waited for, and not written down as that of its rows.

An image that is not fetched may be the fault of its row (a dead link, a forbidden object) or of its store (a server
that is down, expired credentials, a vanished bucket, an unmounted disk). Images that the store has delivered before
tell: while one of them can be fetched, the row is to blame; when none can, the store is. See docs/decisions/0029.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from vqa_ray.durations import duration
from vqa_ray.errors import ErrorCode, OutageError, RowError, StoreFailure
from vqa_ray.images.fetch import Fetcher
from vqa_ray.storage.data_uris import is_data_uri
from vqa_ray.storage.uri import scheme_of

logger = logging.getLogger(__name__)

# Fetches of an image after its store has shown to be up, beside the attempts of each.
_MORE_TRIES = 2
# Images of a batch that a store which has delivered nothing yet must fail to count as down.
_EVIDENCE = 8
# Delivered images of a store that are tried before it counts as down.
_PROBES = 3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
# A sign of an outage that no process has repeated for so long is that of a process that died.
_STALE_S = 4 * _LONGEST_PAUSE_S
_STORES_KNOWN, _STORES_SHARED = 1024, 64

Outcome: TypeAlias = bytes | RowError


class Board(Protocol):
    """Bytes under keys that all processes of a run share."""

    def get(self, key: str) -> bytes | None:
        """Return what is under a key."""

    def put(self, key: str, value: bytes) -> object:
        """Replace what is under a key."""


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage that processes of a run wait for.

    Attributes:
        store: scheme and host, bucket or directory.
        reason: of the last failure.
        since, seen: its first and its last sign, in seconds since 1970.
        is_over: whether the store has delivered again.
    """

    store: str
    reason: str
    since: float
    seen: float
    is_over: bool = False

    @classmethod
    def from_json(cls, data: bytes) -> Outage:
        """Read an outage that a process has shared."""
        return cls(**json.loads(data))


@dataclass(frozen=True, slots=True)
class OutagePolicy:
    """How the processes of a run meet outages. Picklable.

    Attributes:
        timeout_s: an outage that lasts longer ends the run.
        run_id: names the run.
        board: shared by the processes of the run; None for one that is alone.
        first_pause_s: between two looks at a store; it doubles up to half a minute.
    """

    timeout_s: float
    run_id: str = "run"
    board: Board | None = None
    first_pause_s: float = _FIRST_PAUSE_S


class _Delivered:
    """The last images that each store has delivered to this process."""

    def __init__(self) -> None:
        self._uris: OrderedDict[str, deque[str]] = OrderedDict()

    def add(self, store: str, uris: Iterable[str]) -> bool:
        """Record delivered images; tell whether they are the first ones of one of the first stores."""
        is_new = store not in self._uris
        self._uris.setdefault(store, deque(maxlen=_PROBES)).extend(uris)
        self._uris.move_to_end(store)
        if len(self._uris) > _STORES_KNOWN:
            self._uris.popitem(last=False)
        return is_new and len(self._uris) <= _STORES_SHARED

    def of(self, store: str) -> list[str]:
        """Return up to `_PROBES` images, the last one first."""
        return list(reversed(self._uris.get(store, ())))


@functools.lru_cache(maxsize=4)
def _delivered(run_id: str) -> _Delivered:
    """Return the record of a run in this process, which outlives the tasks of the run."""
    return _Delivered()


class PatientFetcher:
    """Fetches images as an `ImageFetcher`, and waits while a store is down. Picklable.

    Args:
        fetcher: makes the requests.
        policy: of waiting.
    """

    def __init__(self, fetcher: Fetcher, policy: OutagePolicy) -> None:
        self._fetcher, self._policy = fetcher, policy

    def fetch_all(self, uris: Collection[str]) -> dict[str, Outcome]:
        """Fetch each distinct URI once and return its bytes or its error, which is its own fault.

        Raises:
            OutageError: a store was down for longer than the policy allows.
        """
        outcomes = self._fetcher.fetch_all(uris)
        tries: Counter[str] = Counter()
        while again := self._again(outcomes, tries):
            outcomes |= self._fetcher.fetch_all(again)
        return outcomes

    def _again(self, outcomes: Mapping[str, Outcome], tries: Counter[str]) -> list[str]:
        """Wait for the stores that are down; return the images to fetch once more."""
        stores: dict[str, list[str]] = {}
        for uri in outcomes:
            if not is_data_uri(uri):
                stores.setdefault(store_of(uri), []).append(uri)
        again: list[str] = []
        for store, uris in stores.items():
            delivered = [uri for uri in uris if isinstance(outcomes[uri], bytes)]
            if delivered:
                self._remember(store, delivered)
            failed = [uri for uri in uris if isinstance(outcomes[uri], StoreFailure) and tries[uri] < _MORE_TRIES]
            # A bucket that delivered some of the batch lacks the rest; a disk may go away in the middle of it.
            may_be_gone = scheme_of(store) == "file" or not delivered
            missing = _missing(uris, outcomes) if may_be_gone and not any(tries[uri] for uri in uris) else []
            if failed or missing:
                again += self._failed(store, failed, missing, outcomes, tries)
        return again

    def _failed(
        self,
        store: str,
        failed: list[str],
        missing: list[str],
        outcomes: Mapping[str, Outcome],
        tries: Counter[str],
    ) -> list[str]:
        """Find out whether a store is down, and wait for it; return the images to fetch once more.

        Args:
            store: that images were not fetched from.
            failed: images that the store may have failed to deliver.
            missing: images that it does not have, where it delivered none of this batch or is a disk.
            outcomes: of all images.
            tries: fetches of each image so far while its store was up, beside the first.
        """
        failures = [each for uri in failed if isinstance(each := outcomes[uri], StoreFailure)]
        known = self._known(store)
        if known:
            problem = self._problem(known)
            if problem is None:
                if not all(each.is_refusal for each in failures):
                    time.sleep(self._policy.first_pause_s)
                tries.update(failed)
                return failed
        else:
            is_refused = any(each.is_refusal for each in failures)
            is_web = scheme_of(store) in ("http", "https")
            is_most = 2 * len(failed) > len(outcomes) or not any(isinstance(each, bytes) for each in outcomes.values())
            if len(failed) < _EVIDENCE or not is_most or (is_refused and is_web):
                return []
            if is_refused:
                raise OutageError(f"{store} refuses every image: {failures[0].message}; {_HINT}")
            known, problem = failed[:_PROBES], failures[0].message
        self._wait(store, known, problem)
        return failed + missing

    def _wait(self, store: str, probes: Sequence[str], problem: str) -> None:
        """Wait until one of `probes` is delivered.

        Raises:
            OutageError: it takes too long.
        """
        policy, pause = self._policy, self._policy.first_pause_s
        since = self._since(store)
        logger.warning("%s is down, waiting: %s", store, problem)
        reason: str | None = problem
        while reason is not None:
            now = time.time()
            self._share(Outage(store, reason, since, now))
            left = since + policy.timeout_s - now
            if left <= 0:
                down_s = duration(policy.timeout_s)
                raise OutageError(f"{store} has been down for {down_s} (--outage-timeout-s): {reason}; {_HINT}")
            time.sleep(min(pause * random.uniform(0.5, 1.5), left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            reason = self._problem(probes)
        self._share(Outage(store, problem, since, time.time(), is_over=True))
        logger.warning("%s is up again", store)

    def _problem(self, probes: Sequence[str]) -> str | None:
        """Fetch images until one is delivered; return why the first was not, or None."""
        problem = None
        for uri in probes:
            outcome = self._fetcher.fetch_all([uri])[uri]
            if not isinstance(outcome, RowError):
                return None
            problem = problem or outcome.message
        return problem

    def _remember(self, store: str, uris: list[str]) -> None:
        board = self._policy.board
        if _delivered(self._policy.run_id).add(store, uris) and board is not None:
            board.put(f"{DELIVERED}{self._policy.run_id}-{_key(store)}", json.dumps(uris[-_PROBES:]).encode())

    def _known(self, store: str) -> list[str]:
        """Return images that a store has delivered, to this process or another."""
        known = _delivered(self._policy.run_id).of(store)
        if known or self._policy.board is None:
            return known
        shared = self._policy.board.get(f"{DELIVERED}{self._policy.run_id}-{_key(store)}")
        return list(json.loads(shared)) if shared else []

    def _since(self, store: str) -> float:
        """Return when an outage began, according to the process that met it first."""
        now, board = time.time(), self._policy.board
        shared = board.get(self._outage_key(store)) if board else None
        known = Outage.from_json(shared) if shared else None
        return known.since if known and not known.is_over and now - known.seen < _STALE_S else now

    def _share(self, outage: Outage) -> None:
        if self._policy.board is not None:
            self._policy.board.put(self._outage_key(outage.store), json.dumps(asdict(outage)).encode())

    def _outage_key(self, store: str) -> str:
        return f"{OUTAGES}{self._policy.run_id}-{_key(store)}"


# Beginnings of the keys of a board.
DELIVERED, OUTAGES = "delivered-", "outage-"
_HINT = "the same command goes on from here; with --outage-timeout-s 0, such images become error rows"


def store_of(uri: str) -> str:
    """Return scheme and host, scheme and bucket, or the first two directories of a local path."""
    scheme = scheme_of(uri)
    if scheme in ("http", "https"):
        try:
            parts = urlsplit(uri)
            host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
        except ValueError:
            host = "?"
        return f"{scheme}://{host}"
    if scheme == "file":
        path = uri.removeprefix("file://")
        return "/".join(path.split("/")[:3]) if path.count("/") > 2 else path.rpartition("/")[0] or "/"
    return f"{scheme}://{uri.partition('://')[2].partition('/')[0]}"


def _missing(uris: Iterable[str], outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return the images that a store does not have, by all that it says."""
    errors = ((uri, each) for uri in uris if isinstance(each := outcomes[uri], RowError))
    return [uri for uri, each in errors if each.code == ErrorCode.IMAGE_MISSING and not isinstance(each, StoreFailure)]


def _key(store: str) -> str:
    return hashlib.blake2b(store.encode(errors="surrogatepass"), digest_size=12).hexdigest()
