"""A model of ONNX as the network of a bundle: run by ONNX Runtime as it will be served, and written as one file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import onnx

from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Floats, Floats64, Pixels
from exemplar_encoder.engines import run_padded
from exemplar_encoder.engines.onnx import OnnxEngine
from exemplar_encoder.processors import processors
from exemplar_trainer.bundles.network import ModelError
from exemplar_trainer.bundles.onnx_graph import finish


@dataclass(frozen=True)
class OnnxNetwork:
    """The `Network` of a graph from `wrap`, with a linear map behind it where it was adapted.

    Attributes:
        graph: from uint8 `[n, height, width, channels]` to features, float32 `[n, dimension]`.
        name: of the model, for messages.
        engine: what runs the graph.
        matrix: float32 `[dimension, dimension]`, to multiply features by from the right.
        offset: float32 `[dimension]`, to add then.
    """

    graph: onnx.ModelProto
    name: str
    engine: OnnxEngine
    matrix: Floats | None = None
    offset: Floats | None = None

    @classmethod
    def start(cls, graph: onnx.ModelProto, name: str) -> Self:
        """Start an engine on a graph from `wrap`."""
        with tempfile.TemporaryDirectory() as folder:
            return cls(graph, name, _written(graph, Path(folder) / layout.ONNX))

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return int(self.graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value)

    def embed(self, pixels: Pixels) -> Floats:
        """Return embeddings of unit length, float32 `[n, dimension]`; as `features` for errors."""
        features = self.features(pixels)
        length = np.linalg.norm(features, axis=1, keepdims=True)
        return (features / np.where(length > 0, length, 1)).astype(np.float32)

    def features(self, pixels: Pixels) -> Floats:
        """Return the model's vectors, mapped where it was adapted, float32 `[n, dimension]`.

        Raises:
            ModelError: they hold values that are no numbers.
        """
        features = run_padded(self.engine, pixels, self.dimension)
        if not np.isfinite(features).all():
            raise ModelError(
                f"{self.name} makes values that are no numbers of some pictures; export it in full precision, or "
                "name another --output"
            )
        if self.matrix is not None and self.offset is not None:
            features = features @ self.matrix + self.offset
        return features

    def adapted(self, matrix: Floats64, offset: Floats64) -> OnnxNetwork:
        """Return a network whose features go through one more linear map; see `Network`."""
        if self.matrix is not None and self.offset is not None:
            matrix, offset = self.matrix @ matrix, self.offset @ matrix + offset
        return replace(self, matrix=matrix.astype(np.float32), offset=offset.astype(np.float32))

    def write(self, folder: Path, pixels: Pixels) -> Floats:
        """Write `model.onnx`; see `Network`."""
        engine = _written(finish(self.graph, self.matrix, self.offset), folder / layout.ONNX)
        return run_padded(engine, pixels, self.dimension)


def _written(graph: onnx.ModelProto, file: Path) -> OnnxEngine:
    onnx.save_model(graph, file)
    return OnnxEngine(file, processors())
