"""A recipe: everything that decides what a training run does, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation.color import ColorJitter
from exemplar_trainer.augmentation.geometry import Affine, Elastic


@dataclass(frozen=True)
class Recipe:
    """Decides all that a run does.

    Attributes:
        name: for people.
        network: a name in `NETWORKS`, or the path of a `.keras` file that holds a backbone.
        weights: initial ones, of a backbone only: "imagenet", the path of a weights file (of a backbone's own file,
            that one), or "" for freshly drawn ones.
        frozen: train the embedding layer alone and leave the backbone as it came.
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
        colors: their change of color.
        optimizer: "muon", see `training.muon`, or "adamw".
        learning_rate: its peak.
        warm_up_steps: steps of linear rise before the cosine fall to 0; 0 for a constant rate.
        weight_decay: a share of the learning rate by which weight matrices shrink at each step.
        whiten: even out the spread within classes when training is done, see `training.whitening`.
        seed: of weights, batches and augmentation.
        precision: the numbers that the network computes with while it is trained; its weights are float32 always.
            bfloat16 is faster where the processor has it (AVX512-BF16, AMX, a GPU), and slower where it does not.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

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
    colors: ColorJitter = field(default_factory=ColorJitter)
    weights: str = ""
    frozen: bool = False
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1.5e-3
    warm_up_steps: int = 200
    weight_decay: float = 1e-4
    whiten: bool = False
    seed: int = 0
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    @property
    def background(self) -> tuple[int, ...]:
        """The background color in the network's own channels, each from 0 to 255."""
        spec = self.preprocessing
        return spec.background if spec.channels == 3 else (spec.gray_background,)

    def fields(self) -> dict[str, Any]:
        """Return the recipe as JSON has it."""
        recorded: dict[str, Any] = TypeAdapter(Recipe).dump_python(self, mode="json")
        return recorded
