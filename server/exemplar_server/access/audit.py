"""The account of who changed what, and of who was refused: a line of JSON to a call.

Never a key, a token, an attribute or a picture: only names, ids and revisions.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from exemplar_server.access.policy import Policy
from exemplar_server.call import Call
from exemplar_server.errors import StartError

_log = structlog.get_logger()
_MOST_CLASSES = 256


class Audit:
    """Appends to a file, which others may move away: a line goes to whatever has the file's name."""

    def __init__(self, file: Path) -> None:
        """Open the file, so that one that cannot be written is told at the start.

        Raises:
            StartError: it cannot be written.
        """
        self._file = file
        try:
            with file.open("a", encoding="utf-8"):
                pass
        except OSError as error:
            raise StartError(f"the audit log {file} cannot be written: {error.strerror}") from error

    def tell(self, call: Call, method: str, policy: Policy, request: Any, response: Any, code: str) -> None:
        """Write down how a call ended.

        Args:
            call: the call.
            method: its name without the service.
            policy: its policy.
            request: its message; None where it was not read.
            response: its answer; None where there is none.
            code: the gRPC code that it ended with.
        """
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": call.who.name,
            "from": call.caller,
            "method": method,
            "code": code,
        }
        if request is not None:
            line["gallery"] = policy.gallery_of(request)
            line["classes"] = _classes(policy, request)
            line["request_id"] = getattr(request, "request_id", "")
        if response is not None:
            line["revision"] = _revision(response)
        kept = {key: value for key, value in line.items() if value not in (None, "", [])}
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(kept) + "\n")
        except OSError as error:
            _log.error("the audit log cannot be written", file=str(self._file), reason=error.strerror, line=kept)


def _classes(policy: Policy, request: Any) -> list[str]:
    if policy.image_class:
        return [policy.class_of(request)]
    return [each.class_id for each in getattr(request, "enrollments", ())[:_MOST_CLASSES]]


def _revision(response: Any) -> int | None:
    names = response.DESCRIPTOR.fields_by_name
    if "gallery_revision" in names:
        return int(response.gallery_revision)
    held = response.gallery if "gallery" in names else response
    return int(held.revision) if "revision" in held.DESCRIPTOR.fields_by_name else None
