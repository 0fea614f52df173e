"""A bundle is what its id says, or it is refused by a sentence that names the file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exemplar_encoder import Bundle, BundleError, EncodedImage, Encoder, ImageLimits, Manifest, load_encoder
from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Floats, Floats64
from exemplar_encoder.bundle import NETWORKS, REQUIRED, seal

EVERY_FILE = (layout.MANIFEST, layout.CHECKSUM, layout.LITERT, layout.WEIGHTS, *REQUIRED)


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def litert(tiny_bundle: Path) -> Encoder:
    return load_encoder(tiny_bundle, engine="litert", threads=1)


@pytest.fixture(scope="module")
def tensorflow(tiny_bundle: Path) -> Encoder:
    return load_encoder(tiny_bundle, engine="tensorflow", threads=1)


def refusal(path: Path, load: Callable[[Path], object] = Bundle.load) -> str:
    with pytest.raises(BundleError) as caught:
        load(path)
    return str(caught.value)


def forge(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and give it a checksum that matches, as somebody who knows the format could."""
    manifest = json.loads((path / layout.MANIFEST).read_text())
    change(manifest)
    text = json.dumps(manifest)
    (path / layout.MANIFEST).write_text(text)
    (path / layout.CHECKSUM).write_text(hashlib.sha256(text.encode()).hexdigest() + "  manifest.json\n")


def reseal(path: Path) -> None:
    """Hash a changed folder anew, so that only what it holds can be wrong with it."""
    seal(path, Manifest.from_json((path / layout.MANIFEST).read_bytes()))


# Identity


def test_a_bundle_loads_with_all_it_promises(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    images, embeddings = bundle.golden()
    assert len(images) == len(embeddings) == 16
    assert embeddings.shape[1] == bundle.manifest.dimension
    assert bundle.figures == bundle.manifest.figures != ()


def test_the_id_is_the_hash_of_the_contents(tiny_bundle: Path) -> None:
    content = (tiny_bundle / "manifest.json").read_bytes()
    listed = json.loads(content)["files"]
    on_disk = {file.relative_to(tiny_bundle).as_posix(): file for file in tiny_bundle.rglob("*") if file.is_file()}
    del on_disk["manifest.json"], on_disk["bundle.sha256"]
    assert listed == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in on_disk.items()}
    assert Bundle.load(tiny_bundle).id == hashlib.sha256(content).hexdigest()


def test_a_copy_elsewhere_has_the_same_id(tiny_bundle: Path, copy: Path) -> None:
    assert Bundle.load(copy).id == Bundle.load(tiny_bundle).id


def test_another_content_has_another_id(tiny_bundle: Path, other_bundle: Path) -> None:
    assert Bundle.load(other_bundle).id != Bundle.load(tiny_bundle).id


def test_the_manifest_says_the_same_after_a_round_trip(tiny_bundle: Path) -> None:
    manifest = Bundle.load(tiny_bundle).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest


# Tampering


@pytest.mark.parametrize("name", EVERY_FILE)
def test_one_altered_byte_in_any_file_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert str(copy / (layout.MANIFEST if name == layout.CHECKSUM else name)) in refusal(copy)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_any_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    message = refusal(copy)
    assert str(copy / name) in message
    assert "missing" in message


def test_every_file_that_is_listed_is_verified(copy: Path) -> None:
    for name in Bundle.load(copy).manifest.files:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content + b" ")
        assert str(copy / name) in refusal(copy)
        (copy / name).write_bytes(content)


@pytest.mark.parametrize("name", ["extra.txt", "golden/16.png", "saved_model/assets/extra", ".hidden"])
def test_a_file_that_does_not_belong_is_named(copy: Path, name: str) -> None:
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("hello")
    assert str(copy / name) in refusal(copy)


@pytest.mark.parametrize("name", [layout.MANIFEST, layout.CHECKSUM, layout.CALIBRATION])
def test_a_folder_in_place_of_a_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).mkdir()
    assert str(copy / name) in refusal(copy)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    assert "manifest.json is missing" in refusal(tmp_path)
    assert "no such folder" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_unknown_format_version_is_refused_naming_both_versions(copy: Path, version: object) -> None:
    forge(copy, lambda manifest: manifest.update(format_version=version))
    message = refusal(copy)
    assert str(copy / "manifest.json") in message
    assert f"format version is {version!r}; this program reads version 1" in message


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "golden/../../outside.txt"])
def test_a_manifest_cannot_reach_outside_the_bundle(copy: Path, name: str) -> None:
    (copy.parent / "outside.txt").write_text("secret")
    forge(copy, lambda manifest: manifest["files"].update({name: "0" * 64}))
    assert "outside the bundle" in refusal(copy)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_manifest_must_list_what_every_bundle_needs(copy: Path, name: str) -> None:
    (copy / name).unlink()
    forge(copy, lambda manifest: manifest["files"].pop(name))
    assert name in refusal(copy)


ANY_NETWORK = "model.tflite or saved_model/saved_model.pb or model.onnx"


def test_a_manifest_must_list_the_network_for_one_engine_at_least(copy: Path) -> None:
    forge(copy, lambda manifest: [manifest["files"].pop(name, None) for name in NETWORKS.values()])
    assert refusal(copy) == f"{copy / layout.MANIFEST} lists no network, {ANY_NETWORK}: the bundle is incomplete"


@pytest.mark.parametrize("engine", ["litert", "tensorflow"])
def test_the_network_for_one_engine_is_enough(copy: Path, engine: str) -> None:
    for other in ("litert", "tensorflow"):
        if other != engine:
            (copy / NETWORKS[other]).unlink()
    (copy / layout.WEIGHTS).unlink()
    reseal(copy)
    assert Bundle.load(copy).engines == (engine,)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.clear(),
        lambda manifest: manifest.pop("dimension"),
        lambda manifest: manifest.update(files=[]),
        lambda manifest: manifest.update(files=None),
        lambda manifest: manifest["files"].update({"model.tflite": 5}),
        lambda manifest: manifest.update(preprocessing=7),
        lambda manifest: manifest["preprocessing"].update(background=[300, 0, 0]),
        lambda manifest: manifest["preprocessing"].update(width="wide"),
        lambda manifest: manifest.update(figures=[1]),
        lambda manifest: manifest.update(dimension="many"),
        lambda manifest: manifest.update(unheard="of"),
    ],
)
def test_a_forged_manifest_of_another_shape_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    forge(copy, change)
    assert str(copy) in refusal(copy)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"{", b'{"format_version": 1}'])
def test_a_manifest_that_is_no_json_object_is_refused(copy: Path, content: bytes) -> None:
    (copy / layout.MANIFEST).write_bytes(content)
    (copy / layout.CHECKSUM).write_text(hashlib.sha256(content).hexdigest())
    assert str(copy / layout.MANIFEST) in refusal(copy)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


GOLDEN = layout.GOLDEN_EMBEDDINGS


def golden_refusal(path: Path) -> str:
    """Return the refusal by what reads the golden samples, without an engine to start first."""
    reseal(path)
    return refusal(path, lambda copy: Bundle.load(copy).golden())


def test_an_array_that_needs_pickle_is_refused_without_running_it(copy: Path) -> None:
    sprung = copy.parent / "sprung"
    np.save(copy / GOLDEN, np.array([[Trap(sprung)]], dtype=object), allow_pickle=True)
    assert str(copy / GOLDEN) in golden_refusal(copy)
    assert not sprung.exists()


@pytest.mark.parametrize("change", ["narrower", "doubles", "not a number", "flat"])
def test_golden_embeddings_of_another_shape_or_type_are_refused(copy: Path, change: str) -> None:
    embeddings = Bundle.load(copy).golden()[1]
    changed: dict[str, Floats | Floats64] = {
        "narrower": embeddings[:, :-1],
        "doubles": embeddings.astype(np.float64),
        "not a number": np.full_like(embeddings, np.nan),
        "flat": embeddings.ravel(),
    }
    np.save(copy / GOLDEN, changed[change])
    assert str(copy / GOLDEN) in golden_refusal(copy)


@pytest.mark.parametrize("length", [0, 7, 60, 200])
def test_an_array_cut_short_is_refused(copy: Path, length: int) -> None:
    (copy / GOLDEN).write_bytes((copy / GOLDEN).read_bytes()[:length])
    assert str(copy / GOLDEN) in golden_refusal(copy)


def test_a_calibration_that_cannot_be_used_is_refused(copy: Path) -> None:
    (copy / layout.CALIBRATION).write_text("{}")
    reseal(copy)
    assert str(copy / layout.CALIBRATION) in refusal(copy)


@pytest.mark.parametrize("name", REQUIRED)
def test_sealing_an_incomplete_folder_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        reseal(copy)


def test_sealing_a_folder_without_a_network_is_refused(copy: Path) -> None:
    for name in NETWORKS.values():
        (copy / name).unlink(missing_ok=True)
    with pytest.raises(BundleError, match=f"holds no network: {ANY_NETWORK} is missing"):
        reseal(copy)


# Golden samples


def test_golden_samples_that_come_out_differently_are_refused(copy: Path) -> None:
    _, embeddings = Bundle.load(copy).golden()
    embeddings[3, 0] += 3e-4
    np.save(copy / layout.GOLDEN_EMBEDDINGS, embeddings)
    reseal(copy)
    message = refusal(copy, lambda path: load_encoder(path, threads=1))
    assert str(copy / layout.GOLDEN_EMBEDDINGS) in message
    assert "differ by 3.0e-04, more than 1e-04" in message


def test_a_golden_sample_that_is_no_image_is_named(copy: Path) -> None:
    (copy / "golden/05.png").write_bytes(b"no image")
    reseal(copy)
    assert str(copy / "golden/05.png") in refusal(copy, lambda path: load_encoder(path, threads=1))


@pytest.mark.parametrize("engine", ["litert", "tensorflow"])
def test_a_network_that_cannot_be_run_is_named(copy: Path, engine: Any) -> None:
    name = layout.LITERT if engine == "litert" else f"{layout.SAVED_MODEL}/saved_model.pb"
    (copy / name).write_bytes(b"no network")
    reseal(copy)
    named = layout.LITERT if engine == "litert" else layout.SAVED_MODEL
    assert str(copy / named) in refusal(copy, lambda path: load_encoder(path, engine=engine, threads=1))


def test_a_network_for_another_input_size_is_refused(copy: Path) -> None:
    manifest = Bundle.load(copy).manifest
    spec = dataclasses.replace(manifest.preprocessing, width=40)
    seal(copy, dataclasses.replace(manifest, preprocessing=spec))
    refusal(copy, lambda path: load_encoder(path, threads=1))


def test_limits_for_callers_images_do_not_apply_to_golden_samples(tiny_bundle: Path) -> None:
    encoder = load_encoder(tiny_bundle, threads=1, limits=ImageLimits(max_bytes=10, max_pixels=100, min_side=500))
    assert encoder.limits.max_pixels == 100


# Engines


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 33])
def test_both_engines_give_the_same_embeddings(
    litert: Encoder, tensorflow: Encoder, drawn_alphabets: Path, count: int
) -> None:
    files = sorted(drawn_alphabets.rglob("*.png"))[:: 288 // 33][:33]
    inputs = [litert.prepare(EncodedImage(file.read_bytes())).pixels for file in files[:count]]
    batch = np.array(inputs, dtype=np.uint8).reshape(count, *litert.bundle.manifest.preprocessing.shape)
    ours, theirs = litert.embed(batch), tensorflow.embed(batch)
    assert ours.shape == theirs.shape == (count, litert.dimension)
    assert ours.dtype == theirs.dtype == np.float32
    assert np.abs(ours - theirs).max(initial=0) < 1e-4
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_an_embedding_does_not_depend_on_its_batch(litert: Encoder, drawn_alphabets: Path) -> None:
    files = sorted(drawn_alphabets.rglob("*.png"))[:41]
    batch = np.stack([litert.prepare(EncodedImage(file.read_bytes())).pixels for file in files])
    together = litert.embed(batch)
    alone = np.concatenate([litert.embed(batch[index : index + 1]) for index in range(len(batch))])
    assert np.abs(together - alone).max() < 1e-5
    assert np.array_equal(litert.embed(batch), together)


def test_both_engines_replay_the_golden_samples(litert: Encoder, tensorflow: Encoder) -> None:
    images, expected = litert.bundle.golden()
    for encoder in (litert, tensorflow):
        actual = encoder.embed(np.stack([encoder.prepare(EncodedImage(image)).pixels for image in images]))
        assert np.abs(actual - expected).max() < 1e-4


def test_engines_say_which_they_are(litert: Encoder, tensorflow: Encoder) -> None:
    assert (litert.engine_name, tensorflow.engine_name) == ("litert", "tensorflow")


# Privacy


def test_a_bundle_holds_no_file_of_the_training_set(tiny_bundle: Path, drawn_alphabets: Path) -> None:
    held_out = Bundle.load(tiny_bundle).manifest.training["held_out"]
    training = [file for file in drawn_alphabets.rglob("*.png") if file.parts[-3] not in held_out]
    assert len(training) == 4 * 8 * 6
    contents = b"\0".join(file.read_bytes() for file in tiny_bundle.rglob("*") if file.is_file())
    assert not [file for file in training if file.read_bytes()[-60:] in contents or file.read_bytes() in contents]
