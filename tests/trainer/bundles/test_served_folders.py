"""Models from folders, served: what their networks are given, and answer, is what their own library gives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder.arrays import Floats
from exemplar_encoder.preprocess import preprocess
from exemplar_trainer.bundles.model_folder import open_model_folder
from tests.trainer.bundles.library_pictures import open_clip_pictures, timm_pictures, transformers_pictures
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


def make_folder(folder: Path, name: str, values: dict[str, Any], **network: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values))
    write_onnx(tiny_onnx(**{"size": None, **network}), folder / "model.onnx")
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
