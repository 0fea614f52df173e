"""What `preprocessor_config.json` of Hugging Face's transformers says of pictures.

The rules are those of `image_processing_utils.py` (`get_size_dict`), `image_processing_backends.py` (the order of the
steps) and `image_transforms.py` of transformers, and of the processors that differ from them:
`image_processing_convnext.py`, `_poolformer.py`, `_levit.py` and `_efficientnet.py`. Flags win over sizes: what
`do_center_crop` or `do_normalize` turns off is not read. A step that bundles do not have is refused.
"""

from __future__ import annotations

import re

from exemplar_encoder.preprocess import Fit, Resample
from exemplar_trainer.bundles.folders.pictures import Pictures, Triple
from exemplar_trainer.bundles.folders.settings import ModelFolderError, Settings

# Pillow's numbers, which `resample` holds.
_FILTERS: dict[int, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}

# Processors whose size, where it is one number, is that of the shorter side (`default_to_square=False`); of all
# others it is that of both. Only files from before 2023 hold one number.
_SHORTER_SIDE = frozenset({"Bit", "ChineseCLIP", "CLIP", "ConvNext", "Levit", "PoolFormer", "ViTHybrid"}) | frozenset(
    {"MobileNetV1", "MobileNetV2", "MobileViT"}
)

# The steps that are read here, and those that change nothing: pictures are always RGB, and there are no label maps.
_STEPS = frozenset(
    {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order"}
) | frozenset({"do_convert_rgb", "do_reduce_labels"})

# From this size on, ConvNeXT's processor cuts nothing off.
_CONVNEXT_SQUASHES = 384


def processor(settings: Settings) -> str:
    """Return the processor's name without its kind: `CLIP` of a `CLIPImageProcessorFast`; empty: none is named."""
    name = settings.text("image_processor_type") or settings.text("feature_extractor_type")
    return re.sub(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", name)


def read_pictures(settings: Settings) -> Pictures:
    """Read how the network takes its pictures.

    Args:
        settings: `preprocessor_config.json`, or `image_processor` of `processor_config.json`.

    Raises:
        ModelFolderError: a value is missing, or of a kind or a way that no bundle has; the message names it.
    """
    for key in settings.present():
        if key.startswith("do_") and key not in _STEPS and settings.flag(key, False):
            raise settings.error(key, "false: bundles do not have this step")
    if "max_num_patches" in settings:
        raise ModelFolderError(
            f"{settings.file}: max_num_patches means pictures in shapes of their own (NaFlex), but a bundle's "
            "network takes one size; download the variant with a fixed resolution"
        )
    if not settings.flag("do_resize", True):
        raise settings.error("do_resize", "true: a bundle's network takes pictures of one size")
    resample = settings.integer("resample")
    if resample not in _FILTERS:
        choices = ", ".join(f"{number} ({name})" for number, name in _FILTERS.items())
        raise settings.error("resample", f"one of {choices}")
    height, width, fit, resize = _way(settings, processor(settings))
    scale, mean, std = _numbers(settings, processor(settings))
    return Pictures(
        height,
        width,
        fit,
        _FILTERS[resample],
        resize,
        "down",
        scale=scale,
        mean=mean,
        std=std,
        bgr=settings.flag("do_flip_channel_order", False),
    )


def _way(settings: Settings, name: str) -> tuple[int, int, Fit, int | None]:
    """Return height, width, fit, and the size that pictures are resized to before the middle is cut out."""
    shorter, height, width = _size(settings, "size", square=name not in _SHORTER_SIDE)
    if name == "ConvNext":
        if shorter is None:
            raise settings.error("size", 'the shorter side in pixels, {"shortest_edge": ...}')
        if shorter >= _CONVNEXT_SQUASHES:
            return shorter, shorter, "squash", None
        return shorter, shorter, "crop", int(shorter / settings.number("crop_pct", 224 / 256))
    if name == "PoolFormer":
        # Two equal sides are the shorter side too, once there is a part to crop.
        shorter = shorter or (height if height == width else None)
        if shorter is None:
            raise settings.error("size", "one number of pixels, or two equal ones")
        shorter = int(shorter / settings.number("crop_pct", 0.9))
    elif name == "Levit" and shorter is not None:
        shorter = int((256 / 224) * shorter)
    if not settings.flag("do_center_crop", "crop_size" in settings):
        if shorter is not None:
            raise settings.error(
                "size",
                '{"height": ..., "width": ...}, or do_center_crop true with a crop_size: '
                "a bundle's network takes pictures of one shape",
            )
        return height, width, "squash", None
    _, crop_height, crop_width = _size(settings, "crop_size", square=True)
    if shorter is not None:
        return crop_height, crop_width, "crop", shorter
    if (height, width) == (crop_height, crop_width):
        return height, width, "squash", None
    if height != width:
        raise settings.error("size", "one number of pixels for both sides, since a middle is cut out of it")
    return crop_height, crop_width, "squash", height


def _size(settings: Settings, key: str, square: bool) -> tuple[int | None, int, int]:
    """Return the shorter side, or None and height and width.

    Args:
        settings: of the processor.
        key: of a number, of two, height first, or of an object.
        square: whether one number is that of both sides.
    """
    if isinstance(settings.value(key), (int, list)):
        height, width = settings.sides(key)
        return (None, height, width) if square or isinstance(settings.value(key), list) else (height, 0, 0)
    size = settings.inner(key)
    if size is None:
        raise settings.error(key, "a number of pixels")
    if set(size.present()) == {"shortest_edge"} and key == "size":
        return size.side("shortest_edge"), 0, 0
    if set(size.present()) == {"height", "width"}:
        return None, size.side("height"), size.side("width")
    allowed = "height and width" + (", or shortest_edge alone" if key == "size" else "")
    raise settings.error(key, f"{allowed}, in pixels")


def _numbers(settings: Settings, name: str) -> tuple[float, Triple, Triple]:
    """Return scale, mean and standard deviation, as `(value * scale - mean) / std`."""
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    # Processors that do not normalize at all write neither the flag nor a mean.
    if settings.flag("do_normalize", "image_mean" in settings):
        mean, std = settings.triple("image_mean"), settings.triple("image_std", zero=False)
    scale = 1.0
    if settings.flag("do_rescale", True):
        scale = settings.number("rescale_factor", 1 / 255)
        if name == "EfficientNet" and settings.flag("rescale_offset", False):
            mean = (mean[0] + 1.0, mean[1] + 1.0, mean[2] + 1.0)
    if name == "EfficientNet" and settings.flag("include_top", True):
        # Its processor divides by the standard deviation once more.
        again = settings.triple("image_std", zero=False)
        std = (std[0] * again[0], std[1] * again[1], std[2] * again[2])
    return scale, mean, std
