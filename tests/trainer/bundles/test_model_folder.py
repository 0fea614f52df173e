"""Folders as they are downloaded: what their configurations say of pictures, and which file is the network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from exemplar_encoder import Preprocessing
from exemplar_encoder.preprocess import Halving
from exemplar_trainer.bundles.model_folder import ModelFolderError, ModelSource, open_model_folder
from tests.trainer.tiny_onnx import tiny_onnx, write_onnx

BLACK = (0, 0, 0)
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

# As they are published, but for the sizes' names and the networks' licenses.
DINOV2 = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "BitImageProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
    **IMAGENET,
}
DINOV3 = {
    "crop_size": None,
    "data_format": "channels_first",
    "default_to_square": True,
    "device": None,
    "do_center_crop": None,
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
    **IMAGENET,
}
SIGLIP = {
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessorFast",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 384, "width": 384},
}
OLD_CLIP = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
    "resample": 3,
    "size": 224,
}
OLD_VIT = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 224,
}
OLD_MOBILEVIT = {
    "crop_size": 256,
    "do_center_crop": True,
    "do_flip_channel_order": True,
    "do_resize": True,
    "feature_extractor_type": "MobileViTFeatureExtractor",
    "resample": 2,
    "size": 288,
}
MOBILECLIP = {
    "crop_size": {"height": 256, "width": 256},
    "do_center_crop": True,
    "do_normalize": False,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.2, 0.2, 0.2],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}
EFFICIENTNET = {
    "crop_size": {"height": 289, "width": 289},
    "do_center_crop": False,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "EfficientNetImageProcessor",
    "image_std": [0.5, 0.25, 0.2],
    "include_top": True,
    "resample": 0,
    "rescale_factor": 0.00392156862745098,
    "rescale_offset": False,
    "size": {"height": 224, "width": 224},
}
ALIGN = {
    "crop_size": {"height": 288, "width": 288},
    "do_center_crop": True,
    "do_normalize": False,
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "EfficientNetImageProcessor",
    "include_top": False,
    "resample": 2,
    "rescale_factor": 0.00784313725490196,
    "rescale_offset": True,
    "size": {"height": 346, "width": 346},
}
CONVNEXT = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "ConvNextImageProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
    **IMAGENET,
}
POOLFORMER = DINOV2 | {
    "crop_pct": 0.9,
    "image_processor_type": "PoolFormerImageProcessor",
    "size": {"shortest_edge": 224},
}
TIMM: dict[str, Any] = {
    "architecture": "vit_small_patch14_dinov2",
    "num_classes": 0,
    "pretrained_cfg": {
        "crop_mode": "center",
        "crop_pct": 0.9,
        "fixed_input_size": False,
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "test_crop_pct": 0.95,
        "test_input_size": [3, 288, 288],
    },
}
OPEN_CLIP: dict[str, Any] = {
    "model_cfg": {"embed_dim": 512, "vision_cfg": {"image_size": 256, "patch_size": 16}, "text_cfg": {}},
    "preprocess_cfg": {
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "resize_mode": "shortest",
        "std": [0.5, 0.5, 0.5],
    },
}
HUGGING_FACE_FILE, TIMM_FILE, OPEN_CLIP_FILE = "preprocessor_config.json", "config.json", "open_clip_config.json"
NAMES = {"Hugging Face": HUGGING_FACE_FILE, "timm": TIMM_FILE, "open_clip": OPEN_CLIP_FILE}


def make_folder(
    folder: Path, name: str, values: Any, network: onnx.ModelProto | None = None, file: str = "model.onnx"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(values if isinstance(values, str) else json.dumps(values))
    write_onnx(network or tiny_onnx(size=None), folder / file)
    return folder


def without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def pretrained(**changes: Any) -> dict[str, Any]:
    return TIMM | {"pretrained_cfg": TIMM["pretrained_cfg"] | changes}


def preprocess(**changes: Any) -> dict[str, Any]:
    return OPEN_CLIP | {"preprocess_cfg": OPEN_CLIP["preprocess_cfg"] | changes}


def crop(side: int, resize: int, resample: Any = "bicubic", halving: Halving = "even") -> Preprocessing:
    return Preprocessing(side, side, 3, BLACK, resample, fit="crop", resize=resize, halving=halving)


def squash(
    side: int, resample: Any = "bicubic", resize: int | None = None, halving: Halving = "even"
) -> Preprocessing:
    return Preprocessing(side, side, 3, BLACK, resample, fit="squash", resize=resize, halving=halving)


HUGGING_FACE_CASES = {
    "DINOv2": (DINOV2, crop(224, 256)),
    "DINOv3": (DINOV3, squash(224, "bilinear")),
    "SigLIP": (SIGLIP, squash(384)),
    "one number is the shorter side with CLIP": (OLD_CLIP, crop(224, 224)),
    "one number is both sides with ViT": (OLD_VIT, squash(224, "bilinear")),
    "two numbers are height and width": (OLD_VIT | {"size": [224, 224]}, squash(224, "bilinear")),
    "MobileViT": (OLD_MOBILEVIT, crop(256, 288, "bilinear")),
    "MobileCLIP": (MOBILECLIP, crop(256, 256, "bilinear")),
    "EfficientNet": (EFFICIENTNET, squash(224, "nearest")),
    "a crop of what was squashed": (ALIGN, squash(288, "bilinear", 346)),
    "ConvNeXT crops below 384": (CONVNEXT, crop(224, 256)),
    "ConvNeXT squashes from 384 on": (CONVNEXT | {"size": {"shortest_edge": 384}}, squash(384)),
    "ConvNeXT with no part to crop": (without(CONVNEXT, "crop_pct"), crop(224, 256)),
    "LeViT": (
        DINOV2 | {"image_processor_type": "LevitImageProcessor", "size": {"shortest_edge": 224}},
        crop(224, 256),
    ),
    "PoolFormer": (POOLFORMER, crop(224, 248)),
    "PoolFormer by both sides": (POOLFORMER | {"size": {"height": 224, "width": 224}}, crop(224, 248)),
    "PoolFormer with no part to crop": (without(POOLFORMER, "crop_pct"), crop(224, 248)),
    "no crop, whatever its size": (SIGLIP | {"do_center_crop": False, "crop_size": 99}, squash(384)),
    "a filter that few use": (SIGLIP | {"resample": 1}, squash(384, "lanczos")),
}


@pytest.mark.parametrize(
    ("values", "expected"), HUGGING_FACE_CASES.values(), ids=[name.replace(" ", "_") for name in HUGGING_FACE_CASES]
)
def test_pictures_take_the_way_that_hugging_faces_processor_takes(
    values: dict[str, Any], expected: Preprocessing, tmp_path: Path
) -> None:
    source = open_model_folder(make_folder(tmp_path, HUGGING_FACE_FILE, values))
    assert source.preprocessing == replace(expected, halving="down")
    assert (source.kind, source.notes) == ("Hugging Face", ())


@pytest.mark.parametrize(
    ("values", "scale", "mean", "std"),
    [
        (DINOV2, 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (OLD_CLIP, 1 / 255, CLIP_MEAN, CLIP_STD),
        (OLD_MOBILEVIT, 1 / 255, (0, 0, 0), (1, 1, 1)),
        (MOBILECLIP, 1 / 255, (0, 0, 0), (1, 1, 1)),
        (SIGLIP | {"do_rescale": False}, 1, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        (SIGLIP | {"image_mean": 0.25, "image_std": [0.5]}, 1 / 255, (0.25, 0.25, 0.25), (0.5, 0.5, 0.5)),
        (EFFICIENTNET, 1 / 255, (0.485, 0.456, 0.406), (0.5**2, 0.25**2, 0.2**2)),
        (EFFICIENTNET | {"include_top": False}, 1 / 255, (0.485, 0.456, 0.406), (0.5, 0.25, 0.2)),
        (ALIGN, 1 / 127.5, (1, 1, 1), (1, 1, 1)),
    ],
)
def test_the_numbers_that_pictures_go_in_as_are_hugging_faces(
    values: dict[str, Any], scale: float, mean: Any, std: Any, tmp_path: Path
) -> None:
    source = open_model_folder(make_folder(tmp_path, HUGGING_FACE_FILE, values))
    assert source.scale == pytest.approx(scale)
    assert source.mean == pytest.approx(mean)
    assert source.std == pytest.approx(std)
    assert source.bgr == (values is OLD_MOBILEVIT)


def test_the_nested_file_of_newer_processors_wins_over_the_older_one(tmp_path: Path) -> None:
    make_folder(tmp_path, HUGGING_FACE_FILE, DINOV2)
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": SIGLIP, "processor_class": "X"}))
    assert open_model_folder(tmp_path).preprocessing.width == 384
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "X"}))
    assert open_model_folder(tmp_path).preprocessing.width == 224


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (TIMM, crop(224, 248)),  # 224 / 0.9 = 248.9, rounded down
        (TIMM["pretrained_cfg"] | {"architecture": "resnet50"}, crop(224, 248)),
        (pretrained(crop_pct=None), crop(224, 256)),
        (pretrained(crop_pct=1.0), crop(224, 224)),
        (pretrained(interpolation="bilinear"), crop(224, 248, "bilinear")),
        (pretrained(interpolation=""), crop(224, 248)),
        (pretrained(crop_mode="squash", crop_pct=1.0), squash(224)),
        (pretrained(crop_mode="squash"), squash(224, resize=248)),
        (
            pretrained(crop_mode="border", crop_pct=1.0),
            Preprocessing(224, 224, 3, (124, 116, 104), "bicubic", fit="letterbox", halving="even"),
        ),
        ({"architecture": "resnet50", "pretrained_cfg": {}}, crop(224, 256)),
    ],
)
def test_pictures_take_the_way_that_timm_takes(
    values: dict[str, Any], expected: Preprocessing, tmp_path: Path
) -> None:
    source = open_model_folder(make_folder(tmp_path, TIMM_FILE, values))
    assert source.preprocessing == expected
    assert source.scale == pytest.approx(1 / 255)
    assert (source.mean, source.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (source.kind, source.bgr, source.notes) == ("timm", False, ())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (OPEN_CLIP, crop(256, 256)),
        (preprocess(size=512), crop(256, 256)),  # the network's own size wins
        (preprocess(size=512) | {"model_cfg": {}}, crop(512, 512)),
        (preprocess(size=[512, 512]) | {"model_cfg": {}}, crop(512, 512)),
        (preprocess(interpolation="bilinear"), crop(256, 256, "bilinear")),
        (preprocess(interpolation="random"), crop(256, 256)),
        (preprocess(resize_mode="squash"), squash(256)),
        (
            preprocess(resize_mode="longest", fill_color=7),
            Preprocessing(256, 256, 3, (7, 7, 7), "bicubic", fit="letterbox", halving="even"),
        ),
        (
            {"model_cfg": {"vision_cfg": {"image_size": [256, 128]}}, "preprocess_cfg": OPEN_CLIP["preprocess_cfg"]},
            Preprocessing(128, 256, 3, BLACK, "bicubic", fit="crop", halving="even"),
        ),
    ],
)
def test_pictures_take_the_way_that_open_clip_takes(
    values: dict[str, Any], expected: Preprocessing, tmp_path: Path
) -> None:
    source = open_model_folder(make_folder(tmp_path, OPEN_CLIP_FILE, values))
    assert source.preprocessing == expected
    assert (source.mean, source.std, source.kind) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "open_clip")


def test_what_open_clips_file_leaves_out_is_openais(tmp_path: Path) -> None:
    source = open_model_folder(make_folder(tmp_path, OPEN_CLIP_FILE, {"model_cfg": {}}))
    assert (source.mean, source.std, source.preprocessing) == (CLIP_MEAN, CLIP_STD, crop(224, 224))


def graph_of(side: int, width: int | None = None) -> onnx.ModelProto:
    return tiny_onnx(size=(side, width or side))


def test_a_graph_of_timms_size_for_tests_gets_pictures_for_tests(tmp_path: Path) -> None:
    source = open_model_folder(make_folder(tmp_path, TIMM_FILE, TIMM, graph_of(288)))
    assert source.preprocessing == crop(288, 303)  # 288 / 0.95


@pytest.mark.parametrize(
    ("library", "values", "expected"),
    [
        ("Hugging Face", DINOV2, crop(336, 384, halving="down")),
        ("Hugging Face", SIGLIP, squash(336, halving="down")),
        ("timm", TIMM, crop(336, 373)),
        ("open_clip", OPEN_CLIP, crop(336, 336)),
    ],
)
def test_a_graph_of_another_size_than_the_file_says_is_given_its_own_and_a_note_says_so(
    library: str, values: dict[str, Any], expected: Preprocessing, tmp_path: Path
) -> None:
    source = open_model_folder(make_folder(tmp_path, NAMES[library], values, graph_of(336)))
    assert source.preprocessing == expected
    (note,) = source.notes
    assert note.startswith("model.onnx takes 336 x 336 pixels, so it gets these, where ")


def test_a_graph_of_another_shape_than_the_file_says_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, HUGGING_FACE_FILE, DINOV2, graph_of(64, 128))
    with pytest.raises(ModelFolderError, match=r"takes pictures of 128 x 64 pixels, but by .*they are 224 x 224"):
        open_model_folder(folder)


def test_a_network_of_gray_pictures_gets_gray_pictures(tmp_path: Path) -> None:
    gray = tiny_onnx(size=None, channels=1)
    assert open_model_folder(make_folder(tmp_path, HUGGING_FACE_FILE, SIGLIP, gray)).preprocessing.channels == 1
    with pytest.raises(ModelFolderError, match=r"takes one channel, but the mean and deviation of .* are of three"):
        open_model_folder(make_folder(tmp_path, HUGGING_FACE_FILE, DINOV2, gray))


def test_the_half_that_sees_in_full_precision_is_the_network(tmp_path: Path) -> None:
    for file in ("model_fp16.onnx", "model_quantized.onnx", "onnx/model_q4.onnx"):
        make_folder(tmp_path, HUGGING_FACE_FILE, SIGLIP, file=file)
    with pytest.raises(
        ModelFolderError, match=r"holds 3 networks: model_fp16.onnx, model_quantized.onnx, onnx/mod.*"
    ):
        open_model_folder(tmp_path)
    for file in ("onnx/model.onnx", "model.onnx", "onnx/vision_model.onnx", "vision_model.onnx"):
        make_folder(tmp_path, HUGGING_FACE_FILE, SIGLIP, file=file)
        assert open_model_folder(tmp_path).file == tmp_path / file


def test_a_single_network_may_have_any_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "tiny", OPEN_CLIP_FILE, OPEN_CLIP, file="onnx/visual.onnx")
    source = open_model_folder(folder)
    assert source.file == folder / "onnx" / "visual.onnx"
    assert source.made == "open_clip (tiny/visual.onnx)"


def test_a_named_network_is_read_by_the_configuration_beside_or_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path, HUGGING_FACE_FILE, SIGLIP, file="onnx/model_fp16.onnx")
    make_folder(tmp_path, HUGGING_FACE_FILE, SIGLIP, file="any.onnx")
    for file in ("onnx/model_fp16.onnx", "any.onnx"):
        source = open_model_folder(tmp_path / file)
        assert (source.file, source.preprocessing.width) == (tmp_path / file, 384)


def test_weights_outside_the_graph_are_not_needed_to_read_a_folder(tmp_path: Path) -> None:
    make_folder(tmp_path, TIMM_FILE, TIMM)
    write_onnx(tiny_onnx(size=None), tmp_path / "model.onnx", external=True)
    assert isinstance(open_model_folder(tmp_path), ModelSource)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {HUGGING_FACE_FILE: json.dumps(DINOV2), "model.safetensors": ""},
            r"holds weights \(model\.safetensors\) but no ONNX; make one with optimum-cli export onnx --model \S+ "
            r"--task feature-extraction \S+/onnx",
        ),
        (
            {TIMM_FILE: json.dumps(TIMM), "pytorch_model.bin": ""},
            r'with torch\.onnx\.export\(timm\.create_model\("local-dir:\S+", pretrained=True, num_classes=0\)',
        ),
        (
            {OPEN_CLIP_FILE: json.dumps(OPEN_CLIP), "open_clip_model.safetensors": ""},
            r'make one with torch\.onnx\.export\(open_clip\.create_model\("local-dir:\S+"\)\.visual\.eval\(\), ',
        ),
        (
            {"best.pt": ""},
            r"holds weights \(best\.pt\) but no ONNX; .*put the configuration that it was published with",
        ),
        (
            {"saved_model.pb": ""},
            r"is a SavedModel of TensorFlow, no ONNX; make one: python -m tf2onnx\.convert --saved",
        ),
        ({"saved_model/saved_model.pb": ""}, r"saved_model is a SavedModel of TensorFlow"),
        ({"embedder.keras": ""}, r"holds a Keras model, no ONNX; name the file: --model \S+/embedder\.keras"),
        ({"README.md": ""}, r"holds no \.onnx file, and no weights that one could be made of"),
    ],
)
def test_a_folder_without_onnx_says_how_to_make_one(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(ModelFolderError, match=message):
        open_model_folder(tmp_path)


def test_a_file_that_is_no_network_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is weights alone; name its folder"):
        open_model_folder(tmp_path / "model.safetensors")
    (tmp_path / "model.tflite").touch()
    with pytest.raises(ModelFolderError, match=r"model\.tflite is no ONNX file; name its folder"):
        open_model_folder(tmp_path / "model.tflite")
    with pytest.raises(ModelFolderError, match="nowhere does not exist"):
        open_model_folder(tmp_path / "nowhere")


def test_a_network_without_a_configuration_says_which_files_it_could_be_in(tmp_path: Path) -> None:
    make_folder(tmp_path, TIMM_FILE, {"model_type": "vit"})  # transformers' own, which says nothing of pictures
    with pytest.raises(
        ModelFolderError, match=r"does not say how model\.onnx takes its pictures: it holds none of pre"
    ):
        open_model_folder(tmp_path)


def test_a_damaged_network_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, HUGGING_FACE_FILE, SIGLIP)
    (tmp_path / "model.onnx").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(ModelFolderError, match=r"model\.onnx is damaged, it is no ONNX file; download it again"):
        open_model_folder(tmp_path)


def test_a_network_that_takes_no_pictures_is_refused(tmp_path: Path) -> None:
    words = tiny_onnx(text=True)
    del words.graph.input[0]
    make_folder(tmp_path, HUGGING_FACE_FILE, SIGLIP, words)
    with pytest.raises(ModelFolderError, match="takes input_ids, attention_mask: 0 inputs of four axes"):
        open_model_folder(tmp_path)


@pytest.mark.parametrize(
    ("library", "values", "message"),
    [
        (
            "Hugging Face",
            '{"size": 224',
            r"preprocessor_config\.json is damaged, it is no JSON: .*; download it again",
        ),
        ("Hugging Face", "[1, 2]", r"preprocessor_config\.json must hold an object"),
        ("Hugging Face", DINOV2 | {"do_resize": False}, "do_resize is false; it must be true: a bundle's network"),
        ("Hugging Face", DINOV2 | {"do_resize": "yes"}, 'do_resize is "yes"; it must be true or false'),
        (
            "Hugging Face",
            DINOV2 | {"do_thumbnail": True},
            "do_thumbnail is true; it must be false: bundles do not have",
        ),
        ("Hugging Face", without(DINOV2, "size"), "size is missing; it must be a number of pixels"),
        ("Hugging Face", DINOV2 | {"size": 0}, r"size is 0; it must be one or two numbers of pixels, 8 to 4096"),
        (
            "Hugging Face",
            DINOV2 | {"size": {"longest_edge": 9}},
            "size is .*; it must be height and width, or shortest_",
        ),
        (
            "Hugging Face",
            DINOV2 | {"size": {"shortest_edge": "a"}},
            'size.shortest_edge is "a"; it must be a number of',
        ),
        (
            "Hugging Face",
            DINOV2 | {"crop_size": {"shortest_edge": 224}},
            "crop_size is .*; it must be height and width, ",
        ),
        (
            "Hugging Face",
            POOLFORMER | {"size": [224, 320]},
            "size is .*; it must be one number of pixels, or two equal",
        ),
        ("Hugging Face", CONVNEXT | {"size": [224, 224]}, "size is .*; it must be the shorter side in pixels"),
        ("Hugging Face", ALIGN | {"size": [346, 200]}, "size is .*; it must be one number of pixels for both sides"),
        ("Hugging Face", DINOV2 | {"do_center_crop": False}, "size is .*or do_center_crop true with a crop_size"),
        ("Hugging Face", DINOV2 | {"resample": 5}, r"resample is 5; it must be one of 0 \(nearest\), 1 \(lanczos\)"),
        ("Hugging Face", without(DINOV2, "resample"), r"resample is missing; it must be one of 0 \(nearest\)"),
        ("Hugging Face", DINOV2 | {"resample": "bicubic"}, 'resample is "bicubic"; it must be a whole number'),
        (
            "Hugging Face",
            DINOV2 | {"image_mean": [0.5, 0.5]},
            r"image_mean is \[0.5, 0.5\]; it must be 1 or 3 numbers",
        ),
        ("Hugging Face", without(DINOV2, "image_mean"), "image_mean is missing; it must be 1 or 3 numbers"),
        (
            "Hugging Face",
            DINOV2 | {"image_mean": [0, 0, float("nan")]},
            "image_mean is .*NaN.*; it must be 1 or 3 numbers",
        ),
        ("Hugging Face", DINOV2 | {"image_std": [0.2, 0, 0.2]}, r"image_std is \[0.2, 0, 0.2\]; .* none of them 0"),
        ("Hugging Face", DINOV2 | {"rescale_factor": 0}, "rescale_factor is 0; it must be a number above 0"),
        (
            "Hugging Face",
            SIGLIP | {"size": None, "max_num_patches": 256},
            "max_num_patches means pictures in shapes of",
        ),
        ("Hugging Face", DINOV2 | {"image_processor_type": 3}, "image_processor_type is 3; it must be a string"),
        (
            "timm",
            pretrained(crop_mode="corner"),
            'pretrained_cfg.crop_mode is "corner"; it must be one of center, squash',
        ),
        ("timm", pretrained(crop_pct=0), "pretrained_cfg.crop_pct is 0; it must be a number above 0"),
        ("timm", pretrained(crop_pct=1.5), "pretrained_cfg.crop_pct is 1.5; it must be a number up to 1"),
        ("timm", pretrained(crop_mode="border"), "crop_pct is 0.9; it must be 1, since crop_mode is border"),
        (
            "timm",
            pretrained(input_size=[224, 224]),
            r"input_size is \[224, 224\]; it must be \[channels, height, width\]",
        ),
        (
            "timm",
            pretrained(input_size=[3, 224, 320]),
            "input_size is .*; it must be a square, since crop_mode is center",
        ),
        (
            "timm",
            pretrained(interpolation="hamming"),
            'interpolation is "hamming"; it must be one of nearest, bilinear',
        ),
        ("timm", pretrained(std=0), "pretrained_cfg.std is 0; it must be 1 or 3 numbers, none of them 0"),
        ("timm", TIMM | {"pretrained_cfg": []}, r"config\.json: pretrained_cfg is \[\]; it must be an object"),
        (
            "open_clip",
            preprocess(resize_mode="fit"),
            'preprocess_cfg.resize_mode is "fit"; it must be one of shortest, ',
        ),
        (
            "open_clip",
            preprocess(interpolation="nearest"),
            'interpolation is "nearest"; it must be one of bicubic, bil',
        ),
        (
            "open_clip",
            preprocess(resize_mode="longest", fill_color=300),
            "fill_color is 300; it must be a gray from 0 to",
        ),
        (
            "open_clip",
            OPEN_CLIP | {"model_cfg": {"vision_cfg": {"image_size": "large"}}},
            'model_cfg.vision_cfg.image_size is "large"; it must be one or two numbers of pixels',
        ),
    ],
)
def test_a_value_that_cannot_be_served_is_named_by_file_and_key(
    library: str, values: Any, message: str, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path, NAMES[library], values)
    with pytest.raises(ModelFolderError, match=message) as raised:
        open_model_folder(folder)
    assert str(folder / NAMES[library]) in str(raised.value)
