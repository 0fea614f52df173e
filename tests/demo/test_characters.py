"""Characters are read alike from a folder and a zip, and drawn alike for the same seed."""

from __future__ import annotations

import zipfile
from pathlib import Path

from demo.characters import read_characters
from demo.strokes import draw_alphabets


def test_a_folder_and_a_zip_give_the_same_characters(tmp_path: Path) -> None:
    draw_alphabets(tmp_path / "drawn", alphabets=3, characters=4, drawers=3)
    with zipfile.ZipFile(tmp_path / "drawn.zip", "w") as opened:
        for path in (tmp_path / "drawn").rglob("*.png"):
            opened.write(path, Path("wrapped") / path.relative_to(tmp_path / "drawn"))
    wanted = ["Alphabet00", "Alphabet02"]
    from_folder = read_characters(tmp_path / "drawn", tmp_path / "unused", wanted)
    from_zip = read_characters(tmp_path / "drawn.zip", tmp_path / "scratch", wanted)
    assert [character.class_id for character in from_folder] == [character.class_id for character in from_zip]
    assert [c.exemplar.read_bytes() for c in from_folder] == [c.exemplar.read_bytes() for c in from_zip]
    assert len(from_folder) == 8
    assert all(len(character.queries) == 2 for character in from_folder)


def test_drawing_is_repeatable(tmp_path: Path) -> None:
    for name in ("first", "second"):
        draw_alphabets(tmp_path / name, alphabets=2, characters=2, drawers=2, seed=7)
    first = {p.relative_to(tmp_path / "first"): p.read_bytes() for p in (tmp_path / "first").rglob("*.png")}
    second = {p.relative_to(tmp_path / "second"): p.read_bytes() for p in (tmp_path / "second").rglob("*.png")}
    assert first == second
    assert len(first) == 8
