"""The forms of the server's answers."""

from __future__ import annotations

from aiohttp import web

from vqa_ray.browse.placeholder import placeholder
from vqa_ray.browse.templates import render
from vqa_ray.browse.view_model import Problem
from vqa_ray.errors import RowError, one_line

MIB = 2**20


def problem_of(title: str, error: Exception) -> Problem:
    """What a page tells of an error."""
    return Problem(title, one_line(error, 1_000), getattr(error, "excerpt", ""))


def problem_page(status: int, title: str, message: str) -> web.Response:
    """A page that says why there is not what was asked for."""
    return html(status, render("problem.html.j2", problem=Problem(title, message)))


def html(status: int, body: bytes) -> web.Response:
    """A page."""
    return web.Response(status=status, body=body, content_type="text/html", charset="utf-8")


def plain(status: int, message: str) -> web.Response:
    """One line of text."""
    return web.Response(status=status, body=f"{message}\n".encode("utf-8", "replace"), content_type="text/plain")


def jpeg(data: bytes) -> web.Response:
    """A picture that browsers may keep for a while."""
    response = web.Response(body=data, content_type="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=600"
    return response


def too_large(most: int) -> web.Response:
    """The answer to a body of more than `most` bytes."""
    response = plain(413, f"the image is larger than {most / MIB:.3g} MiB, the most that is taken")
    # The rest of the body is not read.
    response.force_close()
    return response


def picture_missing(error: RowError) -> web.Response:
    """In the place of a picture, a drawing that says why there is none."""
    body = placeholder(one_line(error.message, 200))
    return web.Response(status=404, body=body, content_type="image/svg+xml")
