"""`exemplar evaluate` as a command: what it marks, refuses, leaves out and writes down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.evaluate import call, evaluate, retold
from tests.e2e.without_keras import exemplar_without_keras

FEW = ("--way", "5", "--number", "6", "--shot", "1")


@pytest.fixture
def final_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a bundle whose training held out nothing."""
    return retold(tiny_bundle, tmp_path / "final", held_out=[], training_classes=48)


def test_a_bundle_that_was_trained_on_what_it_is_asked_about_is_marked(
    tiny_bundle: Path,
    final_bundle: Path,
    drawn_alphabets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = retold(tiny_bundle, tmp_path / "elsewhere", held_out=[], training_classes=0)
    others = retold(tiny_bundle, tmp_path / "others", held_out=["Alphabet01", "Alphabet02"])
    classes = sorted(each.relative_to(drawn_alphabets).as_posix() for each in drawn_alphabets.glob("*0[05]/*"))
    by_class = retold(tiny_bundle, tmp_path / "by_class", held_out=classes)
    bundles = [tiny_bundle, final_bundle, others, elsewhere, by_class]
    asked = ["episodes", drawn_alphabets, *FEW, "-b", tiny_bundle]
    asked += [word for each in bundles[1:] for word in ("-b", each.name)]  # short names, which no table breaks
    found = evaluate(*asked, "--held-out")
    assert [result["trained_on"] for result in found] == [False, True, True, None, False]
    assert {result["trained_on"] for result in evaluate(*asked)} == {None}
    page = tmp_path / "page.html"
    shown = call(*asked, "--held-out", "--html", page)
    for text in (shown.stdout, page.read_text()):
        assert text.count("* was trained on classes that it is asked about") == 1
        assert "final *" in text
        assert "others *" in text
        assert "elsewhere *" not in text
    assert " *" not in call(*asked).stdout


def test_several_ways_are_asked_for_one_after_the_other(tiny_bundle: Path, drawn_alphabets: Path) -> None:
    several = ("--way", "5", "--way", "3", "--number", "4", "-b", tiny_bundle)
    asked = evaluate("episodes", drawn_alphabets, *several, "--shot", "1", "--shot", "2")
    assert [(result["way"], result["shot"]) for result in asked] == [(5, 1), (5, 2), (3, 1), (3, 2)]
    assert [result["way"] for result in evaluate("openset", drawn_alphabets, *several)] == [5, 3]
    alphabet = drawn_alphabets / "Alphabet00"
    assert [result["way"] for result in evaluate("pairs", alphabet, alphabet, *several)] == [5, 3]


def test_one_two_and_five_exemplars_are_asked_for_where_every_class_has_the_images(
    tiny_bundle: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    few = ("--way", "5", "--number", "6")
    asked = evaluate("episodes", drawn_alphabets, "-b", tiny_bundle, *few)
    assert [result["protocol"][-6:] for result in asked] == ["1-shot", "2-shot", "5-shot"]
    assert {tuple(result["notes"]) for result in asked} == {()}
    shutil.copytree(drawn_alphabets, tmp_path / "fewer")
    next((tmp_path / "fewer" / "Alphabet03" / "character02").iterdir()).unlink()
    asked = evaluate("episodes", tmp_path / "fewer", "-b", tiny_bundle, *few)
    assert [result["protocol"][-6:] for result in asked] == ["1-shot", "2-shot"]
    note = "Left out: 5-shot. Class Alphabet03/character02 has 5 images, one of them to ask."
    assert asked[0]["notes"] == [note]
    shown = call("episodes", tmp_path / "fewer", "-b", tiny_bundle, *few)
    assert shown.stdout.replace("\n", "").count(note) == 1


def test_open_sets_of_several_bundles_and_shots_are_in_one_table(
    tiny_bundle: Path, drawn_alphabets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        shutil.copytree(tiny_bundle, tmp_path / name)
    few = ("--way", "5", "--number", "6", "--shot", "1", "--shot", "2", "--html", "page.html")
    done = call("openset", drawn_alphabets, "-b", "one", "-b", "two", *few)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("AUROC") == 1
    assert ["one", "one", "two", "two"] in [line.split() for line in done.stdout.splitlines()]
    assert (tmp_path / "page.html").read_text().count("AUROC, known against unknown") == 1


def test_what_it_takes_to_ask_the_same_again_is_written_down(
    tiny_bundle: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    asked = ("--group", "Alphabet01", "--group", "Alphabet03", "--seed", "7", "--way", "6", "--number", "9")
    (found,) = evaluate("openset", drawn_alphabets, "-b", tiny_bundle, *asked, "--html", page)
    facts = {name: found[name] for name in ("data", "groups", "seed", "number", "way", "shot")}
    groups = ["Alphabet01", "Alphabet03"]
    assert facts == {"data": [str(drawn_alphabets)], "groups": groups, "seed": 7, "number": 9, "way": 6, "shot": 1}
    assert f"data: {drawn_alphabets}; groups: Alphabet01, Alphabet03; seed: 7; number: 9; way: 6" in page.read_text()


def test_groups_by_name_and_groups_held_out_exclude_each_other(tiny_bundle: Path, drawn_alphabets: Path) -> None:
    asked = ("--group", "Alphabet01", "--held-out")
    done = call("episodes", drawn_alphabets, "-b", tiny_bundle, *asked)
    assert done.exit_code == 2
    assert "--held-out names the groups itself" in done.stderr


def test_a_page_that_cannot_be_written_costs_no_figures(tiny_bundle: Path, drawn_alphabets: Path) -> None:
    asked = ("episodes", drawn_alphabets, "-b", tiny_bundle, *FEW, "--html", drawn_alphabets)
    done = call(*asked, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)[0]["accuracy"]["queries"] == 30
    assert "the page cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("asked", [("calibration",), ("episodes", "--held-out")])
def test_a_final_bundle_sends_to_the_one_that_was_measured(
    asked: tuple[str, ...], final_bundle: Path, drawn_alphabets: Path
) -> None:
    done = call(*asked, drawn_alphabets, "-b", final_bundle)
    assert done.exit_code == 1
    told = done.stderr.replace("\n", "")
    assert "is a final bundle: its training held out nothing. Name the one that it was measured by" in told
    assert "whose training held out Alphabet00, Alphabet05" in told


@pytest.mark.process
def test_neither_keras_nor_tensorflow_is_needed(tiny_bundle: Path, drawn_alphabets: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    asked = ("openset", drawn_alphabets, "-b", tiny_bundle, "--way", "5", "--number", "2", "--html", page)
    done = exemplar_without_keras("evaluate", *asked)
    assert done.returncode == 0, done.stderr
    assert "AUROC, known against unknown" in done.stdout
    assert "2 tasks" in done.stderr
    assert page.read_text().count("data:image/png;base64,") >= 2


@pytest.mark.process
def test_training_does_need_keras_and_says_so(drawn_alphabets: Path, tmp_path: Path) -> None:
    done = exemplar_without_keras("train", drawn_alphabets, "--run", tmp_path / "run")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "pip install 'exemplar[train]'" in done.stderr
