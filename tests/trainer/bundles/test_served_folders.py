"""Models from folders, served: what their networks are given, and answer, is what their own library gives them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from typer.testing import CliRunner

from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as classification
from exemplar_encoder import EncodedImage, Manifest, decode, load_encoder
from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Floats
from exemplar_encoder.preprocess import preprocess
from exemplar_trainer.bundles.model_folder import ModelSource, open_model_folder
from exemplar_trainer.bundles.onnx_model import open_source
from exemplar_trainer.cli.export import app
from tests.e2e.stubs import Stubs, image
from tests.trainer.bundles.library_pictures import open_clip_pictures, timm_pictures, transformers_pictures
from tests.trainer.flags import draw_flags
from tests.trainer.tiny_onnx import HUGGING_FACE as HUGGING_FACE_OUTPUTS
from tests.trainer.tiny_onnx import tiny_onnx, write_onnx

SIZES = [(45, 32), (33, 47), (64, 64), (20, 31), (40, 40), (300, 41), (61, 90), (36, 75)]
MEAN, STD = [0.48, 0.45, 0.4], [0.23, 0.26, 0.22]

HUGGING_FACE = {
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "BitImageProcessor",
    "image_mean": MEAN,
    "image_std": STD,
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 37},
    "crop_size": {"height": 32, "width": 32},
}
EFFICIENTNET = HUGGING_FACE | {
    "image_processor_type": "EfficientNetImageProcessor",
    "include_top": False,
    "rescale_factor": 1 / 127.5,
    "rescale_offset": True,
    "size": {"height": 37, "width": 37},
}
MOBILEVIT = {
    "do_center_crop": True,
    "do_flip_channel_order": True,
    "image_processor_type": "MobileViTImageProcessor",
    "resample": 2,
    "size": {"shortest_edge": 37},
    "crop_size": {"height": 32, "width": 32},
}
CONVNEXT = {
    "do_resize": True,
    "image_processor_type": "ConvNextImageProcessor",
    "image_mean": MEAN,
    "image_std": STD,
    "resample": 3,
    "crop_pct": 0.875,
}
OLD = {"feature_extractor_type": "CLIPFeatureExtractor", "image_mean": MEAN, "image_std": STD, "resample": 2}
TIMM = {
    "input_size": [3, 32, 32],
    "crop_pct": 0.9,
    "crop_mode": "center",
    "interpolation": "bicubic",
    "mean": MEAN,
    "std": STD,
}
OPEN_CLIP = {"interpolation": "bicubic", "mean": MEAN, "std": STD, "resize_mode": "shortest"}

# A configuration's file, its values, and what its library makes of a picture.
Layout = tuple[str, dict[str, Any], Callable[[Image.Image], Floats]]


def timm(**changes: Any) -> Layout:
    values = TIMM | changes
    return (
        "config.json",
        {"architecture": "tiny", "pretrained_cfg": values},
        lambda image: timm_pictures(values, image),
    )


def open_clip(size: Any = 32, **changes: Any) -> Layout:
    values = {"model_cfg": {"vision_cfg": {"image_size": size}}, "preprocess_cfg": OPEN_CLIP | changes}
    return "open_clip_config.json", values, lambda image: open_clip_pictures(values, image)


def transformers(values: dict[str, Any], **changes: Any) -> Layout:
    values = values | changes
    return "preprocessor_config.json", values, lambda image: transformers_pictures(values, image)


LAYOUTS = {
    "shorter side and crop": transformers(HUGGING_FACE),
    "squashed": transformers(HUGGING_FACE, do_center_crop=False, size={"height": 32, "width": 40}),
    "squashed and cropped": transformers(HUGGING_FACE, size={"height": 37, "width": 37}),
    "smaller than its crop": transformers(HUGGING_FACE, size={"shortest_edge": 27}),
    "picked pixels, divided twice": transformers(
        EFFICIENTNET, resample=0, rescale_offset=False, rescale_factor=1 / 255, include_top=True
    ),
    "from -1 to 1": transformers(EFFICIENTNET, do_normalize=False),
    "values to 255": transformers(HUGGING_FACE, do_rescale=False, resample=1),
    "blue first": transformers(MOBILEVIT),
    "ConvNeXT": transformers(CONVNEXT, size={"shortest_edge": 32}),
    "ConvNeXT of 384": transformers(CONVNEXT, size={"shortest_edge": 384}),
    "an old CLIP": transformers(OLD, size=32, crop_size=32, do_center_crop=True),
    "an old ViT": transformers(OLD, size=32, feature_extractor_type="ViTFeatureExtractor"),
    "timm": timm(),
    "timm, all of the shorter side": timm(crop_pct=1.0, interpolation="bilinear"),
    "timm, squashed": timm(crop_pct=1.0, crop_mode="squash"),
    "timm, squashed and cropped": timm(crop_mode="squash"),
    "timm, bordered": timm(crop_pct=1.0, crop_mode="border"),
    "open_clip": open_clip(),
    "open_clip, not square": open_clip([24, 40]),
    "open_clip, squashed": open_clip(resize_mode="squash", interpolation="bilinear"),
    "open_clip, bordered": open_clip(resize_mode="longest", fill_color=99),
}


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def make_folder(folder: Path, name: str, values: dict[str, Any], external: bool = False, **network: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values))
    write_onnx(tiny_onnx(**{"size": None, **network}), folder / "model.onnx", external=external)
    return folder


@pytest.mark.parametrize(
    ("name", "values", "expected"), LAYOUTS.values(), ids=[key.replace(" ", "_") for key in LAYOUTS]
)
def test_a_network_is_given_what_its_own_library_gives_it(
    name: str, values: dict[str, Any], expected: Callable[[Image.Image], Floats], tmp_path: Path
) -> None:
    source = open_model_folder(make_folder(tmp_path, name, values))
    for size in SIZES:
        pixels = preprocess(noise(*size), source.preprocessing).astype(np.float64)
        pixels = pixels[..., ::-1] if source.bgr else pixels
        given = np.moveaxis((pixels * source.scale - np.array(source.mean)) / np.array(source.std), -1, 0)
        np.testing.assert_allclose(given, expected(noise(*size)), rtol=1e-5, atol=1e-5)


# One of each library, and the ways in which exporters give their networks.
EXPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "shorter side and crop": ("pooler_output", {"outputs": HUGGING_FACE_OUTPUTS, "batch": 1}),
    "blue first": ("last_hidden_state", {"outputs": {"last_hidden_state": "tokens"}, "size": (32, 32)}),
    "timm": ("output0", {"outputs": {"output0": "map"}, "input_name": "x"}),
    "timm, bordered": ("output", {"outputs": {"output": "vector"}, "size": (32, 32), "batch": 4}),
    "open_clip": ("image_embeds", {"outputs": {"image_embeds": "vector"}, "text": True}),
    "open_clip, not square": ("output0", {"outputs": {"output0": "vector"}, "size": (24, 40)}),
}


def bundle_of(source: ModelSource, like: Path, target: Path) -> Path:
    """Write a bundle of a folder's network, with the calibration of another one: fitting takes seconds."""
    shutil.copytree(like, target, ignore=shutil.ignore_patterns(layout.LITERT, layout.SAVED_MODEL, layout.WEIGHTS))
    manifest, spec = Manifest.from_json((like / layout.MANIFEST).read_bytes()), source.preprocessing
    images = [(target / layout.golden_image(index)).read_bytes() for index in range(layout.GOLDEN_SAMPLES)]
    golden = [preprocess(decode(content, background=spec.background).pixels, spec) for content in images]
    network = open_source(source)
    np.save(target / layout.GOLDEN_EMBEDDINGS, network.write(target, np.stack(golden)))
    layout.seal(target, replace(manifest, name="tiny", preprocessing=spec, dimension=network.dimension))
    return target


def vector(network: Path, output: str, pictures: Floats) -> Floats:
    """Run a folder's network as it is, and return one vector a picture, of unit length."""
    session = onnxruntime.InferenceSession(network)
    taken = session.get_inputs()[0]
    batch = np.repeat(pictures[None], taken.shape[0] if isinstance(taken.shape[0], int) else 1, axis=0)
    words = {each.name: np.ones((1, 3), np.int64) for each in session.get_inputs()[1:]}
    values = session.run([output], {taken.name: batch} | words)[0][0]
    features = values if values.ndim == 1 else values[0] if values.ndim == 2 else values.mean(axis=(1, 2))
    return np.asarray(features / np.linalg.norm(features))


@pytest.mark.parametrize("case", EXPORTED, ids=lambda case: case.replace(" ", "_"))
def test_a_bundle_of_a_folder_answers_as_its_own_library_and_network(
    case: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    (name, values, expected), (output, network) = LAYOUTS[case], EXPORTED[case]
    source = open_model_folder(make_folder(tmp_path / "model", name, values, external=case == "timm", **network))
    encoder = load_encoder(bundle_of(source, tiny_bundle, tmp_path / "bundle"), engine="onnx", threads=1)
    for size in SIZES:
        given = encoder.prepare(EncodedImage(png(noise(*size)))).pixels
        answer = vector(source.file, output, expected(noise(*size)))
        np.testing.assert_allclose(encoder.embed(given[None])[0], answer, atol=1e-5)


@pytest.mark.slow
@pytest.mark.process
def test_an_exported_folder_is_served_as_its_own_library_and_network_answer(tmp_path: Path) -> None:
    name, values, expected = LAYOUTS["shorter side and crop"]
    folder = make_folder(tmp_path / "model", name, values, outputs=HUGGING_FACE_OUTPUTS)
    arguments = [draw_flags(tmp_path / "flags"), "--model", folder, "-o", tmp_path / "bundle"]
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    with ServerProcess(tmp_path / "bundle", tmp_path / "data", "--engine", "onnx") as server:
        stubs = Stubs(server.channel())
        for size in SIZES:
            request = classification.EmbedRequest(image=image(png(noise(*size))))
            answer = vector(folder / "model.onnx", "pooler_output", expected(noise(*size)))
            np.testing.assert_allclose(stubs.classification.Embed(request).embedding.values, answer, atol=1e-5)
