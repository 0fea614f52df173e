"""The server as a process: how it starts, what it refuses to start on, and whom it lets in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import model_service_pb2 as models
from exemplar_encoder import Bundle, decode, preprocess
from exemplar_encoder.bundle import MANIFEST
from tests.e2e.stubs import Stubs, classify, image, png, refusal
from tests.onnx_bundles import reference

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HOLDER = (("authorization", "Bearer s3cret"),)


def start_and_fail(bundle: Path, data_dir: Path, *flags: str) -> tuple[int, str]:
    with ServerProcess(bundle, data_dir, *flags) as server:
        code = server.wait()
        assert "Traceback" not in server.log
        return code, server.log


# Starting


@pytest.mark.process
def test_health_says_not_serving_and_calls_learn_loading_until_everything_is_loaded(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    """Hold the loading up, by a named pipe in the place of the manifest, until the test has looked."""
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    manifest = (bundle / MANIFEST).read_bytes()
    (bundle / MANIFEST).unlink()
    os.mkfifo(bundle / MANIFEST)
    with ServerProcess(bundle, tmp_path / "data") as server:
        stubs = Stubs(server.channel(loading=True))
        for service in ("", "exemplar.v1.ClassificationService"):
            assert stubs.health.Check(health_pb2.HealthCheckRequest(service=service)).status == NOT_SERVING
        assert server.readiness() == {"status": 503, "state": "loading", "degraded": {}}
        with pytest.raises(grpc.RpcError) as refused:
            stubs.models.ListModels(models.ListModelsRequest())
        assert refusal(refused.value)[:2] == ("UNAVAILABLE", "LOADING")
        (bundle / MANIFEST).write_bytes(manifest)
        server.wait_until_serving()
        for service in ("", "exemplar.v1.ClassificationService"):
            assert stubs.health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
        assert server.readiness() == {"status": 200, "state": "serving", "degraded": {}}
        assert stubs.models.ListModels(models.ListModelsRequest()).models


@pytest.mark.process
def test_a_second_process_on_the_same_data_or_ports_is_refused_naming_what_is_taken(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path / "first") as first:
        loading = first.wait_for("loading")
        first.wait_until_serving()
        code, log = start_and_fail(tiny_bundle, tmp_path / "first")
        assert (code, f"in use by process {first.pid}" in log) == (1, True)
        for flag, entry in (("--address", "address"), ("--metrics-address", "metrics_address")):
            code, log = start_and_fail(tiny_bundle, tmp_path / "second", flag, loading[entry])
            assert (code, f"{loading[entry]} cannot be had" in log) == (1, True)
        _, log = start_and_fail(tiny_bundle, tmp_path / "second", "--address", loading["address"])
        assert "another process has it" in log


@pytest.mark.process
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("no-such-host.invalid:0", "nobody knows what no-such-host.invalid is"),
        ("192.0.2.1:0", "this machine does not have the address 192.0.2.1"),
    ],
)
def test_an_address_that_cannot_be_had_is_told_with_the_reason(
    tiny_bundle: Path, tmp_path: Path, address: str, said: str
) -> None:
    code, log = start_and_fail(tiny_bundle, tmp_path, "--insecure", "--address", address)
    assert (code, said in log, "another process" in log) == (1, True, False)


@pytest.mark.process
def test_a_bundle_that_was_tampered_with_is_refused_naming_the_file(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    with open(bundle / "model.tflite", "ab") as file:
        file.write(b"!")
    code, log = start_and_fail(bundle, tmp_path / "data")
    assert code == 1
    assert "model.tflite was altered" in log


# Settings


@pytest.mark.process
def test_a_wrong_setting_is_told_in_a_sentence(tiny_bundle: Path, tmp_path: Path) -> None:
    code, log = start_and_fail(tiny_bundle, tmp_path, "--engine", "steam")
    assert code == 2
    assert log.startswith("exemplar: engine is wrong")


@pytest.mark.process
def test_missing_settings_are_named_with_where_to_give_them() -> None:
    ended = subprocess.run([sys.executable, "-m", "exemplar_server"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    for name in ("--bundle, EXEMPLAR_BUNDLE", "--data-dir, EXEMPLAR_DATA_DIR"):
        assert name in ended.stderr


@pytest.fixture(scope="module")
def configured(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server with settings from everywhere: a token, no metrics page, and LiteRT as its engine."""
    folder = tmp_path_factory.mktemp("configured")
    file = folder / "server.toml"
    file.write_text("max_batch = 3\nqueue_capacity = 33\nmax_batch_items = 7\n")
    env = {"EXEMPLAR_QUEUE_CAPACITY": "44", "EXEMPLAR_MAX_BATCH_ITEMS": "8", "EXEMPLAR_TOKEN": "s3cret"}
    flags = ["--config", str(file), "--max-batch-items", "9", "--metrics-address", "off", "--engine", "litert"]
    with ServerProcess(tiny_bundle, folder / "data", *flags, env=env) as server:
        server.wait_until_serving()
        yield server


@pytest.mark.process
def test_flags_win_over_the_environment_which_wins_over_the_file(configured: ServerProcess) -> None:
    shown = configured.wait_for("settings")
    assert (shown["max_batch"], shown["queue_capacity"], shown["max_batch_items"]) == ("3", "44", "9")
    assert "s3cret" not in configured.log


@pytest.mark.process
def test_serving_needs_no_tensorflow(configured: ServerProcess) -> None:
    stubs = Stubs(configured.channel())
    request = classification.EmbedRequest(image=image(png()))
    assert stubs.classification.Embed(request, metadata=HOLDER).embedding.values
    mapped = Path(f"/proc/{configured.pid}/maps").read_text()
    assert "faiss" in mapped
    assert "tensorflow" not in mapped


@pytest.mark.process
def test_a_bundle_for_onnx_runtime_is_served_without_tensorflow_and_litert(
    onnx_bundle: Path, tmp_path: Path, drawings: dict[str, list[bytes]]
) -> None:
    classes = dict(list(drawings.items())[:12])
    with ServerProcess(onnx_bundle, tmp_path / "data", "--engine", "onnx") as server:
        stubs = Stubs(server.channel())
        (model,) = stubs.models.ListModels(models.ListModelsRequest()).models
        assert (model.engine, server.wait_for("serving")["engine"]) == ("onnx", "onnx")
        gallery = stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="letters")).gallery.name
        enrollments = [
            galleries.Enrollment(class_id=name, images=[image(pictures[0])]) for name, pictures in classes.items()
        ]
        stubs.galleries.BatchEnrollClasses(
            galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments)
        )
        for name, pictures in classes.items():
            assert classify(stubs, gallery, pictures[0]).matches[0].class_id == name
            served = stubs.classification.Embed(classification.EmbedRequest(image=image(pictures[1])))
            pixels = preprocess(decode(pictures[1]).pixels, Bundle.load(onnx_bundle).manifest.preprocessing)
            assert np.abs(np.array(served.embedding.values) - reference(pixels[None])[0]).max() < 1e-5
        mapped = Path(f"/proc/{server.pid}/maps").read_text()
        assert "onnxruntime" in mapped
        assert "tensorflow" not in mapped
        assert "ai_edge_litert" not in mapped


@pytest.mark.process
def test_the_metrics_page_can_be_switched_off(configured: ServerProcess) -> None:
    assert configured.wait_for("serving")["metrics_address"] is None


def test_the_metrics_page_is_on_its_own_port(server: ServerProcess) -> None:
    address = server.wait_for("serving")["metrics_address"]
    assert address != server.address
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as page:
        assert page.status == 200
        assert "text/plain" in page.headers["content-type"]


# Who may call


@pytest.mark.process
def test_a_token_is_asked_of_every_call_but_health(configured: ServerProcess) -> None:
    stubs = Stubs(configured.channel())
    request = models.ListModelsRequest()
    for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", "s3cret"),)):
        with pytest.raises(grpc.RpcError) as refused:
            stubs.models.ListModels(request, metadata=metadata)
        assert refusal(refused.value)[0] == "UNAUTHENTICATED"
    assert stubs.models.ListModels(request, metadata=HOLDER).models
    assert stubs.health.Check(health_pb2.HealthCheckRequest()).status == SERVING
    reflection: grpc.StreamStreamMultiCallable[bytes, bytes] = configured.channel().stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda content: content,
        response_deserializer=lambda content: content,
    )
    with pytest.raises(grpc.RpcError) as closed:
        next(reflection(iter([b""])))
    assert closed.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.process
def test_with_a_certificate_only_those_who_trust_it_are_served(tiny_bundle: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    flags = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    with ServerProcess(tiny_bundle, tmp_path / "data", *flags) as server:
        trusting = grpc.ssl_channel_credentials(certificate.read_bytes())
        assert Stubs(server.channel(trusting)).models.ListModels(models.ListModelsRequest()).models
        for credentials in (None, grpc.ssl_channel_credentials()):
            stranger = Stubs(server.channel(credentials, loading=True))
            with pytest.raises(grpc.RpcError) as refused:
                stranger.models.ListModels(models.ListModelsRequest())
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
