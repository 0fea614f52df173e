"""No extra installs FAISS twice, and a server that finds it twice does not start."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from exemplar_server.errors import StartError
from exemplar_server.faiss_wheels import check_faiss_wheels

ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def faiss_of(extra: str) -> set[str]:
    """Return the names of the FAISS wheels that an extra installs, with all that it includes."""
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        included = re.fullmatch(r"exemplar\[(.+)\]", requirement)
        if included:
            found = found.union(*map(faiss_of, included[1].split(",")))
        elif requirement.startswith("faiss"):
            found.add(re.split(r"[<>=;\s]", requirement)[0])
    return found


def others_of(extra: str) -> set[str]:
    return {requirement for requirement in EXTRAS[extra] if not requirement.startswith("faiss")}


def test_an_extra_installs_one_faiss_wheel_at_most() -> None:
    assert faiss_of("server") == {"faiss-cpu"}
    assert faiss_of("server-gpu") == {"faiss-gpu"}
    assert all(len(faiss_of(extra)) <= 1 for extra in EXTRAS)


def test_the_server_s_two_extras_differ_in_faiss_alone() -> None:
    assert others_of("server") == others_of("server-gpu")


def test_the_one_faiss_that_is_installed_is_accepted() -> None:
    check_faiss_wheels()


def test_faiss_installed_twice_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "faiss_cpu", "faiss_gpu":
        folder = tmp_path / f"{name}-1.15.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.15.1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StartError) as raised:
        check_faiss_wheels()
    assert str(raised.value) == (
        "faiss-cpu and faiss-gpu are both installed, and each overwrites files of the other; "
        "pip uninstall faiss-cpu faiss-gpu, then install exemplar[server] or exemplar[server-gpu], not both"
    )
