"""What the documents quote exists, and every command is in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import exemplar
from exemplar.cli import EXTENSIONS, app, load

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields every command with its full name; the root's extensions are loaded."""
    if hasattr(command, "commands"):
        for key, child in command.commands.items():
            yield from walk(child, f"{name} {key}")
        return
    yield name, command


def every_command() -> dict[str, Any]:
    found = dict(walk(typer.main.get_command(app), "exemplar"))
    for name in EXTENSIONS:
        found |= dict(walk(load(name), f"exemplar {name}"))
    return found


COMMANDS = every_command()


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("-")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_in_the_command_line_document(name: str) -> None:
    command = COMMANDS[name]
    assert (command.help or "").strip(), f"{name} has no help"
    silent = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
    assert not silent, f"{name} says nothing about {silent}"
    assert re.search(rf"`{name}\b", (ROOT / "docs/cli.md").read_text()), f"{name} is not in docs/cli.md"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_in_the_command_line_document(name: str) -> None:
    text = (ROOT / "docs/cli.md").read_text()
    missing = {option for option in options_of(COMMANDS[name]) if option.startswith("--") and option not in text}
    assert not missing - {"--help", "--install-completion", "--show-completion"}


def quoted(document: Path, program: str) -> Iterator[list[str]]:
    """Yields the words of every command of a program in a document's shell blocks and inline code."""
    text = document.read_text()
    blocks = re.findall(r"```(?:sh|console|shell|bash)\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in lines:
        line = line.removeprefix("$ ").partition(" #")[0].strip()
        if line.startswith(f"{program} "):
            try:
                yield shlex.split(line)
            except ValueError:
                yield line.split()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_is_quoted_exists(document: Path) -> None:
    wanted = {word for words in quoted(document, "make") for word in words[1:] if "=" not in word}
    assert wanted <= targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_quoted_exists_with_its_options(document: Path) -> None:
    for words in quoted(document, "exemplar"):
        if words[1] == "COMMAND" or words[1].startswith("-"):
            continue
        name = " ".join(words[:3]) if " ".join(words[:3]) in COMMANDS else " ".join(words[:2])
        group = any(each.startswith(f"{name} ") for each in COMMANDS)
        assert name in COMMANDS or group, f"{document.name} quotes `{' '.join(words)}`"
        if name in COMMANDS:
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            unknown = options - options_of(COMMANDS[name]) - {"--help"}
            assert not unknown, f"{document.name} quotes `{' '.join(words)}`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    dead = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_example_compiles_and_imports_what_is_there(document: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
        compile(block, document.name, "exec")
        for names in re.findall(r"^from exemplar import (.+)$", block, re.MULTILINE):
            assert {name.strip() for name in names.split(",")} <= set(exemplar.__all__)


def test_every_error_and_result_is_in_the_api_document() -> None:
    text = (ROOT / "docs/api.md").read_text()
    errors = [name for name in exemplar.__all__ if name.endswith("Error")]
    assert len(errors) > 8
    assert not [name for name in errors if f"`{name}`" not in text]
