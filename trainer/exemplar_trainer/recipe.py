"""Recipes: everything that decides what a training run does, as plain data.

`default` is the recipe to use. `seed` is the first sketch's network and loss with its faults mended, kept as the
baseline of every accuracy table.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation import Affine, Elastic


@dataclass(frozen=True)
class Recipe:
    """What a run does.

    Attributes:
        name: for people.
        network: a name in `NETWORKS`.
        loss: a name in `LOSSES`.
        preprocessing: the network's input.
        dimension: length of an embedding.
        steps: training steps.
        classes_per_batch: P of P x K batches; a siamese loss draws P x K / 2 pairs.
        images_per_class: K.
        group_share: share of a batch's classes, or of its pairs of two classes, drawn from one group.
        orientations: 4 to make quarter turns of a class classes of their own, 8 to add mirror images, else 1.
        affine: rotation, scale, shear and shift of training images.
        elastic: their bending.
        learning_rate: its peak.
        warm_up_steps: steps of linear rise before the cosine fall to 0; 0 for a constant rate.
        weight_decay: of AdamW, on weight matrices only.
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
    affine: Affine = field(default_factory=Affine)
    elastic: Elastic = field(default_factory=Elastic)
    learning_rate: float = 1.5e-3
    warm_up_steps: int = 200
    weight_decay: float = 1e-4
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
        return cls(**fields)


RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        name="default",
        network="residual",
        loss="nca-cosface",
        preprocessing=Preprocessing(48, 48, 1, resample="bilinear", framing="ink"),
        dimension=128,
        steps=10_000,
        classes_per_batch=96,
        images_per_class=2,
        group_share=0.5,
        orientations=8,
        affine=Affine(rotation=15.0, scale=(0.75, 1.25), shear=0.3, shift=0.06),
        elastic=Elastic(amplitude=0.03),
        learning_rate=2.5e-3,
        weight_decay=0.05,
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
