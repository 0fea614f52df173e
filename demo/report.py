"""What a demonstration says on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from demo.figures import accuracy_by_alphabet, figures
from demo.measure import WAY, Measured

console = Console(highlight=False)


def heading(text: str) -> None:
    """Begin a step."""
    console.print(f"\n[bold]{text}[/]")


def print_figures(measured: Measured) -> None:
    """Print the figures as a table."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for row in figures(measured):
        table.add_row(*row)
    for alphabet, share in accuracy_by_alphabet(measured).rows:
        table.add_row(f"  {WAY}-way, {alphabet}", share)
    console.print(table)
    timing = measured.latency
    console.print(f"95 % of {timing.calls} single calls were answered within {timing.p95:.1f} ms.")
