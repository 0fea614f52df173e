"""A network from elsewhere is served as the trainer's own are, or refused by a sentence that says what it takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exemplar_encoder import Bundle, BundleError, load_encoder
from exemplar_encoder import bundle as layout
from exemplar_encoder.bundle import seal
from exemplar_encoder.encoder import EngineName
from tests.onnx_bundles import make_onnx_bundle, network, reference

SHAPE = (32, 32, 1)


def refusal(path: Path, engine: EngineName = "auto") -> str:
    with pytest.raises(BundleError) as caught:
        load_encoder(path, engine, threads=1)
    return str(caught.value)


@pytest.mark.parametrize("batch", ["n", 1, 5, 40])
def test_any_number_of_images_is_embedded_whatever_batch_the_graph_was_made_for(
    tiny_bundle: Path, tmp_path: Path, batch: int | str
) -> None:
    encoder = load_encoder(make_onnx_bundle(tiny_bundle, tmp_path / "bundle", batch), "onnx", threads=1)
    for count in (0, 1, 5, 9, 33):
        pixels = np.random.default_rng(count).integers(0, 256, (count, *SHAPE), dtype=np.uint8)
        embeddings = encoder.embed(pixels)
        assert embeddings.shape == (count, encoder.dimension)
        assert embeddings.dtype == np.float32
        assert np.abs(embeddings - reference(pixels)).max(initial=0) < 1e-5


def test_on_a_cpu_an_embedding_has_the_same_bits_whatever_else_is_embedded(onnx_bundle: Path) -> None:
    encoder = load_encoder(onnx_bundle, threads=2)
    pixels = np.random.default_rng(0).integers(0, 256, (11, *SHAPE), dtype=np.uint8)
    together = encoder.embed(pixels)
    for index in range(11):
        assert np.array_equal(encoder.embed(pixels[index : index + 1])[0], together[index])


# Which engine runs a bundle


def test_auto_takes_what_the_bundle_is_made_for(onnx_bundle: Path) -> None:
    assert Bundle.load(onnx_bundle).engines == ("onnx",)
    assert load_encoder(onnx_bundle, threads=1).engine_name == "onnx"


def test_auto_prefers_litert_in_a_bundle_for_both(tiny_bundle: Path, tmp_path: Path) -> None:
    both = make_onnx_bundle(tiny_bundle, tmp_path / "bundle")
    golden = (tiny_bundle / layout.GOLDEN_EMBEDDINGS).read_bytes()
    (both / layout.GOLDEN_EMBEDDINGS).write_bytes(golden)
    (both / layout.LITERT).write_bytes((tiny_bundle / layout.LITERT).read_bytes())
    seal(both, Bundle.load(tiny_bundle).manifest)
    assert Bundle.load(both).engines == ("litert", "onnx")
    assert load_encoder(both, threads=1).engine_name == "litert"


def test_an_engine_that_a_bundle_is_not_made_for_is_named_with_those_that_it_is_made_for(
    onnx_bundle: Path, tiny_bundle: Path
) -> None:
    said = "is not made for engine litert: model.tflite is missing; it is made for onnx"
    assert refusal(onnx_bundle, "litert") == f"{onnx_bundle} {said}"
    said = "is not made for engine onnx: model.onnx is missing; it is made for litert and tensorflow"
    assert refusal(tiny_bundle, "onnx") == f"{tiny_bundle} {said}"


@pytest.mark.parametrize(
    ("engine", "module", "extra"), [("onnx", "onnxruntime", "onnx"), ("litert", "ai_edge_litert", "encoder")]
)
def test_an_engine_that_is_not_installed_is_named_with_what_installs_it(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, engine: EngineName, module: str, extra: str
) -> None:
    bundle: Path = request.getfixturevalue("onnx_bundle" if engine == "onnx" else "tiny_bundle")
    monkeypatch.delitem(sys.modules, f"exemplar_encoder.engines.{engine}", raising=False)
    for name in [name for name in sys.modules if name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    message = refusal(bundle, engine)
    assert f"engine {engine} needs {module}" in message
    assert f"pip install 'exemplar[{extra}]'" in message


def test_neither_tensorflow_nor_litert_is_loaded_for_it_and_nothing_is_said(onnx_bundle: Path) -> None:
    program = (
        "import sys; from exemplar_encoder import load_encoder; load_encoder(sys.argv[1]);"
        "print({'tensorflow', 'keras', 'ai_edge_litert', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(onnx_bundle)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "{'onnxruntime'}\n"
    assert done.stderr == ""


# What is refused


def of_floats(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def of_flat_pixels(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 1024]))


def with_another_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.UINT8, ["n", 1]))


def with_another_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 24]))


def to_doubles(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Cast", ["embeddings"], ["wide"], to=TensorProto.DOUBLE))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("wide", TensorProto.DOUBLE, ["n", 24]))


def to_maps(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("ink", TensorProto.FLOAT, ["n", *SHAPE]))


WANTED, GIVEN = "not one uint8 [n, height, width, channels]", "not one float [n, dimension]"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of_floats, f"takes float [n, 32, 32, 1], {WANTED}"),
        (of_flat_pixels, f"takes uint8 [n, 1024], {WANTED}"),
        (with_another_input, f"takes uint8 [n, 32, 32, 1] and uint8 [n, 1], {WANTED}"),
        (with_another_output, f"gives float [n, 24] and float [n, 24], {GIVEN}"),
        (to_doubles, f"gives double [n, 24], {GIVEN}"),
        (to_maps, f"gives float [n, 32, 32, 1], {GIVEN}"),
    ],
)
def test_a_graph_that_does_not_turn_pixels_into_embeddings_is_refused(
    tiny_bundle: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], None], said: str
) -> None:
    bundle = make_onnx_bundle(tiny_bundle, tmp_path / "bundle")
    manifest = Bundle.load(bundle).manifest
    model = network(SHAPE)
    change(model)
    onnx.save(model, bundle / layout.ONNX)
    seal(bundle, manifest)
    assert refusal(bundle) == f"{bundle / layout.ONNX} cannot be run: the network {said}"
