"""What is wrong with a command's words is said before Keras, TensorFlow or SciPy are loaded, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo.server_process import clean_environment

pytestmark = pytest.mark.process

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "tiny"

# Calls the command for each list of words, and prints how it ended, what it said, and what heavy things are loaded.
_CODE = """
import io, json, sys
from contextlib import redirect_stderr
from exemplar.cli import main

found = []
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    code = 0
    with redirect_stderr(io.StringIO()) as errors:
        try:
            main()
        except SystemExit as end:
            code = end.code
    heavy = sorted({"keras", "tensorflow", "jax", "torch", "scipy", "matplotlib"} & sys.modules.keys())
    found.append([code, errors.getvalue(), heavy])
print(json.dumps(found))
"""

CASES = (
    (("train",), 2, "name a folder or zip of images, or --resume a run"),
    (("train", ".", "--loss", "softmax"), 2, "there is no loss 'softmax'; there are nca,"),
    (("train", ".", "--backbone", "vgg"), 2, "there is no backbone 'vgg'; there are mobilenetv3-small,"),
    (("train", ".", "--backbone", "mobilenetv3-small", "--size", "16"), 2, "32 pixels or more a side, not 16x16"),
    (("train", "none"), 1, "none: there is no such folder or zip file"),
    (("train", ".", "--backbone", "none.keras"), 1, "none.keras with a backbone"),
    (("train", ".", "--teacher", "none"), 1, "none is not a bundle"),
    (("train", "--resume", "--run", "none"), 1, "none holds no run"),
    (("evaluate", "episodes", "none", "-b", str(BUNDLE)), 1, "none: there is no such folder or zip file"),
    (("evaluate", "pairs", ".", ".", "-b", "none"), 1, "none is not a bundle"),
    (("evaluate", "calibration", "none", "-b", str(BUNDLE)), 1, "none: there is no such folder or zip file"),
    (("evaluate", "openset", ".", "-b", "none", "--group", "a", "--held-out"), 2, "--held-out names the groups"),
    (("calibrate", "stamps", "none"), 1, "none is no folder"),
    (("calibrate", "stamps"), 2, "name a folder of labeled pictures, or give --clear"),
)


def test_wrong_words_are_refused_in_a_sentence_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CODE, json.dumps([words for words, *_ in CASES])],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment(COLUMNS="120"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for (words, code, told), (ended, said, heavy) in zip(CASES, json.loads(done.stdout), strict=True):
        assert told in said, words
        assert ended == code, words
        assert heavy == [], words
    assert not list(tmp_path.iterdir())
