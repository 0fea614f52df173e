"""The figures of the demonstration, each computed from the server's answers."""

from __future__ import annotations

from collections.abc import Iterable

from demo.measure import WAY, Measured
from exemplar_trainer.reports.tables import Table


def figures(measured: Measured) -> list[tuple[str, str]]:
    """Return the name and the value of each figure."""
    found = []
    within = [answer for answers in measured.by_alphabet.values() for answer in answers]
    if within:
        where = " within an alphabet" if any(measured.by_alphabet) else ""
        found.append((f"{WAY}-way{where}, one example", _percent(answer.right for answer in within)))
    classes = len({answer.truth.class_id for answer in measured.everything if answer.truth})
    right = _percent(answer.right for answer in measured.everything)
    found.append((f"whole gallery, {classes} classes, one example", right))
    rejected = _percent(not answer.accepted for answer in measured.strangers)
    found.append(("strangers told apart as UNKNOWN", rejected))
    rate = measured.half[0].answer.false_accept_rate
    accepted = _percent(answer.accepted for answer in measured.half if answer.truth is not None)
    found.append((f"enrolled ones accepted at {rate:.0%} false accepts", accepted))
    found.append(("latency, one image a call (median)", f"{measured.latency.median:.1f} ms"))
    found.append(("throughput, in batches", f"{measured.rate:,.0f} images/s"))
    return found


def accuracy_by_alphabet(measured: Measured) -> Table:
    """Return how many of each alphabet's queries were named rightly, of those that have enough characters."""
    rows = [
        (alphabet.replace("_", " "), _percent(answer.right for answer in answers))
        for alphabet, answers in measured.by_alphabet.items()
        if alphabet
    ]
    return Table(("alphabet", f"{WAY}-way, one example"), rows)


def _percent(values: Iterable[bool]) -> str:
    listed = list(values)
    return f"{sum(listed) / len(listed):.1%}" if listed else "–"
