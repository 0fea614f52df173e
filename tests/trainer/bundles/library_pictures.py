"""How transformers, timm and open_clip bring a picture to a network, derived a second time from their sources.

Each function does in Pillow and NumPy what the library does in torchvision, by the values of its configuration alone.
None of it is shared with what is tested.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from exemplar_encoder.arrays import Floats

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resize_shorter(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """torchvision.transforms.Resize(size), and transformers' get_resize_output_image_size."""
    short, long = sorted(image.size)
    new_short, new_long = size, int(size * long / short)
    width, height = (new_short, new_long) if image.width <= image.height else (new_long, new_short)
    return image.resize((width, height), resample)


def resize_keep_ratio(
    image: Image.Image, target: tuple[int, int], longest: float, resample: Image.Resampling
) -> Image.Image:
    """ResizeKeepRatio of timm and open_clip; the target is height and width."""
    ratio_h, ratio_w = image.height / target[0], image.width / target[1]
    ratio = max(ratio_h, ratio_w) * longest + min(ratio_h, ratio_w) * (1.0 - longest)
    height, width = round(image.height / ratio), round(image.width / ratio)
    return image.resize((width, height), resample)


def center_crop(image: Image.Image, size: tuple[int, int], fill: Any = 0) -> Image.Image:
    """torchvision.transforms.CenterCrop, and CenterCropOrPad of timm and open_clip; the size is height and width."""
    (height, width), (target_height, target_width) = (image.height, image.width), size
    if target_width > width or target_height > height:
        left = (target_width - width) // 2 if target_width > width else 0
        top = (target_height - height) // 2 if target_height > height else 0
        right = (target_width - width + 1) // 2 if target_width > width else 0
        bottom = (target_height - height + 1) // 2 if target_height > height else 0
        values = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
        values[:] = fill
        values[top : top + height, left : left + width] = np.asarray(image)
        image = Image.fromarray(values)
    top = round((image.height - target_height) / 2.0)
    left = round((image.width - target_width) / 2.0)
    return image.crop((left, top, left + target_width, top + target_height))


def array_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """center_crop of transformers' image_transforms.py; the size is height and width."""
    values = np.asarray(image)
    height, width = values.shape[:2]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    padded = np.zeros((max(size[0], height), max(size[1], width), 3), np.uint8)
    top_pad, left_pad = math.ceil((len(padded) - height) / 2), math.ceil((padded.shape[1] - width) / 2)
    padded[top_pad : top_pad + height, left_pad : left_pad + width] = values
    top, left = top + top_pad, left + left_pad
    return Image.fromarray(padded[top : top + size[0], left : left + size[1]])


def tensor(image: Image.Image, mean: Any, std: Any) -> Floats:
    """torchvision.transforms.ToTensor and Normalize: float32 `[3, height, width]`."""
    values = np.asarray(image, np.float32) / np.float32(255)
    return np.moveaxis((values - np.float32(mean)) / np.float32(std), -1, 0)


def transformers_pictures(config: dict[str, Any], image: Image.Image) -> Floats:
    """Do as an image processor does: resize, crop, rescale, normalize, flip the channels."""
    resample = FILTERS[("nearest", "lanczos", "bilinear", "bicubic")[config["resample"]]]
    kind, size = config.get("image_processor_type", ""), config["size"]
    if kind == "ConvNextImageProcessor":
        edge = size["shortest_edge"]
        if edge < 384:
            image = array_crop(resize_shorter(image, int(edge / config["crop_pct"]), resample), (edge, edge))
        else:
            image = image.resize((edge, edge), resample)
    elif isinstance(size, int):
        square = config["feature_extractor_type"] == "ViTFeatureExtractor"
        image = image.resize((size, size), resample) if square else resize_shorter(image, size, resample)
    elif "shortest_edge" in size:
        image = resize_shorter(image, size["shortest_edge"], resample)
    else:
        image = image.resize((size["width"], size["height"]), resample)
    if config.get("do_center_crop"):
        crop = config["crop_size"]
        image = array_crop(image, (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"]))
    values = np.asarray(image, np.float64)
    if config.get("do_rescale", True):
        values = values * config.get("rescale_factor", 1 / 255)
        if config.get("rescale_offset"):
            values = values - 1
    if config.get("do_normalize", "image_mean" in config):
        values = (values - np.array(config["image_mean"])) / np.array(config["image_std"])
    if config.get("include_top"):
        values = values / np.array(config["image_std"])
    if config.get("do_flip_channel_order"):
        values = values[..., ::-1]
    return np.moveaxis(values, -1, 0).astype(np.float32)


def timm_pictures(config: dict[str, Any], image: Image.Image) -> Floats:
    """Do as create_transform(**resolve_data_config({}, config)) does."""
    height, width = config["input_size"][1:]
    resample = FILTERS[config["interpolation"]]
    scale_size = math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"])
    if config["crop_mode"] == "squash":
        image = center_crop(image.resize(scale_size[::-1], resample), (height, width))
    elif config["crop_mode"] == "border":
        fill = [round(255 * value) for value in config["mean"]]
        image = center_crop(resize_keep_ratio(image, scale_size, 1.0, resample), (height, width), fill)
    else:
        image = center_crop(resize_shorter(image, scale_size[0], resample), (height, width))
    return tensor(image, config["mean"], config["std"])


def open_clip_pictures(config: dict[str, Any], image: Image.Image) -> Floats:
    """Do as image_transform(size, is_train=False) does."""
    values, size = config["preprocess_cfg"], config["model_cfg"]["vision_cfg"]["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    resample = FILTERS[values["interpolation"]]
    if values["resize_mode"] == "longest":
        image = resize_keep_ratio(image, (height, width), 1.0, resample)
        image = center_crop(image, (height, width), values["fill_color"])
    elif values["resize_mode"] == "squash":
        image = image.resize((width, height), resample)
    else:
        if height == width:
            image = resize_shorter(image, height, resample)
        else:
            image = resize_keep_ratio(image, (height, width), 0.0, resample)
        image = center_crop(image, (height, width))
    return tensor(image, values["mean"], values["std"])
