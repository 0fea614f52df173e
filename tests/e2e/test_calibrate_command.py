"""`exemplar calibrate` against a real server, with real pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import exemplar
from demo.server_process import ServerProcess
from exemplar import Client, Enrollment
from exemplar_encoder import Bundle, Calibration, DecisionRule
from exemplar_encoder.calibration import gaps_of
from exemplar_encoder.kinds_of_picture import OTHER_KIND
from exemplar_trainer.calibration.labeled_images import embed_labeled_images
from exemplar_trainer.cli.calibrate import app
from exemplar_trainer.evaluation.tasks import NO_CLASS
from tests.e2e.without_keras import exemplar_without_keras

ENROLLED = 36


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def labeled(drawn_alphabets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of every character's pictures but the first, each character in a folder of its own."""
    root = tmp_path_factory.mktemp("labeled")
    for character in sorted(drawn_alphabets.glob("*/*")):
        folder = root / f"{character.parent.name}-{character.name}"
        folder.mkdir()
        for picture in sorted(character.iterdir())[1:]:
            shutil.copy(picture, folder)
    return root


@pytest.fixture(scope="module")
def first_pictures(drawn_alphabets: Path) -> dict[str, Path]:
    """Return the first picture of each character, by class id."""
    return {
        f"{character.parent.name}-{character.name}": min(character.iterdir())
        for character in sorted(drawn_alphabets.glob("*/*"))
    }


@pytest.fixture
def taught(client: Client, first_pictures: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a fresh gallery of the first 36 characters."""
    gallery = "calibrated"
    client.create_gallery(gallery)
    client.enroll_many(gallery, [Enrollment(*each) for each in list(first_pictures.items())[:ENROLLED]])
    yield gallery
    client.delete_gallery(gallery, force=True)


def run(client: Client, *arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--address", client.address])


def calibrate(client: Client, *arguments: object) -> dict[str, Any]:
    done = run(client, *arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rule_of(client: Client, gallery: str, calibration: Calibration) -> DecisionRule:
    """Apply a calibration to a gallery by the vectors of its classes."""
    found = [each.embedding for each in client.classes(gallery, embeddings=True)]
    vectors = np.array([each.values for each in found if each], np.float32)
    return DecisionRule(calibration, len(vectors), gaps_of(vectors))


def judged_by(client: Client, gallery: str, image: Path, calibration: Calibration) -> bool:
    """Return whether the server answers with the threshold and the margin of this calibration."""
    answer, rule = client.classify(gallery, image), rule_of(client, gallery, calibration)
    return (answer.threshold, answer.ambiguity_margin) == pytest.approx((rule.threshold, rule.margin), rel=1e-4)


@pytest.mark.slow
def test_a_fit_is_stored_shown_and_applied_until_it_is_cleared(
    client: Client, taught: str, labeled: Path, tiny_bundle: Path
) -> None:
    query = min((labeled / "Alphabet00-character00").iterdir())
    model = Bundle.load(tiny_bundle).calibration
    assert judged_by(client, taught, query, model)
    found = calibrate(client, taught, labeled)
    assert (found["stored"], found["queries"], found["classes"]) == (True, ENROLLED * 5, ENROLLED)
    assert (found["stranger_pictures"], len(found["stranger_folders"])) == (60, 12)
    assert (found["left_out"], found["skipped"]) == (0, [])
    assert found["other_kind_of_picture"] is (found["shift"] >= OTHER_KIND)
    fitted = Calibration.from_json(json.dumps(found["calibration"]))
    stored = client.get_gallery(taught).calibration
    assert stored is not None
    assert Calibration.from_json(stored.data) == fitted
    assert stored.fitted_on == fitted.fitted_on == "240 labeled pictures of 36 classes of a gallery, and of strangers"
    assert judged_by(client, taught, query, fitted)
    cleared = run(client, taught, "--clear")
    assert (cleared.exit_code, "the model's calibration" in cleared.stdout) == (0, True)
    assert client.get_gallery(taught).calibration is None
    assert judged_by(client, taught, query, model)


@pytest.mark.slow
@pytest.mark.process
def test_a_dry_run_stores_nothing_reports_the_same_and_needs_no_keras(
    client: Client, taught: str, labeled: Path, tmp_path: Path
) -> None:
    revision = client.get_gallery(taught).revision
    found = calibrate(client, taught, labeled, "--dry-run", "--seed", "1")
    assert found["stored"] is False
    page = tmp_path / "page.html"
    asked = (taught, labeled, "--dry-run", "--seed", "1", "--html", page, "--address", client.address)
    told = exemplar_without_keras("calibrate", *asked)
    assert told.returncode == 0, told.stderr
    assert client.get_gallery(taught).revision == revision
    for when in ("before", "after"):
        assert f"{found[when]['realized'][1]:.1%}" in told.stdout
        assert f"{found[when]['accepted'][1]:.1%}" in page.read_text()
    assert "Nothing was stored." in told.stdout
    assert "Alphabet04-character04" in told.stderr
    assert "Alphabet05-character00 and 7 more" in told.stderr
    assert page.read_text().count("data:image/png;base64,") == 3
    assert "http" not in page.read_text()


def drawn_over(picture: Path, to: Path) -> None:
    """Write a drawing with the same thick frame and bars over it, as no exemplar has."""
    with Image.open(picture) as drawing:
        pixels = np.array(drawing.convert("L"))
    pixels[:25], pixels[-25:], pixels[:, 40:65] = 0, 0, 0
    Image.fromarray(pixels).save(to)


@pytest.mark.slow
def test_pictures_of_another_kind_are_told_of_and_what_can_be_set_is_set(
    client: Client, taught: str, labeled: Path, tmp_path: Path
) -> None:
    for each in list(client.classes(taught))[20:]:
        client.delete_class(taught, each.id)
    for name in [each.id for each in client.classes(taught)]:
        (tmp_path / name).mkdir()
        for picture in (labeled / name).iterdir():
            drawn_over(picture, tmp_path / name / picture.name)
    shift = embed_labeled_images(client, taught, tmp_path, seed=0).gallery.shift
    assert embed_labeled_images(client, taught, labeled, seed=0).gallery.shift < OTHER_KIND <= shift
    done = run(client, taught, tmp_path)
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "another kind of picture than the exemplars" in told
    assert f"shift {shift:.2f}" in told
    assert "of them where 5% of strangers may be" in told
    assert "enroll 3 to 5 pictures of each class" in told
    assert client.get_gallery(taught).calibration is not None


def test_pictures_that_are_exemplars_or_came_before_are_no_queries(
    client: Client, taught: str, labeled: Path, first_pictures: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(labeled, tmp_path, dirs_exist_ok=True)
    for name, picture in list(first_pictures.items())[:ENROLLED]:
        shutil.copy(picture, tmp_path / name)
    shutil.copytree(tmp_path / "Alphabet00-character01", tmp_path / "Alphabet00-character01" / "copies")
    without, found = (embed_labeled_images(client, taught, root, seed=0) for root in (labeled, tmp_path))
    assert (without.left_out, found.left_out) == (0, ENROLLED + 6)
    assert found.strangers == ("Alphabet00-character01:copies", *without.strangers)
    assert found.gallery.labels.tolist() == without.gallery.labels.tolist()
    np.testing.assert_allclose(found.gallery.queries, without.gallery.queries, atol=1e-6)


def test_a_class_is_where_the_server_has_it_however_many_exemplars_it_has(
    client: Client, taught: str, labeled: Path
) -> None:
    client.update_gallery(taught, max_exemplars_per_class=4)
    names = [each.id for each in client.classes(taught)]
    for name in names[::2]:
        client.add_exemplars(taught, name, sorted((labeled / name).iterdir())[:2])
    found = embed_labeled_images(client, taught, labeled, seed=0)
    assert found.left_out == len(names[::2]) * 2
    assert (found.gallery.labels == NO_CLASS).sum() == 60
    for name in names[:6]:
        query = sorted((labeled / name).iterdir())[3]
        embedding = np.array(client.embed(query).values, np.float32)
        assert (found.gallery.queries == embedding).all(axis=1).any()
        for match in client.classify(taught, query, top_k=3).matches:
            held = found.gallery.classes[names.index(match.class_id)]
            assert match.distance == pytest.approx(float(np.linalg.norm(held - embedding)), abs=1e-5)


def test_of_a_very_large_gallery_those_with_pictures_are_taken_and_no_class_becomes_a_stranger(
    client: Client, taught: str, labeled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [each.id for each in client.classes(taught)]
    for name in [*names[-24:], "Alphabet05-character07"]:
        shutil.copytree(labeled / name, tmp_path / name)
    for most, asked in ((30, 24), (22, 22)):
        monkeypatch.setattr("exemplar_trainer.calibration.labeled_images.MAX_CLASSES", most)
        found = embed_labeled_images(client, taught, tmp_path, seed=0)
        assert (len(found.gallery.classes), len(found.gallery.asked)) == (most, asked)
        assert (found.gallery.labels == NO_CLASS).sum() == 5
        assert found.strangers == ("Alphabet05-character07",)


def test_a_picture_that_cannot_be_read_is_named_and_costs_only_itself(
    client: Client, taught: str, labeled: Path, tmp_path: Path
) -> None:
    shutil.copytree(labeled, tmp_path, dirs_exist_ok=True)
    (tmp_path / "Alphabet00-character00" / "bad.png").write_bytes(b"no image at all")
    found = embed_labeled_images(client, taught, tmp_path, seed=0)
    assert (found.gallery.labels != NO_CLASS).sum() == ENROLLED * 5
    (skipped,) = found.skipped
    assert skipped.startswith(str(tmp_path / "Alphabet00-character00" / "bad.png"))


def test_too_little_to_promise_anything_is_refused_saying_how_much_it_takes(
    client: Client, taught: str, labeled: Path, tmp_path: Path
) -> None:
    revision = client.get_gallery(taught).revision
    names = sorted(folder.name for folder in labeled.iterdir())

    def refused(classes: int, strangers: int) -> str:
        root = tmp_path / f"{classes}-{strangers}"
        for name in [*names[:classes], *names[ENROLLED : ENROLLED + strangers]]:
            shutil.copytree(labeled / name, root / name)
        done = run(client, taught, root)
        assert done.exit_code == 1
        return " ".join(done.stderr.split())

    assert "holds 95 usable queries of 19 enrolled classes" in refused(19, 12)
    assert "it takes 100 of 8 classes or more" in refused(1, 0)
    assert "no folder in" in refused(0, 3)
    assert client.get_gallery(taught).revision == revision


def test_a_folder_that_is_none_or_holds_no_pictures_is_named(client: Client, taught: str, tmp_path: Path) -> None:
    for root in (tmp_path / "gone", tmp_path):
        done = run(client, taught, root)
        assert (done.exit_code, str(root) in done.stderr) == (1, True)


def test_wrong_usage_is_exit_code_2(client: Client, taught: str, labeled: Path) -> None:
    for arguments in ([taught], [taught, labeled, "--clear"], [taught, "--clear", "--dry-run"]):
        assert run(client, *arguments).exit_code == 2


def test_a_gallery_that_is_not_there_is_the_server_s_refusal(client: Client, labeled: Path) -> None:
    assert isinstance(run(client, "nowhere", labeled).exception, exemplar.NotFoundError)
    assert isinstance(run(client, "nowhere", "--clear").exception, exemplar.NotFoundError)


@pytest.mark.process
def test_a_gallery_of_another_model_is_refused_naming_both(
    tiny_bundle: Path, other_bundle: Path, labeled: Path, first_pictures: dict[str, Path], tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as running, Client(running.address) as client:
        client.create_gallery("g")
        client.enroll_many("g", [Enrollment(*each) for each in list(first_pictures.items())[:9]])
        made_with = client.get_gallery("g").model
        running.stop()
    with ServerProcess(other_bundle, tmp_path) as running, Client(running.address) as client:
        done = run(client, "g", labeled)
        assert done.exit_code == 1
        (model,) = client.models()
        told = "".join(done.stderr.split())
        assert made_with in told
        assert model.id in told
