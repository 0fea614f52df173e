"""Recipes: everything that decides what a training run does, as plain data.

`default` is the recipe for black on white, `color` the one for colored pictures; both train from nothing. `photo`
fine-tunes a network that others trained. `seed` is the first sketch's network and loss with its faults mended, kept
as the baseline of every accuracy table.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation.color import ColorJitter
from exemplar_trainer.augmentation.geometry import Affine, Elastic


@dataclass(frozen=True)
class Recipe:
    """What a run does.

    Attributes:
        name: for people.
        network: a name in `NETWORKS`.
        weights: what the network begins with, of a backbone only: "imagenet", the path of a weights file, or "" for
            freshly drawn ones.
        frozen: train the embedding layer alone and leave the backbone as it came.
        loss: a name in `LOSSES`.
        preprocessing: the network's input.
        dimension: length of an embedding.
        steps: training steps.
        classes_per_batch: P of P x K batches; a siamese loss draws P x K / 2 pairs.
        images_per_class: K.
        group_share: share of a batch's classes, or of its pairs of two classes, drawn from one group.
        orientations: 4 to make quarter turns of a class classes of their own, 8 to add mirror images, else 1.
        early_size: longer side of the images in the first half of the steps, in pixels, see `size_schedule`; 0: the
            input's own.
        affine: rotation, scale, shear and shift of training images.
        elastic: their bending.
        thickness: up to so many pixels are strokes thicker or thinner on each side, 0 to 1.
        colors: their change of color.
        optimizer: "muon", see `optimizer`, or "adamw".
        learning_rate: its peak.
        warm_up_steps: steps of linear rise before the cosine fall to 0; 0 for a constant rate.
        weight_average: how much of the running average of the weights stays at each step, such as 0.999, less in the
            first ones, see `averaging`; the average is what is kept, with the statistics of the last ones. 0: none.
        weight_decay: a share of the learning rate by which weight matrices shrink at each step.
        whiten: even out the spread within classes when training is done, see `whitening`.
        seed: of weights, batches and augmentation.
        precision: what the network computes in while it is trained; its weights are float32 always. bfloat16 is
            faster where the processor has it (AVX512-BF16, AMX, a GPU), and slower where it does not.
    """

    name: str
    network: str
    loss: str
    preprocessing: Preprocessing
    dimension: int
    steps: int
    classes_per_batch: int
    images_per_class: int
    group_share: float
    orientations: Literal[1, 4, 8]
    early_size: int = 0
    affine: Affine = field(default_factory=Affine)
    elastic: Elastic = field(default_factory=Elastic)
    thickness: float = 0.0
    colors: ColorJitter = field(default_factory=ColorJitter)
    weights: str = ""
    frozen: bool = False
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1.5e-3
    warm_up_steps: int = 200
    weight_average: float = 0.0
    weight_decay: float = 1e-4
    whiten: bool = False
    seed: int = 0
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    def to_json(self) -> str:
        """As text for a run's folder."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        spec, affine = dict(fields["preprocessing"]), dict(fields["affine"])
        spec["background"] = tuple(spec["background"])
        affine["scale"] = tuple(affine["scale"])
        fields["preprocessing"] = Preprocessing(**spec)
        fields["affine"] = Affine(**affine)
        fields["elastic"] = Elastic(**fields["elastic"])
        fields["colors"] = ColorJitter(**fields.get("colors", {}))
        return cls(**fields)


RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        name="default",
        network="residual",
        loss="nca-cosface",
        preprocessing=Preprocessing(64, 64, 1, resample="bilinear", framing="ink", levels="stretched"),
        dimension=128,
        steps=4_000,
        classes_per_batch=96,
        images_per_class=2,
        group_share=0.5,
        orientations=8,
        affine=Affine(rotation=15.0, scale=(0.75, 1.25), shear=0.3, shift=0.06),
        elastic=Elastic(amplitude=0.03),
        optimizer="muon",
        learning_rate=3.5e-3,
        weight_decay=0.05,
        whiten=True,
    ),
    "color": Recipe(
        name="color",
        network="residual",
        loss="nca-cosface",
        preprocessing=Preprocessing(64, 64, 3, resample="bilinear"),
        dimension=128,
        steps=1_500,
        classes_per_batch=64,
        images_per_class=4,
        group_share=0.5,
        orientations=8,
        affine=Affine(rotation=15.0, scale=(0.7, 1.3), shear=0.2, shift=0.1),
        elastic=Elastic(amplitude=0.03),
        colors=ColorJitter(brightness=0.2, contrast=0.4, saturation=0.6, hue=0.08, channel=0.2, gray=0.15),
        optimizer="muon",
        learning_rate=3.5e-3,
        weight_decay=0.05,
        whiten=True,
    ),
    "photo": Recipe(
        name="photo",
        network="efficientnetv2-b0",
        weights="imagenet",
        loss="nca-cosface",
        preprocessing=Preprocessing(224, 224, 3, resample="bilinear"),
        dimension=256,
        steps=3_000,
        classes_per_batch=32,
        images_per_class=2,
        group_share=0.5,
        orientations=1,
        affine=Affine(rotation=15.0, scale=(0.7, 1.5), shear=0.15, shift=0.1),
        colors=ColorJitter(brightness=0.2, contrast=0.3, saturation=0.4, hue=0.03, channel=0.1, gray=0.05),
        learning_rate=3e-4,
        weight_decay=0.01,
    ),
    "seed": Recipe(
        name="seed",
        network="seed",
        loss="contrastive",
        preprocessing=Preprocessing(100, 100, 1),
        dimension=256,
        steps=600,
        classes_per_batch=32,
        images_per_class=2,
        group_share=0.0,
        orientations=1,
        learning_rate=1e-3,
        warm_up_steps=0,
        weight_decay=0.0,
    ),
}
