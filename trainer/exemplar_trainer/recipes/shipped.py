"""The recipes that ship.

`default` is the recipe for black on white, `color` the one for colored pictures; both train from nothing. `photo`
fine-tunes a network that others trained. `seed` is the first sketch's network and loss with its faults mended, kept
as the baseline of every accuracy table.
"""

from __future__ import annotations

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation.color import ColorJitter
from exemplar_trainer.augmentation.geometry import Affine, Elastic
from exemplar_trainer.recipes.recipe import Recipe

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
