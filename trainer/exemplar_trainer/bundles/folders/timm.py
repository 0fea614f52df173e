"""What `config.json` of timm says of pictures.

The rules are those of timm's `data/config.py` (`resolve_data_config`: what is missing), `data/transforms_factory.py`
(`transforms_imagenet_eval`: crop modes) and `models/_hub.py` (`_parse_model_cfg`: where the values are).
"""

from __future__ import annotations

import math

from exemplar_encoder.preprocess import Resample
from exemplar_trainer.bundles.folders.pictures import Pictures
from exemplar_trainer.bundles.folders.settings import Settings

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FILTERS: dict[str, Resample] = {name: name for name in ("nearest", "bilinear", "bicubic", "box", "lanczos")}
_CROP_MODES = {mode: mode for mode in ("center", "squash", "border")}


def is_timm(settings: Settings) -> bool:
    """Whether a `config.json` is timm's; transformers writes files of this name, too."""
    return "architecture" in settings


def read_pictures(settings: Settings, taken: tuple[int, int] | None) -> Pictures:
    """Read how the network takes its pictures.

    Args:
        settings: `config.json`; the values are in `pretrained_cfg`, in old files beside `architecture`.
        taken: height and width that the network's graph takes; None: any. Where the graph's size is that of
            `test_input_size`, it was exported for this size, and `test_crop_pct` goes with it; where it is another
            than the file's, timm keeps the part to crop and changes the size, as it does for `img_size`.

    Raises:
        ModelFolderError: a value is missing, or of a kind or a way that no bundle has; the message names it.
    """
    values = settings.inner("pretrained_cfg") or settings
    _, height, width = values.shape("input_size") or (3, 224, 224)
    part = values.number("crop_pct", 0.875)
    tested = values.shape("test_input_size")
    if taken is not None and taken != (height, width):
        if tested is not None and taken == tested[1:]:
            part = values.number("test_crop_pct", part)
        height, width = taken
    if part > 1:
        raise values.error("crop_pct", "a number up to 1")
    mean, std = values.triple("mean", _IMAGENET_MEAN), values.triple("std", _IMAGENET_STD, zero=False)
    resample = values.choice("interpolation", _FILTERS, "bicubic")
    mode = values.choice("crop_mode", _CROP_MODES, "center")
    whole = math.floor(height / part), math.floor(width / part)
    if mode == "border":
        if whole != (height, width):
            raise values.error("crop_pct", "1, since crop_mode is border")
        red, green, blue = (round(255 * value) for value in mean)
        return Pictures(height, width, "letterbox", resample, background=(red, green, blue), mean=mean, std=std)
    if height != width and (whole != (height, width) or mode == "center"):
        raise values.error("input_size", f"a square, since crop_mode is {mode} and crop_pct {part:g}")
    if mode == "squash":
        return Pictures(
            height, width, "squash", resample, whole[0] if whole[0] != height else None, mean=mean, std=std
        )
    return Pictures(height, width, "crop", resample, whole[0], mean=mean, std=std)
