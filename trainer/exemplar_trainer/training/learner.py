"""The model that is trained: augmentation, base network and loss in one, on any Keras backend.

The base network alone is the product; augmentation and the loss's own weights stay behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from exemplar_trainer.augmentation.distort import Distort
from exemplar_trainer.augmentation.recolor import Recolor
from exemplar_trainer.losses import LOSSES
from exemplar_trainer.networks import builder
from exemplar_trainer.networks.backbone import freeze, load_pretrained
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.training.distillation import Distillation, Teachers
from exemplar_trainer.training.fused_normalization import with_fused_normalization
from exemplar_trainer.training.muon import ConvolutionalMuon


class MetricLearner(keras.Model):
    """Maps a batch, see `batches.make_batch`, to embeddings, and labels to a loss."""

    def __init__(self, recipe: Recipe, class_count: int, teachers: Teachers | None) -> None:
        """See `build_learner`."""
        # Transforms must not be rounded to half precision on their way in; the layers within have their own policy.
        super().__init__(name="metric_learner", dtype="float32")
        network = builder(recipe.network)(recipe.preprocessing.shape, recipe.dimension)
        self.base_network = with_fused_normalization(network)
        if recipe.weights:
            load_pretrained(self.base_network, recipe.network, recipe.weights)
        if recipe.frozen:
            freeze(self.base_network)
        self.augmentation = Distort(recipe.background)
        self.recoloring = Recolor()
        self.teachers = teachers
        self.distillation = Distillation(teachers.dimension) if teachers else None
        self.metric_loss = LOSSES[recipe.loss](class_count, recipe.orientations)

    def build(self, inputs_shape: Any) -> None:
        """Create the variables that the base network does not hold."""
        embeddings = (None, self.base_network.output_shape[-1])
        self.metric_loss.build(embeddings)
        if self.distillation is not None:
            self.distillation.build(embeddings)
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return `{"embeddings": float32 [n, dimension]}`, and the teachers' of the same images as "taught"."""
        distorted = self.augmentation(inputs["images"], inputs["transforms"], inputs["displacements"])
        images = self.recoloring(distorted, inputs["colors"])
        found = {"embeddings": self.base_network(images, training=training)}
        if self.teachers is not None:
            found["taught"] = self.teachers.embed(images)
        return found

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of `y_pred`, from `call`, by labels `y`, and by the teachers where there are any."""
        loss = self.metric_loss(y_pred["embeddings"], y)
        if self.distillation is not None:
            loss = loss + self.distillation(y_pred["embeddings"], y_pred["taught"])
        return loss


def build_learner(recipe: Recipe, class_count: int, teachers: Teachers | None = None) -> MetricLearner:
    """Build and compile a learner at step 0, all its variables and the optimizer's created.

    Args:
        recipe: what to do.
        class_count: how many labels the sampler can give.
        teachers: to learn from beside the labels.

    Raises:
        WeightsError: the recipe's pretrained weights cannot be had.
        ValueError: the network cannot take the recipe's input.
    """
    keras.utils.set_random_seed(recipe.seed)
    with _computing_in(recipe.precision):
        learner = MetricLearner(recipe, class_count, teachers)
    learner.build(None)
    rate: Any = recipe.learning_rate
    if recipe.warm_up_steps:
        warm_up = min(recipe.warm_up_steps, max(1, recipe.steps // 5))
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=max(1, recipe.steps - warm_up),
            warmup_target=recipe.learning_rate,
            warmup_steps=warm_up,
        )
    decay = recipe.weight_decay
    if recipe.optimizer == "muon":
        optimizer = ConvolutionalMuon(rate, weight_decay=decay, adam_weight_decay=decay)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    learner.compile(optimizer=optimizer, jit_compile=_xla_pays())
    return learner


def state(learner: keras.Model) -> list[keras.Variable]:
    """Return every variable of a learner, then its optimizer's."""
    if not learner.optimizer.built:
        learner.optimizer.build(learner.trainable_variables)
    return [*learner.variables, *learner.optimizer.variables]


def as_served(network: keras.Model, recipe: Recipe) -> keras.Model:
    """Return a base network as it is served: stock layers in float32, whatever it was trained with."""
    served = builder(recipe.network)(recipe.preprocessing.shape, recipe.dimension)
    served.set_weights(network.get_weights())
    return served


@contextmanager
def _computing_in(precision: str) -> Iterator[None]:
    """Have layers that are made meanwhile compute in this precision."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def _xla_pays() -> bool:
    """Return whether to compile by XLA: JAX always does, on a CPU TensorFlow does better without, Torch has none."""
    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and bool(keras.distribution.list_devices("gpu")))
