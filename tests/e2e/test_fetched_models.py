"""What `exemplar models fetch` leaves in a folder, `exemplar export --model` reads as its home says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from exemplar.commands.fetch import fetch_model
from exemplar.published_models import PUBLISHED
from exemplar_trainer.bundles.model_folder import open_model_folder
from tests.client.file_server import file_server
from tests.trainer.tiny_onnx import HUGGING_FACE, Form, tiny_onnx

CLIP: Mapping[str, Form] = {"image_embeds": "vector"}


@pytest.mark.parametrize(
    ("name", "fit", "resize", "mean"),
    [
        ("dinov2-small", "crop", 256, 0.485),
        ("dinov2-base", "crop", 256, 0.485),
        ("clip-vit-b32", "crop", 224, 0.48145466),
        ("siglip-base", "squash", None, 0.5),
    ],
)
def test_a_fetched_folder_is_read_with_the_preprocessing_of_its_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fit: str, resize: int | None, mean: float
) -> None:
    content = tiny_onnx(CLIP if "clip" in name else HUGGING_FACE, size=(224, 224)).SerializeToString()
    model = replace(PUBLISHED[name], size=len(content), sha256=hashlib.sha256(content).hexdigest())
    with file_server(content) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        fetch_model(model, tmp_path / name, quiet=True)
    source = open_model_folder(tmp_path / name)
    spec = source.preprocessing
    assert source.kind == "Hugging Face"
    assert source.file == tmp_path / name / "model.onnx"
    assert (spec.width, spec.height, spec.channels) == (224, 224, 3)
    assert (spec.fit, spec.resample) == (fit, "bicubic")
    assert resize is None or spec.resize == resize
    assert source.mean[0] == pytest.approx(mean)
    assert source.scale == pytest.approx(1 / 255)
    assert not source.notes
