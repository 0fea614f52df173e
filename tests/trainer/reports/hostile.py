"""A name that is markup to whatever does not escape it, and the episodes that are drawn of classes named so."""

from __future__ import annotations

from exemplar_trainer.evaluation.episodes import Protocol

HOSTILE = "<script>alert(\"&')</script>"

PROTOCOL = Protocol(5, 1, within_group=True)
