"""Structured logs on stderr, as text for people or as JSON for programs. Nothing ever logs an image."""

from __future__ import annotations

import logging
import sys
from typing import Protocol, TextIO, cast

import structlog


class Stream(Protocol):
    """Where a log goes."""

    def write(self, text: str, /) -> int:
        """Write a text."""
        ...

    def flush(self) -> None:
        """Have it written."""
        ...

    def isatty(self) -> bool:
        """Whether people read it."""
        ...


def configure_logs(form: str, level: str, stream: Stream | None = None) -> None:
    """Set the process's logging up.

    Args:
        form: `console` or `json`.
        level: the least that is shown: `debug`, `info`, `warning` or `error`.
        stream: where to; standard error when None.
    """
    stream = stream or sys.stderr
    # Tracebacks leave local variables out: among them are images and the token.
    rendering: list[structlog.typing.Processor]
    if form == "json":
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        rendering = [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]
    else:
        rendering = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stream)),
    )
    logging.basicConfig(stream=cast("TextIO", stream), level=logging.WARNING)  # what libraries have to say
