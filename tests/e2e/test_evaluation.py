"""`exemplar evaluate` against an oracle that reads the files itself and compares plain floats one by one."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import Encoder, load_encoder, preprocess
from exemplar_trainer.evaluation.episodes import Protocol
from exemplar_trainer.evaluation.folder_pairs import folder_pairs
from exemplar_trainer.evaluation.tasks import NO_CLASS, Questions
from exemplar_trainer.evaluation.tree import episode_questions, open_set_questions, read_tree
from tests.e2e.evaluate import call, evaluate, retold


class Oracle:
    """Names a picture by loops over files and floats."""

    def __init__(self, bundle: Path) -> None:
        self.encoder: Encoder = load_encoder(bundle)
        self._seen: dict[Path, list[float]] = {}

    def embedding(self, path: Path) -> list[float]:
        if path not in self._seen:
            pixels = preprocess(Image.open(path).convert("L"), self.encoder.bundle.manifest.preprocessing)
            self._seen[path] = self.encoder.embed(pixels[None])[0].tolist()
        return self._seen[path]

    def mean(self, shown: list[Path]) -> list[float]:
        mean = [sum(column) / len(shown) for column in zip(*map(self.embedding, shown), strict=True)]
        length = math.hypot(*mean)
        return [value / length for value in mean]

    def nearest(self, query: Path, classes: dict[str, list[Path]]) -> tuple[str, float]:
        best = ("", math.inf)
        for name, shown in classes.items():
            distance = math.dist(self.embedding(query), self.mean(shown))
            best = min(best, (name, distance), key=lambda each: each[1])
        return best


@pytest.fixture(scope="module")
def oracle(tiny_bundle: Path) -> Oracle:
    return Oracle(tiny_bundle)


def answers(oracle: Oracle, root: Path, questions: Questions) -> list[list[tuple[bool, bool, float]]]:
    """Return for each task and query whether its class is there, whether it was named rightly, and the distance."""
    found = []
    for task in questions.tasks:
        classes = {questions.classes[row[0]]: [root / questions.names[at] for at in row] for row in task.exemplars}
        rows = []
        for query, truth in zip(task.queries, task.truth, strict=True):
            name, distance = oracle.nearest(root / questions.names[query], classes)
            right = truth != NO_CLASS and name == questions.classes[task.exemplars[truth][0]]
            rows.append((bool(truth != NO_CLASS), bool(right), distance))
        found.append(rows)
    return found


@pytest.mark.parametrize("within", [False, True])
def test_episodes_are_what_loops_over_the_files_find(
    oracle: Oracle, tiny_bundle: Path, drawn_alphabets: Path, within: bool
) -> None:
    options = ["--way", "5", "--shot", "1", "--shot", "3", "--number", "12", "--seed", "4"]
    options += ["--within-group"] if within else []
    found = evaluate("episodes", drawn_alphabets, "-b", tiny_bundle, *options)
    spec = oracle.encoder.bundle.manifest.preprocessing
    images = read_tree(drawn_alphabets, spec, ())
    for result, shots in zip(found, (1, 3), strict=True):
        questions = episode_questions(images, Protocol(5, shots, within), 12, 4)
        shares = [
            sum(right for _, right, _ in rows) / len(rows) for rows in answers(oracle, drawn_alphabets, questions)
        ]
        assert result["accuracy"]["value"] == pytest.approx(sum(shares) / 12)
        # Student's t with 11 degrees of freedom.
        half = 2.201 * float(np.std(shares, ddof=1)) / math.sqrt(12)
        value, low = result["accuracy"]["value"], result["accuracy"]["low"]
        if half == 0:  # every task alike, so by Wilson over 60 queries: 1.96 deviations away
            half = 1.959964 * math.sqrt(low * (1 - low) / 60)
        assert low == pytest.approx(max(0, value - half), rel=2e-3)
        assert result["accuracy"]["queries"] == 60
        assert bool(result["by_group"]) == within
        if within:
            tasks = sum(share["tasks"] for share in result["by_group"].values())
            total = sum(share["value"] * share["tasks"] for share in result["by_group"].values())
            assert (tasks, total / tasks) == (12, pytest.approx(result["accuracy"]["value"]))
        wrong = round((1 - result["accuracy"]["value"]) * 60)
        assert sum(pair["count"] for pair in result["hardest"]) == wrong


def test_the_same_seed_asks_the_same(tiny_bundle: Path, drawn_alphabets: Path) -> None:
    asked = ("episodes", drawn_alphabets, "-b", tiny_bundle, "--way", "5", "--shot", "1", "--number", "10")
    assert evaluate(*asked, "--seed", "1") == evaluate(*asked, "--seed", "1")


@pytest.fixture
def published(tmp_path: Path, drawn_alphabets: Path) -> Path:
    """Write two runs in the published layout, with the lines in an order that is not that of the files."""
    for number, alphabet in enumerate(("Alphabet01", "Alphabet04"), 1):
        run = tmp_path / f"run{number:02d}"
        for folder in ("training", "test"):
            (run / folder).mkdir(parents=True)
        lines = []
        for index, character in enumerate(sorted((drawn_alphabets / alphabet).iterdir())):
            drawings = sorted(character.iterdir())
            trained, tested = f"training/class{index:02d}.png", f"test/item{(index * 3) % 8:02d}.png"
            shutil.copy(drawings[number], run / trained)
            shutil.copy(drawings[0], run / tested)
            lines.append(f"{run.name}/{tested} {run.name}/{trained}")
        (run / "class_labels.txt").write_text("\n".join(sorted(lines)) + "\n")
    return tmp_path


def test_the_published_runs_are_what_loops_over_the_files_find(
    oracle: Oracle, tiny_bundle: Path, published: Path
) -> None:
    (found,) = evaluate("runs", published, "-b", tiny_bundle)
    shares = {}
    for run in ("run01", "run02"):
        lines = [line.split() for line in (published / run / "class_labels.txt").read_text().splitlines()]
        classes = {trained: [published / trained] for _, trained in lines}
        right = [oracle.nearest(published / tested, classes)[0] == trained for tested, trained in lines]
        shares[run] = sum(right) / len(right)
    assert found["protocol"] == "2 runs"
    assert {run: share["value"] for run, share in found["by_group"].items()} == pytest.approx(shares)
    assert found["accuracy"]["value"] == pytest.approx(sum(shares.values()) / 2)
    assert found["accuracy"]["queries"] == 16
    # Student's t with one degree of freedom, and Wilson's interval over a run's own queries.
    half = 12.706 * float(np.std(list(shares.values()), ddof=1)) / math.sqrt(2)
    low, high = max(0, found["accuracy"]["value"] - half), min(1, found["accuracy"]["value"] + half)
    if half > 0:
        assert (found["accuracy"]["low"], found["accuracy"]["high"]) == pytest.approx((low, high), abs=1e-4)
    assert all(share["low"] < share["high"] for share in found["by_group"].values())


@pytest.mark.parametrize("way", [0, 4])
def test_pairs_of_two_folders_are_what_loops_over_the_files_find(
    oracle: Oracle, tiny_bundle: Path, drawn_alphabets: Path, tmp_path: Path, way: int
) -> None:
    shown, asked = tmp_path / "catalog", tmp_path / "photos"
    shown.mkdir()
    for character in sorted((drawn_alphabets / "Alphabet02").iterdir()):
        drawings = sorted(character.iterdir())
        shutil.copy(drawings[0], shown / f"{character.name}.png")
        (asked / character.name).mkdir(parents=True)
        for drawing in drawings[1:3]:
            shutil.copy(drawing, asked / character.name)
    (found,) = evaluate("pairs", shown, asked, "-b", tiny_bundle, "--way", str(way), "--number", "9")
    if way == 0:
        classes = {path.stem: [path] for path in shown.iterdir()}
        right = [oracle.nearest(path, classes)[0] == path.parent.name for path in asked.rglob("*.png")]
        assert found["accuracy"]["value"] == pytest.approx(sum(right) / 16)
        for end in (found["accuracy"]["low"], found["accuracy"]["high"]):  # Wilson: 1.96 deviations away
            away = abs(found["accuracy"]["value"] - end)
            assert away == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 16), abs=1e-6)
        return
    questions = folder_pairs(shown, asked, oracle.encoder, way, 9, 0)
    rows = [row for task in answers(oracle, Path(), questions) for row in task]
    assert len(rows) == 36
    assert found["accuracy"]["value"] == pytest.approx(sum(right for _, right, _ in rows) / 36)


@pytest.mark.parametrize("shots", [1, 3])
def test_open_sets_are_what_loops_over_the_files_find(
    oracle: Oracle, tiny_bundle: Path, drawn_alphabets: Path, shots: int
) -> None:
    options = ("--number", "10", "--shot", str(shots))
    (found,) = evaluate("openset", drawn_alphabets, "-b", tiny_bundle, "--way", "6", *options)
    spec = oracle.encoder.bundle.manifest.preprocessing
    images = read_tree(drawn_alphabets, spec, ())
    questions = open_set_questions(images, Protocol(6, shots), 10, 0)
    assert all(task.exemplars.shape == (6, shots) for task in questions.tasks)
    rows = [row for task in answers(oracle, drawn_alphabets, questions) for row in task]
    known = [(right, distance) for there, right, distance in rows if there]
    unknown = [distance for there, _, distance in rows if not there]
    assert (len(known), len(unknown)) == (found["open_set"]["known"], found["open_set"]["unknown"]) == (60, 60)
    pairs = [(k < u) + 0.5 * (k == u) for _, k in known for u in unknown]
    assert found["open_set"]["auroc"] == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    # The area under "known, named rightly and accepted" by "unknown accepted" is a mean over the unknown queries.
    steps = [sum(right * ((k < u) + 0.5 * (k == u)) for right, k in known) / len(known) for u in unknown]
    assert found["open_set"]["oscr"] == pytest.approx(sum(steps) / len(steps), abs=1e-6)
    needed = sorted(k for _, k in known)[math.ceil(0.95 * len(known)) - 1]
    assert found["open_set"]["false_positives"] == pytest.approx(sum(u <= needed for u in unknown) / len(unknown))
    calibration = oracle.encoder.bundle.calibration
    # Distances in single and in double precision may fall on either side of a threshold that they all but meet.
    surely, perhaps = ([[False] * 120 for _ in found["open_set"]["asked"]] for _ in range(2))
    for index, (task, answered) in enumerate(
        zip(questions.tasks, answers(oracle, drawn_alphabets, questions), strict=True)
    ):
        shown = [oracle.mean([drawn_alphabets / questions.names[at] for at in row]) for row in task.exemplars]
        gaps = sorted(min(math.dist(a, b) for b in shown if b is not a) for a in shown)
        spacing = calibration.spacing(6, np.array(gaps, np.float32))
        for position, asked in enumerate(found["open_set"]["asked"]):
            threshold = calibration.threshold(asked, 6, spacing)
            for row, (_, _, distance) in enumerate(answered):
                surely[position][12 * index + row] = distance <= threshold - 1e-5
                perhaps[position][12 * index + row] = distance <= threshold + 1e-5
    for position in range(len(surely)):
        for figure, of_known in (("realized", False), ("accepted", True)):
            least, most = (
                sum(a for (there, _, _), a in zip(rows, each[position], strict=True) if there == of_known)
                for each in (surely, perhaps)
            )
            assert least <= round(60 * found["open_set"][figure][position]) <= most <= least + 1
        interval = found["open_set"]["intervals"]["realized"][position]
        if interval is not None:
            assert interval[0] <= found["open_set"]["realized"][position] <= interval[1]


def test_an_open_set_within_groups_enrolls_half_of_a_small_group(tiny_bundle: Path, drawn_alphabets: Path) -> None:
    (found,) = evaluate("openset", drawn_alphabets, "-b", tiny_bundle, "--within-group", "--number", "10")
    assert found["protocol"] == "open set, within-group 4-way 1-shot"
    assert (found["open_set"]["known"], found["open_set"]["unknown"]) == (40, 40)


@pytest.mark.slow
def test_a_calibration_is_judged_in_galleries_of_every_kind(
    tiny_bundle: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    folder = retold(tiny_bundle, tmp_path / "bundle", held_out=[f"Alphabet{index:02d}" for index in range(4)])
    arguments = ("calibration", drawn_alphabets, "-b", folder, "--gallery-size", "4", "--gallery-size", "40")
    found = evaluate(*arguments, "--number", "3")
    kinds = [(check["gallery_size"], check["one_group"], check["one_source"]) for check in found]
    small = [(4, True, False), (4, True, True), (4, False, False), (4, False, True)]
    assert kinds == [*small, (40, False, False), (40, False, True)]
    assert [check["strangers"] for check in found] == [4 * 3 * 4] * 6
    assert [check["trained_share"] for check in found] == pytest.approx([0, 0, 0, 0, 12 / 40, 12 / 40])


def test_several_bundles_answer_the_same_questions_and_a_page_shows_them(
    tiny_bundle: Path, other_bundle: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = call(
        *("episodes", drawn_alphabets, "-b", tiny_bundle, "-b", other_bundle),
        *("--way", "8", "--number", "20", "--within-group", "--held-out", "--html", page),
    )
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("within-group 8-way") >= 2
    text = page.read_text()
    assert text.count("Alphabet00") >= 2
    assert "Alphabet01" not in text  # trained on, and so not held out
    assert "taken for" in text
    assert "http" not in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["episodes", "{data}", "--way", "99"], "need 99 classes; here are 48"),
        (["episodes", "{data}", "--group", "Klingon"], "has no group Klingon; it has Alphabet00"),
        (["episodes", "{data}/nowhere"], "there is no such folder or zip file"),
        (["runs", "{data}"], "holds no runs; expected"),
        (["calibration", "{data}"], "takes 3 held-out groups of 4 classes or more; here are 2"),
        (["pairs", "{data}/Alphabet00", "{data}"], "no exemplar in"),
        (["pairs", "{data}/nowhere", "{data}"], "there is no such folder or zip file"),
        (["pairs", "{data}", "{data}", "--way", "500"], "500-way tasks need 500"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    arguments: list[str], sentence: str, tiny_bundle: Path, drawn_alphabets: Path
) -> None:
    done = call(*(each.replace("{data}", str(drawn_alphabets)) for each in arguments), "-b", tiny_bundle)
    assert done.exit_code == 1
    assert sentence in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_a_bundle_that_is_none_is_a_sentence(drawn_alphabets: Path) -> None:
    done = call("episodes", drawn_alphabets, "-b", drawn_alphabets)
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("run01/test/item00.png", "class_labels.txt:1: expected 'test-path training-path'"),
        ("run01/test/item00.png run01/training/absent.png", "absent.png cannot be read"),
        ("", "is empty"),
    ],
)
def test_a_run_that_is_not_as_published_is_a_sentence(
    published: Path, tiny_bundle: Path, labels: str, sentence: str
) -> None:
    (published / "run01" / "class_labels.txt").write_text(labels)
    done = call("runs", published, "-b", tiny_bundle)
    assert done.exit_code == 1
    assert sentence in done.stderr.replace("\n", "")
