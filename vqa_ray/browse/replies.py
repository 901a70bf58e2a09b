"""HTTP responses of the server."""

from __future__ import annotations

from aiohttp import web

from vqa_ray.browse.placeholder import placeholder
from vqa_ray.browse.templates import render
from vqa_ray.browse.view_model import Problem
from vqa_ray.errors import RowError, one_line

MIB = 2**20


def problem_of(title: str, error: Exception) -> Problem:
    """Make a problem of an error, to show on a page."""
    return Problem(title, one_line(error, 1_000), getattr(error, "excerpt", ""))


def problem_page(status: int, title: str, message: str) -> web.Response:
    """Make a page that explains an error."""
    return html(status, render("problem.html.j2", problem=Problem(title, message)))


def html(status: int, body: bytes) -> web.Response:
    """Make an HTML response."""
    return web.Response(status=status, body=body, content_type="text/html", charset="utf-8")


def plain(status: int, message: str) -> web.Response:
    """Make a response with one line of text."""
    return web.Response(status=status, body=f"{message}\n".encode("utf-8", "replace"), content_type="text/plain")


def jpeg(data: bytes) -> web.Response:
    """Make a picture that browsers may cache for ten minutes."""
    response = web.Response(body=data, content_type="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=600"
    return response


def too_large(limit: int) -> web.Response:
    """Make the response to a body of more than `limit` bytes."""
    response = plain(413, f"the image is larger than {limit / MIB:.3g} MiB, the limit of --max-upload")
    # The rest of the body stays unread.
    response.force_close()
    return response


def picture_missing(error: RowError) -> web.Response:
    """Make a drawing in place of a picture, with the reason."""
    body = placeholder(one_line(error.message, 200))
    return web.Response(status=404, body=body, content_type="image/svg+xml")
