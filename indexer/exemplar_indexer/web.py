"""Images on web servers: fetched within limits of time, and with a true sentence for each way in which that may fail.

All threads share one session, which keeps connections. Redirects are followed hop by hop, so that each hop is judged.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import http
import socket
from typing import TYPE_CHECKING, Any, cast

from exemplar_indexer.reach import WEB, Reach, is_public, refused_address
from exemplar_indexer.readers import Readers

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS, SILENCE_SECONDS, TOTAL_SECONDS = 10.0, 20.0, 120.0
"""Until a connection is there; without a word; and for the whole of an image."""

_MOST_REDIRECTS = 10
_CHUNK = 64 * 1024


class WebError(Exception):
    """An image that was not to be had; the message is the reason, as it follows a colon."""


class NotThereError(WebError):
    """The server says that there is no such image."""


def fetch(url: str, limit: int, reach: Reach) -> bytes:
    """Return what is behind an http(s) URL, the first `limit` bytes at most; safe to call from many threads.

    Raises:
        WebError: It is not there, or cannot be had.
        ModuleNotFoundError: aiohttp or fsspec is not installed.
    """
    from fsspec.asyn import get_loop, sync

    return bytes(sync(get_loop(), _fetch, url, limit, reach))


def timeouts(total: float | None = TOTAL_SECONDS) -> aiohttp.ClientTimeout:
    """Return the limits as aiohttp has them."""
    import aiohttp

    return aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)


def why(error: BaseException) -> str:
    """Return in words what kept something from being fetched, from the error or what brought it about."""
    import aiohttp

    known = (aiohttp.ClientError, TimeoutError)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, known):
        cause = cause.__cause__
    match cause:
        case aiohttp.ClientConnectorCertificateError():
            return f"the TLS certificate of {cause.host} is not accepted: {cause.certificate_error}"
        case aiohttp.ClientSSLError():
            return f"no TLS connection to {cause.host}:{cause.port}: {cause.os_error}"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {cause.host} leads to no address"
        case aiohttp.ClientConnectorError():
            return f"no connection to {cause.host}:{cause.port}: {cause.os_error.strerror or cause.os_error}"
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {CONNECT_SECONDS:g} s"
        case aiohttp.SocketTimeoutError():
            return f"the server said nothing for {SILENCE_SECONDS:g} s"
        case TimeoutError():
            return f"it was not there within {TOTAL_SECONDS:g} s"
        case aiohttp.ClientResponseError():
            return answered(cause.status)
        case aiohttp.InvalidURL():
            return "this is no URL"
        case aiohttp.ClientError():
            return f"the connection broke: {cause}"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def answered(status: int) -> str:
    """Return in words what an HTTP status says."""
    try:
        phrase = f" {http.HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    return f"the server answers {status}{phrase}"


async def _fetch(url: str, limit: int, reach: Reach) -> bytes:
    import aiohttp

    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            return await _follow(url, limit, reach)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise WebError(why(error)) from error


async def _follow(url: str, limit: int, reach: Reach) -> bytes:
    from yarl import URL

    for _ in range(_MOST_REDIRECTS + 1):
        async with _session(reach.is_public_only(url)).get(url, allow_redirects=False) as response:
            if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                there = response.url.join(URL(response.headers["Location"]))
                if there.scheme not in WEB:
                    raise WebError(f"it is redirected to {there}, which is on no web server")
                url = str(there)
                continue
            if response.status in (404, 410):
                raise NotThereError(answered(response.status))
            if response.status != http.HTTPStatus.OK:
                raise WebError(answered(response.status))
            content = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                content += chunk
                if len(content) >= limit:
                    break
            return bytes(content[:limit])
    raise WebError(f"it is redirected more than {_MOST_REDIRECTS} times")


@functools.cache
def _session(public_only: bool) -> aiohttp.ClientSession:
    """Return the session of the loop that all fetches run on; closed when the process ends."""
    import aiohttp

    resolver = aiohttp.ThreadedResolver(cast(asyncio.AbstractEventLoop, _Names()))
    guard = _public_socket if public_only else None
    connector = aiohttp.TCPConnector(limit=0, resolver=resolver, socket_factory=guard)
    session = aiohttp.ClientSession(connector=connector, timeout=timeouts())
    loop = asyncio.get_running_loop()

    def close() -> None:
        with contextlib.suppress(TimeoutError):  # what is left of it ends with the process
            asyncio.run_coroutine_threadsafe(session.close(), loop).result(0.5)

    atexit.register(close)
    return session


class _Names:
    """What a resolver asks of a loop, done by threads that nobody waits for when the process ends."""

    def __init__(self) -> None:
        self._readers = Readers(4)

    async def getaddrinfo(self, *what: Any, **options: Any) -> Any:
        return await asyncio.wrap_future(self._readers.submit(socket.getaddrinfo, *what, **options))

    async def getnameinfo(self, *what: Any) -> Any:
        return await asyncio.wrap_future(self._readers.submit(socket.getnameinfo, *what))


def _public_socket(address: Any) -> socket.socket:
    """Open a socket to what a name means now; asked for each connection, so no name can mean another thereafter."""
    family, kind, protocol, _, where = address
    if not is_public(where[0]):
        raise OSError(refused_address(where[0]))
    return socket.socket(family, kind, protocol)
