"""Learning from other networks, too: several distilled into one.

Labels say which pictures are of one class, and nothing of how alike two classes are; networks that were trained
before do. A linear map of a picture's embedding, learned beside the network, is to point where its teachers put the
same picture, as augmented. Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015; by a map of
what the student finds to what the teacher does: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from exemplar_encoder import Bundle, Preprocessing
from exemplar_encoder.bundle import WEIGHTS
from exemplar_trainer.augmentation.resizing import resized
from exemplar_trainer.data.wording import abridged
from exemplar_trainer.networks.fold_normalization import fold_normalization


class TeacherError(ValueError):
    """A bundle that this run cannot learn from."""


def load_teachers(paths: Sequence[str], preprocessing: Preprocessing, unseen: Collection[str]) -> list[Bundle]:
    """Read the bundles to learn from.

    Args:
        paths: their folders.
        preprocessing: the input of the network that learns; theirs may differ in size alone.
        unseen: names of what is held out to be measured on. A teacher that was trained on it would tell.

    Raises:
        BundleError: one is damaged.
        TeacherError: one is of no Keras network, takes another input, or saw what is to be measured on.
    """
    bundles = [Bundle.load(path) for path in paths]
    for bundle in bundles:
        if WEIGHTS not in bundle.manifest.files:
            raise TeacherError(f"{bundle.path} holds no Keras network ({WEIGHTS}), so it cannot be a teacher")
        theirs = bundle.manifest.preprocessing
        sized = replace(theirs, width=preprocessing.width, height=preprocessing.height)
        if sized != preprocessing or theirs.width * preprocessing.height != theirs.height * preprocessing.width:
            raise TeacherError(f"{bundle.path} takes another input than the recipe's, so it cannot be a teacher")
        training = bundle.manifest.training
        seen = sorted(set(unseen) - set(training["held_out"])) if training.get("training_classes") else []
        if seen:  # a network that was trained elsewhere names nothing that it saw
            raise TeacherError(
                f"{bundle.path} was not trained with {abridged(seen)} held out, and figures on what a teacher has "
                "seen are no figures; hold out what it held out, or take a teacher that held out as much"
            )
    return bundles


class Teachers:
    """Networks side by side, no layer and no variable of the network that learns from them."""

    def __init__(self, networks: Sequence[keras.Model], precision: str) -> None:
        """`networks` embed float32 `[n, height, width, channels]`, each of its size; they compute in `precision`."""
        self._networks = [_computing_in(precision, network) for network in networks]
        self.dimension = sum(network.output_shape[-1] for network in self._networks)

    def embed(self, images: Any) -> Any:
        """Return one unit vector an image, float32 `[n, dimension]`, of all their embeddings; gradients end there.

        Its cosines are the means of their cosines.
        """
        each = [network(resized(images, network.input_shape[1:3]), training=False) for network in self._networks]
        return ops.stop_gradient(ops.concatenate(each, axis=-1) / math.sqrt(len(each)))


class Distillation(keras.layers.Layer):
    """The loss: `weight` times the mean of 1 - cosine between mapped embeddings and the teachers'."""

    def __init__(self, taught: int, weight: float = 60.0) -> None:
        """`taught`: length of the teachers' vectors. The map is this layer's and stays out of the bundle."""
        super().__init__(name="distillation", dtype="float32")
        self.taught, self.weight = taught, weight

    def build(self, embeddings_shape: tuple[int | None, ...]) -> None:
        """Create the map `[dimension, taught]`."""
        self.map = self.add_weight(shape=(embeddings_shape[-1], self.taught), initializer="random_normal", name="map")

    def call(self, embeddings: Any, taught: Any) -> Any:
        """Compare embeddings float32 `[n, dimension]` with the teachers', unit vectors `[n, taught]`; scalar out."""
        mapped = ops.normalize(ops.matmul(embeddings, self.map), axis=-1)
        return self.weight * (1.0 - ops.mean(ops.sum(mapped * taught, axis=-1)))


def _computing_in(precision: str, network: keras.Model) -> keras.Model:
    """Copy a network with its layers in a precision, but for the last one: its vectors must be of unit length."""
    plain = fold_normalization(network)

    def clone(layer: keras.Layer) -> keras.Layer:
        policy = {} if layer is plain.layers[-1] else {"dtype": precision}
        copy: keras.Layer = type(layer).from_config({**layer.get_config(), **policy})
        return copy

    copy = keras.models.clone_model(plain, clone_function=clone)
    copy.set_weights(plain.get_weights())
    return copy
