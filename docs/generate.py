"""Writes the reference pages that the code itself knows: commands, settings and metrics.

`make docs` runs it and the pages land in `docs/reference/`; a test compares them with its output. Needs every
extra, since each command's own package describes it.
"""

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
import typer.main

from exemplar.cli import EXTENSIONS, app, load
from exemplar.commands.parameters import SHARED_PANEL
from exemplar_server.config import PREFIX, ServerSettings
from exemplar_server.metrics import Metrics
from exemplar_server.readiness import Readiness

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by `make docs`: change the code that it describes, not this page. -->"

# Options that Typer itself adds.
COMPLETION = ("install_completion", "show_completion")

# How Typer writes the range of a number, and the words for it.
NUMBER = r"(-?[\d.]+)"
RANGES = [(f"{NUMBER}<=x<={NUMBER}", r"\1 to \2"), (f"x>={NUMBER}", r"at least \1"), (f"x<={NUMBER}", r"at most \1")]

COMMAND_LINE = f"""# Command line

{NOTE}

Client commands print tables for people, and with `--json` one JSON document whose keys are the field names of the
Python results. An error is one line on stderr: `exemplar: ` and a sentence.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | what was asked for was refused, or an item of it failed; with `classify --require-match`, one is no MATCH |
| 2 | wrong usage: an unknown option, a picture that is not there, an extra that is not installed |
| 3 | no server answered, or not in time |
| 130 | interrupted |
"""

SETTINGS = f"""# Settings of the server

{NOTE}

A setting is given as an option of `exemplar serve`, as an environment variable, or in the TOML file that `--config`
names (`data_dir = "..."`). An option goes before the environment, and the environment before the file.
"""

METRICS = f"""# Metrics

{NOTE}

The server publishes them for Prometheus on `--metrics-address`, at `/metrics`. Times are in seconds.
"""


def table(*columns: str, rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield a command and those below it, each with its full name; groups come before their own."""
    yield name, command
    for key, child in getattr(command, "commands", {}).items():
        yield from walk(child, f"{name} {key}")


def commands() -> dict[str, Any]:
    """Return every command by its full name; those of other packages are loaded."""
    root = typer.main.get_command(app)
    found = [pair for pair in walk(root, "exemplar") if pair[1] is not root]
    for name in EXTENSIONS:
        found += walk(load(name), f"exemplar {name}")
    return dict(found)


def parameters(command: Any, kind: str, shared: bool = False) -> list[list[str]]:
    """Return a table's rows: the parameters of one kind, with or without those that client commands share."""
    context = typer.Context(command)
    rows = []
    for each in command.params:
        in_shared_panel = getattr(each, "rich_help_panel", None) == SHARED_PANEL
        if each.param_type_name != kind or in_shared_panel != shared or each.name in COMPLETION:
            continue
        written, meaning = each.get_help_record(context)
        # Typer names a value by its Python type: `<int range>`, `<list[Path]>`.
        written = re.sub(r"<(?:list\[)?(\w+)[^>]*>", "" if kind == "argument" else lambda it: it[1].upper(), written)
        meaning = re.sub(r"default: \(([^)]*)\)", r"default: \1", " ".join(meaning.split()))
        for pattern, words in RANGES:
            meaning = re.sub(pattern, words, meaning)
        names = ", ".join(f"`{name}`" for name in written.strip().split(", "))
        rows.append([names, html.escape(meaning, quote=False)])
    return rows


def command_line() -> str:
    """Return the page of all commands."""
    found = commands()
    sections = [COMMAND_LINE.rstrip()]
    summaries = [
        [f"[`{name}`](#{name.replace(' ', '-')})", command.get_short_help_str(limit=200)]
        for name, command in found.items()
        if not hasattr(command, "commands")
    ]
    sections.append(table("command", "", rows=summaries))
    sections.append("## Options of every client command")
    sections.append(table("option", "meaning", rows=parameters(found["exemplar classify"], "option", shared=True)))
    for name, command in found.items():
        sections += section(name, command)
    return "\n\n".join(sections) + "\n"


def section(name: str, command: Any) -> Iterator[str]:
    """Yield the paragraphs about one command, or about a group of them."""
    words = name.split()
    yield f"{'#' * len(words)} {name}" if len(words) > 1 else f"## {name}"
    if len(words) == 2 and (extension := EXTENSIONS.get(words[1])):
        yield f"Needs `pip install 'exemplar[{extension.extra}]'`."
    yield html.escape(command.help.strip(), quote=False)
    if hasattr(command, "commands"):
        return
    usage = " ".join(re.sub("[{}]", "", piece) for piece in command.collect_usage_pieces(typer.Context(command)))
    shared = parameters(command, "option", shared=True)
    yield f"```\n{name} {usage}\n```"
    if arguments := parameters(command, "argument"):
        yield table("argument", "meaning", rows=arguments)
    if options := parameters(command, "option"):
        yield table("option", "meaning", rows=options)
    if shared:
        yield "It takes the [options of every client command](#options-of-every-client-command) too."


def settings() -> str:
    """Return the page of the server's settings."""
    described = {each.name: each for each in commands()["exemplar serve"].params}
    rows = []
    for name, field in ServerSettings.model_fields.items():
        option = described[name]
        meaning, default = option.help, option.show_default if isinstance(option.show_default, str) else ""
        if not default and field.is_required():
            default = "required"
        rows.append([f"`{name}`", f"`--{name.replace('_', '-')}`", f"`{PREFIX}{name.upper()}`", default, meaning])
    return f"{SETTINGS}\n{table('setting', 'option', 'environment', 'default', 'meaning', rows=rows)}\n"


def metrics() -> str:
    """Return the page of the server's metrics, read from a registry in which everything happened once."""
    measured = Metrics()
    measured.answered("Classify", "OK", 0.0)
    measured.watch_galleries(lambda: [1])
    measured.watch_degraded(Readiness())
    rows = []
    for family in sorted(measured.registry.collect(), key=lambda family: family.name):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append([f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation])
    return f"{METRICS}\n{table('metric', 'type', 'labels', 'meaning', rows=rows)}\n"


PAGES: dict[str, Callable[[], str]] = {"cli.md": command_line, "settings.md": settings, "metrics.md": metrics}


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
