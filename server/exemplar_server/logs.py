"""Structured logs on stderr, as text for people or as JSON for programs. Nothing ever logs an image."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logs(form: str, level: str) -> None:
    """Set the process's logging up.

    Args:
        form: `console` or `json`.
        level: the least that is shown: `debug`, `info`, `warning` or `error`.
    """
    # Tracebacks leave local variables out: among them are images and the token.
    rendering: list[structlog.typing.Processor]
    if form == "json":
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        rendering = [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]
    else:
        rendering = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
