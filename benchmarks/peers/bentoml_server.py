"""BentoML: Starlette in as many processes as cores, each with a model."""

from __future__ import annotations

import os

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.work import Work

_work: list[Work] = []


async def name(request: Request) -> Response:
    """Name a picture."""
    import asyncio

    return Response((await asyncio.to_thread(_work[0].name, [await request.body()]))[0])


@bentoml.service(workers=os.cpu_count() or 1)
@bentoml.asgi_app(Starlette(routes=[Route("/inference", name, methods=["POST"])]))
class Naming:
    """One of the processes."""

    def __init__(self) -> None:
        _work.append(Work())
