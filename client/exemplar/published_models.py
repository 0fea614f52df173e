"""The vision models that `exemplar models fetch` knows by name, each pinned to one file by its SHA-256.

They are networks from images to features, in ONNX, at a fixed revision of their public home on Hugging Face. Size and
SHA-256 are those of the file's Git LFS object there, as several independent public projects that load the same
revision state them, all alike. What the home says of preprocessing is written out here, so that a folder is one file
of weights and what reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HOME = "https://huggingface.co"

# Names another home, a mirror of the first; every tool of Hugging Face's knows it.
HOME_VARIABLE = "HF_ENDPOINT"


@dataclass(frozen=True)
class PublishedModel:
    """A model that can be fetched.

    Attributes:
        name: what the command calls it.
        summary: what it is, in a line.
        repository: its home, as `OWNER/NAME`.
        revision: the commit there.
        path: the file there.
        size: of the file, in bytes.
        sha256: of the file, in hexadecimal.
        license: an SPDX identifier.
        credit: who made it, and where the license is stated.
        preprocessing: a `preprocessor_config.json`, as Hugging Face's image processors read it.
    """

    name: str
    summary: str
    repository: str
    revision: str
    path: str
    size: int
    sha256: str
    license: str
    credit: str
    preprocessing: Mapping[str, Any]

    @property
    def url(self) -> str:
        """Where the file is, at its home or at the mirror that `HF_ENDPOINT` names."""
        home = os.environ.get(HOME_VARIABLE) or HOME
        return f"{home.rstrip('/')}/{self.repository}/resolve/{self.revision}/{self.path}"

    @property
    def input(self) -> str:
        """The input in pixels, as `224 x 224`."""
        sides = self.preprocessing.get("crop_size") or self.preprocessing["size"]
        return f"{sides['width']} x {sides['height']}"


def _processor(size: Mapping[str, int], mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """Return the preprocessing of a model of 224 x 224 pixels: bicubic, cropped where `size` is of one edge."""
    side = {"height": 224, "width": 224}
    return {
        "do_resize": True,
        "size": dict(size),
        "resample": 3,
        "do_center_crop": "shortest_edge" in size,
        **({"crop_size": side} if "shortest_edge" in size else {}),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
    }


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_DINOV2 = "Meta's DINOv2 (facebookresearch/dinov2, Apache-2.0), converted by Xenova"

PUBLISHED: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        PublishedModel(
            name="dinov2-small",
            summary="DINOv2 ViT-S/14, 384 features; learned from pictures alone",
            repository="Xenova/dinov2-small",
            revision="c2bb04a51fab207c420665f1946016107bffc701",
            path="onnx/model.onnx",
            size=88_459_888,
            sha256="83141175ec78b4ff9a2bb58a4c7c264ba0054d1c2e122e5a8114b79a8d4179ea",
            license="Apache-2.0",
            credit=_DINOV2,
            preprocessing=_processor({"shortest_edge": 256}, *_IMAGENET),
        ),
        PublishedModel(
            name="dinov2-base",
            summary="DINOv2 ViT-B/14, 768 features; learned from pictures alone",
            repository="Xenova/dinov2-base",
            revision="d623d125a29e343851bcedff293fdc8b6bda292b",
            path="onnx/model.onnx",
            size=346_555_570,
            sha256="de9c675d214f0171285f90f1d1d7716bce1c5e280e93826d071d57f7b9314d98",
            license="Apache-2.0",
            credit=_DINOV2,
            preprocessing=_processor({"shortest_edge": 256}, *_IMAGENET),
        ),
        PublishedModel(
            name="clip-vit-b32",
            summary="CLIP ViT-B/32, 512 features; learned from pictures and their captions",
            repository="Qdrant/clip-ViT-B-32-vision",
            revision="e0c24ed0fa57fa3e4f97f30de74c51d944036ace",
            path="model.onnx",
            size=351_686_194,
            sha256="c68d3d9a200ddd2a8c8a5510b576d4c94d1ae383bf8b36dd8c084f94e1fb4d63",
            license="MIT",
            credit="OpenAI's CLIP (openai/CLIP, MIT), converted by Qdrant",
            preprocessing=_processor({"shortest_edge": 224}, *_CLIP),
        ),
        PublishedModel(
            name="siglip-base",
            summary="SigLIP B/16, 768 features; learned from pictures and their captions",
            repository="Xenova/siglip-base-patch16-224",
            revision="4649052661e53c7000355844105f8a1792088239",
            path="onnx/vision_model.onnx",
            size=371_819_850,
            sha256="f89d41bac7f4d4b87e010a467d93f98689d708916ed22f5a07f96fdfa26f475f",
            license="Apache-2.0",
            credit="Google's SigLIP (google/siglip-base-patch16-224, Apache-2.0), converted by Xenova",
            preprocessing=_processor({"height": 224, "width": 224}, *_HALF),
        ),
    )
}
