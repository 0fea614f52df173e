"""What `open_clip_config.json` says of pictures.

The rules are those of open_clip's `transform.py` (`PreprocessCfg`: what is missing; `image_transform`: resize modes)
and `factory.py` (`create_model`: the size of `model_cfg` wins over that of `preprocess_cfg`).
"""

from __future__ import annotations

from exemplar_encoder.preprocess import Resample
from exemplar_trainer.bundles.folders.pictures import Pictures
from exemplar_trainer.bundles.folders.settings import Settings

_OPENAI_MEAN, _OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# "random" is of training; elsewhere open_clip takes bicubic for it.
_FILTERS: dict[str, Resample] = {"bicubic": "bicubic", "bilinear": "bilinear", "random": "bicubic"}
_RESIZE_MODES = {mode: mode for mode in ("shortest", "longest", "squash")}


def read_pictures(settings: Settings, taken: tuple[int, int] | None) -> Pictures:
    """Read how the network takes its pictures.

    Args:
        settings: `open_clip_config.json`.
        taken: height and width that the network's graph takes; None: any. It wins over the file's, as open_clip's
            `force_image_size` does.

    Raises:
        ModelFolderError: a value is of a kind or a way that no bundle has; the message names it.
    """
    values = settings.inner("preprocess_cfg") or Settings(settings.file, {}, "preprocess_cfg.")
    model = settings.inner("model_cfg") or Settings(settings.file, {}, "model_cfg.")
    vision = model.inner("vision_cfg") or Settings(settings.file, {}, "model_cfg.vision_cfg.")
    height, width = 224, 224
    if taken is not None:
        height, width = taken
    elif "image_size" in vision:
        height, width = vision.sides("image_size")
    elif "size" in values:
        height, width = values.sides("size")
    mean, std = values.triple("mean", _OPENAI_MEAN), values.triple("std", _OPENAI_STD, zero=False)
    resample = values.choice("interpolation", _FILTERS, "bicubic")
    mode = values.choice("resize_mode", _RESIZE_MODES, "shortest")
    if mode == "squash":
        return Pictures(height, width, "squash", resample, mean=mean, std=std)
    if mode == "shortest":
        # Of a square the shorter side is resized to it; of another shape the picture is resized until it fills it.
        return Pictures(height, width, "crop", resample, height if height == width else None, mean=mean, std=std)
    fill = values.integer("fill_color") or 0
    if not 0 <= fill <= 255:
        raise values.error("fill_color", "a gray from 0 to 255")
    return Pictures(height, width, "letterbox", resample, background=(fill, fill, fill), mean=mean, std=std)
