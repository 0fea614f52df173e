"""The reference pages say what the code says, and every command says something about each of its parameters."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_generator", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()
COMMANDS: dict[str, Any] = GENERATOR.commands()


@pytest.mark.parametrize("page", GENERATOR.PAGES)
def test_a_reference_page_is_what_the_code_generates(page: str) -> None:
    committed = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    assert committed == GENERATOR.PAGES[page](), f"docs/reference/{page} is stale, run `make docs`"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_each_of_its_parameters_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert (command.help or "").strip(), f"{name} has no help"
    silent = [each.name for each in command.params if each.name != "help" and not getattr(each, "help", None)]
    assert not silent, f"{name} says nothing about {silent}"


def test_the_page_of_commands_names_every_command_and_option() -> None:
    page = GENERATOR.command_line()
    sections = {part.partition("\n")[0].strip("# "): part for part in page.split("\n#")}
    shared = sections["Options of every client command"]
    for name, command in COMMANDS.items():
        for each in command.params:
            if each.param_type_name == "option" and each.name not in GENERATOR.COMPLETION:
                assert any(option in sections[name] + shared for option in each.opts), f"{name} {each.opts}"


def test_the_page_of_settings_names_each_setting_in_its_three_forms() -> None:
    page = GENERATOR.settings()
    for name in GENERATOR.ServerSettings.model_fields:
        assert f"`{name}`" in page
        assert f"`--{name.replace('_', '-')}`" in page
        assert f"`EXEMPLAR_{name.upper()}`" in page


def test_the_help_of_serve_names_the_defaults_that_hold() -> None:
    said: dict[str, Any] = {
        each.name: getattr(each, "show_default", None) for each in COMMANDS["exemplar serve"].params
    }
    for name, field in GENERATOR.ServerSettings.model_fields.items():
        default = field.default
        if isinstance(default, bool):
            continue  # a flag is not set
        if isinstance(default, float | int):
            number = said[name].replace(",", "").removesuffix(" MiB")
            assert float(number) * (2**20 if said[name].endswith("MiB") else 1) == default, name
        elif isinstance(default, str):
            assert said[name] == default
