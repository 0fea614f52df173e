"""A model of ONNX in a bundle: pixels go in, and what comes out is what NumPy and the model alone make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.engines import run_padded
from exemplar_encoder.engines.onnx import OnnxEngine
from exemplar_trainer.bundles.network import ModelError
from exemplar_trainer.bundles.onnx_file import read_onnx
from exemplar_trainer.bundles.onnx_graph import wrap
from exemplar_trainer.bundles.onnx_network import OnnxNetwork
from exemplar_trainer.bundles.scaling import Scaling
from tests.trainer.onnx_reference import averages, channels_last, reference, sizes
from tests.trainer.tiny_onnx import HUGGING_FACE, VECTOR, tiny_onnx, write_onnx

PLAIN = Scaling(1 / 255)
NORMALIZED = Scaling(1 / 255, mean=(0.48, 0.45, 0.4), std=(0.22, 0.24, 0.3))


def pictures(count: int = 5, shape: tuple[int, int, int] = (32, 32, 3)) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def network(
    model: onnx.ModelProto,
    folder: Path,
    output: str = "",
    scaling: Scaling = PLAIN,
    size: tuple[int, int] = (32, 32),
    external: bool = False,
) -> OnnxNetwork:
    file = write_onnx(model, folder / "model.onnx", external=external)
    return OnnxNetwork.start(wrap(read_onnx(file, output), scaling, *size), file.name)


def written(made: OnnxNetwork, folder: Path, pixels: Pixels) -> Floats:
    """Write a network to a folder, and embed by what stands in its file alone."""
    folder.mkdir()
    told = made.write(folder, pixels)
    assert [each.name for each in folder.iterdir()] == [layout.ONNX]
    embeddings = run_padded(OnnxEngine(folder / layout.ONNX, threads=1), pixels, made.dimension)
    np.testing.assert_allclose(embeddings, told, atol=1e-6)
    return embeddings


@pytest.mark.parametrize("form", ["vector", "tokens", "map"])
@pytest.mark.parametrize("last", [False, True])
def test_vectors_are_taken_as_they_are_of_tokens_the_first_and_of_maps_the_average(
    form: str, last: bool, tmp_path: Path
) -> None:
    model = tiny_onnx({"found": form})  # type: ignore[dict-item]
    model = channels_last(model) if last else model
    made = network(model, tmp_path, scaling=NORMALIZED)
    output = model.graph.output[0].name
    pixels = pictures()
    expected = reference(model, output, pixels, NORMALIZED.mean, NORMALIZED.std, channels_last=last)
    assert np.ptp(expected, axis=0).max() > 1e-2
    np.testing.assert_allclose(made.embed(pixels), expected, atol=1e-5)
    np.testing.assert_allclose(written(made, tmp_path / "bundle", pixels), expected, atol=1e-5)
    features = made.features(pixels)
    np.testing.assert_allclose(features / np.linalg.norm(features, axis=1, keepdims=True), expected, atol=1e-5)


def test_blue_goes_in_first_where_the_model_wants_it(tmp_path: Path) -> None:
    model, pixels = tiny_onnx(), pictures()
    scaling = Scaling(1 / 255, NORMALIZED.mean, NORMALIZED.std, bgr=True)
    expected = reference(model, "embeddings", pixels, NORMALIZED.mean, NORMALIZED.std, bgr=True)
    np.testing.assert_allclose(network(model, tmp_path, scaling=scaling).embed(pixels), expected, atol=1e-5)


def test_a_model_of_one_channel_takes_gray_pictures(tmp_path: Path) -> None:
    model, pixels = tiny_onnx(channels=1), pictures(shape=(32, 32, 1))
    made = network(model, tmp_path, scaling=Scaling(1 / 255, mean=(0.5,), std=(0.25,)))
    np.testing.assert_allclose(made.embed(pixels), reference(model, "embeddings", pixels, [0.5], [0.25]), atol=1e-5)


@pytest.mark.parametrize("element_type", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_a_model_gets_and_gives_numbers_of_its_own_precision(element_type: int, tmp_path: Path) -> None:
    model, pixels = averages(element_type), pictures(shape=(16, 16, 3))
    means = pixels.mean(axis=(1, 2)) / 255
    made = network(model, tmp_path, size=(16, 16))
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(
        made.embed(pixels), expected, atol=1e-3 if element_type == TensorProto.FLOAT16 else 1e-6
    )


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_a_model_serves_in_the_batches_that_it_takes(batch: int | str, tmp_path: Path) -> None:
    pixels = pictures(7)
    made = network(tiny_onnx(batch=batch), tmp_path)
    np.testing.assert_allclose(made.embed(pixels), reference(tiny_onnx(), "embeddings", pixels), atol=1e-5)
    assert made.embed(pixels[:0]).shape == (0, made.dimension)


def test_a_model_that_says_any_number_and_takes_one_picture_is_served_one_by_one(tmp_path: Path) -> None:
    model, pixels = averages(), pictures(shape=(16, 16, 3))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3]), "shape"))
    model.graph.node.append(helper.make_node("Reshape", ["averages", "shape"], ["reshaped"]))
    model.graph.output[0].name = "reshaped"
    made = network(model, tmp_path, size=(16, 16))
    np.testing.assert_allclose(made.embed(pixels), reference(averages(), "averages", pixels), atol=1e-5)


def test_sizes_that_a_file_leaves_open_are_those_asked_for(tmp_path: Path) -> None:
    model, pixels = tiny_onnx(HUGGING_FACE, size=None), pictures(shape=(24, 40, 3))
    made = network(model, tmp_path, "last_hidden_state", size=(24, 40))
    np.testing.assert_allclose(made.embed(pixels), reference(model, "last_hidden_state", pixels), atol=1e-5)


def test_a_file_holds_all_its_weights_states_its_shapes_and_keeps_its_opset(tmp_path: Path) -> None:
    model = tiny_onnx(size=None, dimension=40)
    made = network(model, tmp_path, external=True)
    written(made, tmp_path / "bundle", pictures())
    file = tmp_path / "bundle" / layout.ONNX
    onnx.checker.check_model(str(file), full_check=True)
    found = onnx.load(file, load_external_data=False)
    assert [sizes(each) for each in (*found.graph.input, *found.graph.output)] == [["n", 32, 32, 3], ["n", 40]]
    assert found.opset_import[0].version == model.opset_import[0].version
    assert not any(weight.external_data for weight in found.graph.initializer)


def test_a_linear_map_goes_between_features_and_unit_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    made, pixels = network(tiny_onnx(), tmp_path), pictures()
    first, second = rng.normal(size=(2, 12, 12))
    offset, other = rng.normal(size=(2, 12))
    mapped = made.features(pixels) @ first + offset
    once, twice = made.adapted(first, offset), made.adapted(first, offset).adapted(second, other)
    for found, expected in ((once, mapped), (twice, mapped @ second + other)):
        unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(found.features(pixels), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.embed(pixels), unit, atol=1e-5)
    np.testing.assert_allclose(written(twice, tmp_path / "bundle", pixels), twice.embed(pixels), atol=1e-5)


def test_a_vector_of_zeros_stays_one(tmp_path: Path) -> None:
    made = network(tiny_onnx(), tmp_path).adapted(np.zeros((12, 12)), np.zeros(12))
    assert not made.embed(pictures()).any()
    assert not written(made, tmp_path / "bundle", pictures()).any()


def test_values_that_are_no_numbers_are_an_error_and_no_embedding(tmp_path: Path) -> None:
    made = network(averages(last=["Log"]), tmp_path, size=(16, 16))
    assert np.isfinite(made.embed(pictures(shape=(16, 16, 3)))).all()
    with pytest.raises(ModelError, match=r"model\.onnx makes values that are no numbers of some pictures"):
        made.embed(np.zeros((2, 16, 16, 3), np.uint8))


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        (tiny_onnx(), (32, 48), "takes pictures of 32 x 32 pixels, not of 48 x 32"),
        (tiny_onnx(size=None), (4, 4), "cannot be run on a picture of 4 x 4 pixels: "),
        (averages(last=["Size"]), (16, 16), r"output Size0 is \[\] for 1 picture; it must be \[n, dimension\]"),
        (averages(last=["Shape"]), (16, 16), r"output Shape0 is \[2\] for 1 picture"),
    ],
)
def test_a_model_that_makes_no_vectors_of_such_pictures_is_refused(
    model: onnx.ModelProto, size: tuple[int, int], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=words):
        network(model, tmp_path, size=size)


def test_a_model_of_long_ago_is_refused_by_its_opset(tmp_path: Path) -> None:
    model = averages()
    model.opset_import[0].version = 6
    with pytest.raises(ModelError, match="is of opset 6; export it with opset 7 or a later one"):
        network(model, tmp_path, size=(16, 16))


def test_the_default_output_of_a_plain_model_is_its_only_one(tmp_path: Path) -> None:
    assert list(VECTOR) == [read_onnx(write_onnx(tiny_onnx(), tmp_path / "model.onnx")).output]
