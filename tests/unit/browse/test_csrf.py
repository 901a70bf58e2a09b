"""Who may ask, by the headers that browsers send."""

from __future__ import annotations

import pytest

from vqa_ray.browse.csrf import is_allowed_host, is_cross_site


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8765", "127.0.0.1", "127.0.0.1:8765", "[::1]:8765", "::1", "192.168.1.7:80", "desk:1"],
)
def test_known_names_and_addresses_may(host: str) -> None:
    assert is_allowed_host(host, {"localhost", "desk"})


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example:8765", "127.0.0.1.evil.example", "[evil]:1", "127.1x", "desk.lan"],
)
def test_other_names_may_not(host: str) -> None:
    assert not is_allowed_host(host, {"localhost", "desk"})


@pytest.mark.parametrize(
    ("method", "headers", "elsewhere"),
    [
        ("GET", {}, False),
        ("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, False),
        ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, True),
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, True),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:1", "Host": "127.0.0.1:1"}, False),
        ("POST", {"Origin": "http://evil.example", "Host": "127.0.0.1:1"}, True),
        ("POST", {"Origin": "http://127.0.0.1:1", "Host": "127.0.0.1:1"}, False),
        ("POST", {"Origin": "null", "Host": "127.0.0.1:1"}, True),
        ("POST", {"Host": "127.0.0.1:1"}, False),
    ],
)
def test_pages_of_other_sites_are_told_apart(method: str, headers: dict[str, str], elsewhere: bool) -> None:
    assert is_cross_site(method, headers) == elsewhere
