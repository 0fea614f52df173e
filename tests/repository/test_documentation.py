"""The documents quote only things that exist, and leave out nothing that callers depend on."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exemplar
from exemplar_encoder.decode import ImageProblem
from tests.repository.test_reference import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), ROOT / "models/README.md", *(ROOT / "docs").rglob("*.md")])
# The changelog also names things that are gone; some pages of the reference are generated.
PRESENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
WRITTEN = [path for path in PRESENT if "<!-- Written by `make docs`" not in path.read_text()]
# Folders whose files the documents name; others (`runs/`, `photos/`) are the reader's.
FOLDERS = "benchmarks|client|demo|docs|encoder|indexer|models|proto|requirements|server|tests|trainer"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
every_present_document = pytest.mark.parametrize("document", PRESENT, ids=name_of)
every_written_document = pytest.mark.parametrize("document", WRITTEN, ids=name_of)


# Commands


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("-")}


def options_of_benchmarks() -> set[str]:
    """Return the options of `python -m benchmarks.…`, read from the source: importing some takes seconds."""
    found = set()
    for path in (ROOT / "benchmarks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "main":
                found |= {"--" + argument.arg.replace("_", "-") for argument in node.args.args}
    return found


def inline_code(document: Path) -> list[str]:
    """Return what stands in backticks outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL))


def quoted(document: Path, program: str) -> Iterator[list[str]]:
    """Yield the words of every command of a program in a document's shell blocks and inline code."""
    blocks = re.findall(r"```(?:sh|console|shell|bash)\n(.*?)```", document.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in lines + inline_code(document):
        command = re.sub(r"^(\$ |([A-Z_]+=\S+ )+)", "", line.partition(" #")[0].strip())
        if command.startswith(f"{program} "):
            try:
                yield shlex.split(command)
            except ValueError:
                yield command.split()


@every_present_document
def test_every_command_that_is_quoted_exists_with_its_options(document: Path) -> None:
    for words in quoted(document, "exemplar"):
        if words[1] == "COMMAND" or words[1].startswith("-"):
            continue
        name = " ".join(words[:3]) if " ".join(words[:3]) in COMMANDS else " ".join(words[:2])
        assert name in COMMANDS, f"{name_of(document)} quotes `{' '.join(words)}`"
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        unknown = options - options_of(COMMANDS[name]) - {"--help"}
        assert not unknown, f"{name_of(document)} quotes `{' '.join(words)}`"


@every_written_document
def test_every_option_that_is_quoted_alone_is_one_of_some_command(document: Path) -> None:
    known = set().union(*(options_of(command) for command in COMMANDS.values()), options_of_benchmarks())
    known |= {"--help", "--version", "--install-completion", "--show-completion"}
    wanted = {word for code in inline_code(document) if code.startswith("-") for word in code.split()}
    assert {word.partition("=")[0] for word in wanted if re.match(r"--?[a-z]", word)} <= known


@every_present_document
def test_every_make_target_and_benchmark_that_is_quoted_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = {word for words in quoted(document, "make") for word in words[1:] if "=" not in word}
    assert wanted <= targets
    benchmarks = set(re.findall(r"python -m benchmarks\.([a-z_]+)", document.read_text()))
    packages = {path.parent.name for path in (ROOT / "benchmarks").glob("*/__main__.py")}
    assert benchmarks <= packages | {path.stem for path in (ROOT / "benchmarks").glob("*.py")}


# Paths and links


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    plain = [re.sub(r"[`*\[\]]|\([^)]*\)", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@every_document
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


@every_present_document
def test_every_path_that_is_quoted_exists(document: Path) -> None:
    paths = [code for code in inline_code(document) if re.fullmatch(rf"(?:\.ci|{FOLDERS})/[\w./-]*", code)]
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_the_index_of_decisions_lists_every_page_by_its_title() -> None:
    folder = ROOT / "docs/decisions"
    rows = re.findall(r"^\| \[(\d{4})\]\((.+)\) \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE)
    pages = sorted(folder.glob("[0-9]*.md"))
    titles = [page.read_text().partition("\n")[0].removeprefix("# ") for page in pages]
    assert rows == [(page.name[:4], page.name, title) for page, title in zip(pages, titles, strict=True)]
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))


@pytest.mark.parametrize("page", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=name_of)
def test_a_decision_has_its_context_its_consequences_and_its_measurement(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences", "Measurement"]


# Python


def python_blocks(document: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)


@every_present_document
def test_every_python_example_calls_what_is_there(document: Path) -> None:
    for block in python_blocks(document):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "exemplar":
                assert {alias.name for alias in node.names} <= set(exemplar.__all__)
            call = node.func if isinstance(node, ast.Call) else None
            if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id == "client":
                taken = inspect.signature(getattr(exemplar.Client, call.attr)).parameters
                assert isinstance(node, ast.Call)
                assert {keyword.arg for keyword in node.keywords} <= set(taken), f"client.{call.attr}"


def test_every_method_of_the_client_and_every_name_it_exports_is_in_the_reference() -> None:
    text = (ROOT / "docs/reference/python.md").read_text()
    methods = [
        name for name, _ in inspect.getmembers(exemplar.Client, inspect.isfunction) if not name.startswith("_")
    ]
    assert len(methods) > 15
    assert not [name for name in methods if name != "close" and f"`{name}`" not in text]


# Errors


def reasons_of_the_server() -> set[str]:
    """Return every reason that is written down where the server makes an error."""
    found = {f"IMAGE_{problem.name}" for problem in ImageProblem}
    for path in (ROOT / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            reason = node.args[0].value
            if called.endswith("Error") and isinstance(reason, str) and re.fullmatch(r"[A-Z]+(_[A-Z]+)*", reason):
                found.add(reason)
    return found


def test_every_error_and_every_reason_is_in_the_reference() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text()
    errors = {name for name in exemplar.__all__ if name.endswith("Error")}
    assert len(errors) > 8
    assert len(reasons_of_the_server()) > 15
    assert not [name for name in errors | reasons_of_the_server() if f"`{name}`" not in text]


# English


@every_written_document
def test_lines_end_in_time_and_no_sentence_opens_with_what_or_so_many(document: Path) -> None:
    prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    assert not [line for line in document.read_text().splitlines() if len(line) > 120]
    assert not re.findall(r"(?:^|[.!?:] |\| |- )(?:What|So many)\b.*", prose, re.MULTILINE)


# Tests


@every_present_document
def test_a_test_that_is_cited_is_there(document: Path) -> None:
    cited = [code.split("::") for code in inline_code(document) if code.startswith("tests/") and "::" in code]
    missing = [
        f"{path}::{name}" for path, name in cited if f"\ndef {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []
