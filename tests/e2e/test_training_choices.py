"""`exemplar train` beyond black on white: color, wide inputs, groups from a file, backbones, and a final run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from exemplar_encoder import Bundle, load_encoder
from exemplar_encoder.bundle import REPORT
from exemplar_trainer.cli.evaluate import app as evaluation
from exemplar_trainer.cli.train import app
from tests.trainer.backbones import settled_backbone

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


def train(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(argument) for argument in arguments])


def trained(*arguments: str | Path) -> Bundle:
    done = train(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return Bundle.load(json.loads(done.stdout)["bundle"])


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve classes of three stripes each, in four designs, wide; `classes.csv` puts them in two groups."""
    root = tmp_path_factory.mktemp("flags")
    rng = np.random.default_rng(0)
    rows = ["class,group"]
    for index in range(12):
        name = f"flag{index:02d}"
        rows.append(f"{name},{'bright' if index % 2 else 'dark'}")
        stripes = rng.integers(0, 256, (1, 3, 3))
        (root / name).mkdir()
        for design in ("plain", "soft", "noisy", "small"):
            pixels = np.kron(stripes, np.ones((40, 20, 1))) + rng.normal(0, 8, (40, 60, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{design}.png")
    (root / "classes.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def measured(flags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run in color, with every third class held out."""
    run = tmp_path_factory.mktemp("measured") / "run"
    options = ("--color", "--size", "48x32", "--steps", "5", "--hold-out-classes", "--hold-out-every", "3")
    trained(flags, "--run", run, *options)
    return run


def test_color_and_a_wide_input_end_up_in_the_bundle(measured: Path, flags: Path) -> None:
    bundle = Bundle.load(measured / "bundle")
    assert bundle.manifest.recipe == "color"
    assert bundle.manifest.preprocessing.shape == (32, 48, 3)
    assert bundle.manifest.preprocessing.framing == "whole"
    encoder = load_encoder(bundle.path, threads=1)
    image = (flags / "flag01" / "plain.png").read_bytes()
    assert encoder.embed(encoder.prepare(image).pixels[None]).shape == (1, 128)


def test_single_classes_can_be_held_out_though_there_are_groups(measured: Path) -> None:
    held_out = Bundle.load(measured / "bundle").manifest.training["held_out"]
    assert held_out == ["flag00", "flag03", "flag06", "flag09"]


def test_what_was_held_out_by_class_can_be_asked_about_again(measured: Path, flags: Path) -> None:
    bundle = str(measured / "bundle")
    words = ["episodes", str(flags), "-b", bundle, "--held-out", "--way", "4", "--number", "5", "--json"]
    done = CliRunner().invoke(evaluation, words)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)


# Small images first


def test_smaller_images_in_the_first_half_of_the_steps_end_up_in_a_bundle_of_the_whole_size(
    flags: Path, tmp_path: Path
) -> None:
    bundle = trained(
        *(flags, "--run", tmp_path / "run", "--color", "--size", "48x32", "--early-size", "24", "--steps", "7"),
        *("--hold-out-classes", "--hold-out-every", "3"),
    )
    assert bundle.manifest.preprocessing.shape == (32, 48, 3)
    assert bundle.manifest.training["recipe"]["early_size"] == 24
    assert "48 x 32 x 3, the first 3 steps at 24 x 16" in (bundle.path / REPORT).read_text()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--early-size", "64"), 2, "--early-size must be less than the input's 64 pixels, not 64"),
        (("--early-size", "32", "--start-from", "another"), 2, "not with --start-from"),
        (("--early-size", "30", "--recipe", "seed"), 1, "multiples of 20, not 30x30"),
    ],
)
def test_a_smaller_size_that_will_not_do_is_refused_before_anything_is_written(
    flags: Path, tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    done = train(flags, "--run", tmp_path / "run", *options)
    assert done.exit_code == code
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


# A final run


@pytest.fixture(scope="module")
def final(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return trained("--final-of", measured, "--run", tmp_path_factory.mktemp("final") / "run", "--name", "all")


def test_a_final_run_trains_on_all_classes_and_keeps_the_measured_figures(measured: Path, final: Bundle) -> None:
    before = Bundle.load(measured / "bundle")
    assert final.manifest.training["training_classes"] == 12
    assert before.manifest.training["training_classes"] == 8
    assert final.figures == before.figures
    assert final.calibration == before.calibration
    assert final.manifest.name == "all"
    ours, theirs = final.golden()[1], before.golden()[1]
    assert np.abs(ours - theirs).max() > 1e-3  # another network


def test_a_final_bundle_says_that_nothing_was_held_out_from_it(final: Bundle, flags: Path) -> None:
    assert final.manifest.training["held_out"] == []
    assert final.manifest.training["measured_without"] == ["flag00", "flag03", "flag06", "flag09"]
    assert "was then trained on all classes, these too" in (final.path / REPORT).read_text()
    done = CliRunner().invoke(evaluation, ["episodes", str(flags), "-b", str(final.path), "--held-out"])
    assert done.exit_code == 1
    assert "Name the one that it was measured by, whose training held out flag00, flag03" in " ".join(
        done.stderr.split()
    )


def test_a_final_run_needs_a_finished_one_that_held_something_out(
    measured: Path, final: Bundle, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for folder, words in (
        (tmp_path / "nothing", "holds no run: run.json is missing"),
        (final.path.parent, "was itself trained on all classes"),
    ):
        done = train("--final-of", folder, "--run", run)
        assert done.exit_code == 1
        assert words in done.stderr
    done = train("--final-of", measured, "--run", run, "--steps", "9")
    assert done.exit_code == 2
    assert "leave out --steps" in " ".join(done.stderr.replace("│", " ").split())
    assert not run.exists()


def test_a_final_run_is_refused_where_the_data_have_changed(measured: Path, flags: Path, tmp_path: Path) -> None:
    changed, run = tmp_path / "flags", tmp_path / "measured"
    shutil.copytree(flags, changed)
    shutil.copytree(measured, run)
    fields = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**fields, "data": str(changed)}))
    shutil.copytree(changed / "flag00", changed / "an_earlier_flag")
    done = train("--final-of", run, "--run", tmp_path / "final")
    assert done.exit_code == 1
    assert "it would hold out other classes; measure the recipe anew first" in " ".join(done.stderr.split())
    assert not (tmp_path / "final").exists()


# Teachers


def test_a_run_learns_from_finished_ones_and_says_from_which(
    measured: Path, final: Bundle, flags: Path, tmp_path: Path
) -> None:
    options = ("--color", "--size", "48x32", "--steps", "3", "--hold-out-classes", "--hold-out-every", "3")
    taught = trained(flags, "--run", tmp_path / "taught", *options, "--teacher", measured / "bundle")
    teacher = Bundle.load(measured / "bundle")
    assert taught.manifest.training["teachers"] == [{"name": teacher.manifest.name, "id": teacher.id}]
    assert str(tmp_path) not in taught.manifest.to_json()
    assert "taught by" in (taught.path / REPORT).read_text()
    # A final run measures nothing, so it may learn from a network that has seen everything; else from the same one.
    again = trained("--final-of", tmp_path / "taught", "--run", tmp_path / "again")
    other = trained("--final-of", tmp_path / "taught", "--run", tmp_path / "other", "--teacher", final.path)
    assert again.manifest.training["teachers"] == taught.manifest.training["teachers"]
    assert other.manifest.training["teachers"] == [{"name": "all", "id": final.id}]


def test_a_teacher_that_has_seen_what_is_held_out_is_refused(final: Bundle, flags: Path, tmp_path: Path) -> None:
    done = train(flags, "--run", tmp_path / "run", "--color", "--size", "48x32", "--teacher", final.path)
    assert done.exit_code == 1
    assert "was not trained with bright held out" in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_no_bundle_is_refused(flags: Path, tmp_path: Path) -> None:
    done = train(flags, "--run", tmp_path / "run", "--color", "--size", "32", "--teacher", tmp_path / "nobody")
    assert done.exit_code == 1
    assert "is not a bundle: there is no such folder" in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()


# Groups from a file


def test_a_file_of_groups_that_names_no_class_is_refused(flags: Path, tmp_path: Path) -> None:
    data = tmp_path / "flags"
    shutil.copytree(flags, data)
    (data / "classes.csv").write_text("class,group\nflags/flag00,dark\n")
    done = train(data, "--run", tmp_path / "run", "--color", "--size", "32")
    assert done.exit_code == 1
    assert "classes.csv names none of the classes; it has flags/flag00" in " ".join(done.stderr.split())


def test_groups_from_a_file_are_held_out_whole_unless_classes_are_asked_for(flags: Path, tmp_path: Path) -> None:
    bundle = trained(flags, "--run", tmp_path / "run", "--color", "--size", "32", "--steps", "1")
    assert bundle.manifest.training["held_out"] == ["bright"]


# Backbones


def test_a_backbone_is_trained_from_a_weights_file(flags: Path, tmp_path: Path) -> None:
    weights = tmp_path / "small.weights.h5"
    settled_backbone("mobilenetv3-small").save_weights(weights)
    options = ("--backbone", "mobilenetv3-small", "--weights", weights, "--frozen", "--size", "32", "--steps", "2")
    bundle = trained(flags, "--run", tmp_path / "run", *options)
    assert bundle.manifest.recipe == "photo"
    assert bundle.manifest.training["recipe"]["network"] == "mobilenetv3-small"
    assert keras.saving.load_model(bundle.path / "base_network.keras").output_shape == (None, 256)
    assert "small.weights.h5" in (bundle.path / REPORT).read_text()


def test_a_missing_weights_file_is_one_sentence(flags: Path, tmp_path: Path) -> None:
    done = train(
        *(flags, "--run", tmp_path / "run", "--size", "32", "--steps", "2"),
        *("--backbone", "mobilenetv3-small", "--weights", tmp_path / "no.weights.h5"),
    )
    assert done.exit_code == 1
    assert "Error: there is no weights file" in done.stderr
    assert not (tmp_path / "run").exists()
