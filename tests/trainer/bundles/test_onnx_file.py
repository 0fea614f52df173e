"""A file of ONNX is cut to what makes one output of pictures, or refused by what it has instead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exemplar_trainer.bundles.network import ModelError
from exemplar_trainer.bundles.onnx_file import read_onnx
from tests.trainer.onnx_reference import averages, channels_last
from tests.trainer.tiny_onnx import HUGGING_FACE, Form, tiny_onnx, write_onnx

GIGABYTES = 3 * 2**30


def names(values: Iterable[Any]) -> set[str]:
    return {each.name for each in values}


def written(model: onnx.ModelProto, folder: Path, external: bool = False) -> Path:
    return write_onnx(model, folder / "model.onnx", external=external)


def outside(file: str, length: int, name: str = "large") -> onnx.TensorProto:
    """Return a weight whose values are in a file of its own."""
    weight = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[length // 4])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    return weight


# Which output


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ({"anything": "map"}, "anything"),
        ({"first": "tokens", "second": "vector"}, "first"),
        (HUGGING_FACE, "pooler_output"),
        ({"pooler_output": "vector", "image_embeds": "vector"}, "image_embeds"),
    ],
)
@pytest.mark.parametrize("text", [False, True])
def test_an_output_made_for_comparing_goes_before_the_first_that_is_made_of_pictures(
    outputs: Mapping[str, Form], chosen: str, text: bool, tmp_path: Path
) -> None:
    assert read_onnx(written(tiny_onnx(outputs, text=text), tmp_path)).output == chosen


@pytest.mark.parametrize("name", ["last_hidden_state", "features"])
def test_any_output_and_any_tensor_within_can_be_named(name: str, tmp_path: Path) -> None:
    assert read_onnx(written(tiny_onnx(HUGGING_FACE), tmp_path), name).output == name


def test_what_the_output_does_not_need_is_cut_off(tmp_path: Path) -> None:
    whole = tiny_onnx({"image_embeds": "vector", "other": "map"}, text=True)
    graph = read_onnx(written(whole, tmp_path)).proto.graph
    assert names(graph.input) == {"pixel_values"}
    assert names(whole.graph.initializer) - names(graph.initializer) == {"text_weights", "other_filters"}
    assert {name for node in graph.node for name in node.output}.isdisjoint({"text_embeds", "other"})


def test_what_branches_within_read_is_kept(tmp_path: Path) -> None:
    model = averages()
    branches: dict[str, Any] = {
        key: helper.make_graph(
            [helper.make_node("Mul", ["averages", factor], [key])],
            key,
            [],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, None)],
        )
        for key, factor in (("then_branch", "two"), ("else_branch", "three"))
    }
    model.graph.node.append(helper.make_node("If", ["always"], ["chosen"], **branches))
    for name, value in (("always", True), ("two", np.float32(2)), ("three", np.float32(3))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    found = read_onnx(written(model, tmp_path), "chosen").proto.graph
    assert names(found.initializer) == {"always", "two", "three"}
    assert [node.op_type for node in found.node] == ["ReduceMean", "If"]


def test_weights_that_an_old_file_lists_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = tiny_onnx()
    model.ir_version = 3
    for weight in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    found = read_onnx(written(model, tmp_path))
    assert names(found.proto.graph.input) == {"pixel_values"}


@pytest.mark.parametrize(
    ("model", "output", "words"),
    [
        (tiny_onnx(HUGGING_FACE), "logits", r"no output 'logits', .*; its outputs: last_hidden_state, pooler_output"),
        (tiny_onnx(text=True), "text_embeds", "output text_embeds needs the inputs input_ids, attention_mask"),
        (tiny_onnx(gain=True), "", "output embeddings needs the inputs pixel_values, gain; .* with --output"),
        (tiny_onnx({"a": "map", "b": "map"}, gain=True), "", "no output of floats .* of pictures alone; .*: a, b"),
        (tiny_onnx(channels=4), "", r"takes pixel_values, float \[batch, 4, 32, 32\]; it needs pictures of 1 or 3"),
        (tiny_onnx(text=True), "words", "needs the inputs input_ids, attention_mask"),
        (averages(TensorProto.UINT8), "", r"is made of pictures, uint8 \[n, 3, 16, 16\]; pictures are floats"),
    ],
)
def test_an_output_that_is_not_made_of_pictures_alone_is_refused_by_what_it_needs(
    model: onnx.ModelProto, output: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=words):
        read_onnx(written(model, tmp_path), output)


# How pictures go in


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (tiny_onnx(size=(16, 24)), (None, 16, 24, 3, False)),
        (channels_last(tiny_onnx(size=(16, 24), batch=2)), (2, 16, 24, 3, True)),
        (tiny_onnx(size=None, channels=1), (None, None, None, 1, False)),
        (channels_last(tiny_onnx(size=None)), (None, None, None, 3, True)),
    ],
)
def test_the_order_of_an_input_is_told_by_where_its_channels_are(
    model: onnx.ModelProto, expected: tuple[object, ...], tmp_path: Path
) -> None:
    found = read_onnx(written(model, tmp_path))
    assert (found.batch, found.height, found.width, found.channels, found.channels_last) == expected


def test_an_input_that_names_all_its_sizes_takes_color_with_channels_first(tmp_path: Path) -> None:
    model = tiny_onnx(size=None)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "num_channels"
    found = read_onnx(written(model, tmp_path))
    assert (found.channels, found.channels_last) == (3, False)


# Weights in files of their own


def test_weights_beside_a_file_are_read_in_through_links_too(tmp_path: Path) -> None:
    model = tiny_onnx(dimension=64)
    file = written(model, tmp_path / "blobs", external=True)
    linked = tmp_path / "snapshot" / "model.onnx"
    linked.parent.mkdir()
    for each in file.parent.iterdir():
        (linked.parent / each.name).symlink_to(each)
    for each in (file, linked):
        found = {weight.name: weight for weight in read_onnx(each).proto.graph.initializer}
        for weight in model.graph.initializer:
            np.testing.assert_array_equal(numpy_helper.to_array(found[weight.name]), numpy_helper.to_array(weight))


def test_weights_that_are_missing_or_cut_short_are_named(tmp_path: Path) -> None:
    file = written(tiny_onnx(dimension=64), tmp_path, external=True)
    beside = tmp_path / "model.onnx_data"
    beside.write_bytes(beside.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.onnx_data, which holds the weights of model\.onnx, is cut short"):
        read_onnx(file)
    beside.unlink()
    with pytest.raises(ModelError, match=r"model\.onnx needs .*model\.onnx_data, which holds its weights; put both"):
        read_onnx(file)


def test_more_weights_than_one_file_can_hold_are_refused_before_they_are_read(tmp_path: Path) -> None:
    model = tiny_onnx({"image_embeds": "vector", "other": "vector"})
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", GIGABYTES)
    model.graph.initializer.append(outside("large", GIGABYTES))
    model.graph.node.append(helper.make_node("Mul", ["other", "large"], ["scaled"]))
    model.graph.output.append(helper.make_tensor_value_info("scaled", TensorProto.FLOAT, ["n", None]))
    file = tmp_path / "model.onnx"
    file.write_bytes(model.SerializeToString())
    assert "large" not in names(read_onnx(file).proto.graph.initializer)  # another output's
    with pytest.raises(ModelError, match="larger than the 2 GB that one ONNX file can hold; export it in half"):
        read_onnx(file, "scaled")
    os.truncate(file, GIGABYTES)
    with pytest.raises(ModelError, match="larger than the 2 GB"):
        read_onnx(file)


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"]
)
def test_a_file_that_is_no_model_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx is no ONNX model, or not all of it"):
        read_onnx(file)


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    file = written(tiny_onnx(), tmp_path)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(ModelError, match=r"model\.onnx is no ONNX model, or not all of it"):
        read_onnx(file)
