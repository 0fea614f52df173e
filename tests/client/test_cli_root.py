"""The command line by itself and with a scripted server: help, versions, and one sentence a failure."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import resources_pb2 as resources_pb
from tests.client.command import run
from tests.client.scripted_server import fail, scripted_server
from tests.e2e.command_line import exemplar


@pytest.fixture
def nobody() -> Iterator[str]:
    """Return an address at which nothing listens, and nothing else can."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


@pytest.mark.process
def test_help_lists_every_command_with_what_it_does() -> None:
    shown = exemplar("--help")
    assert shown.returncode == 0
    for command, words in {
        "classify": "Name pictures",
        "enroll": "Teach a class",
        "galleries": "galleries",
        "classes": "classes",
        "exemplars": "Add exemplars",
        "check": "Check a picture",
        "diagnose": "easily confused",
        "models": "a server has loaded",
        "serve": "Run the server",
        "train": "Train a model",
        "calibrate": "Refit what distances mean",
        "index": "Enroll many classes",
    }.items():
        (line,) = (line for line in shown.stdout.splitlines() if line.startswith(f"│ {command} "))
        assert words in line


@pytest.mark.process
def test_help_loads_none_of_the_heavy_packages() -> None:
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "exemplar.cli", "--help"], capture_output=True, text=True
    ).stderr
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in loaded.splitlines()}
    assert "exemplar" in modules
    assert not modules & {
        "numpy",
        "PIL",
        "tensorflow",
        "faiss",
        "exemplar_server",
        "exemplar_trainer",
        "exemplar_indexer",
    }


@pytest.mark.process
def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert exemplar("--version").stdout == f"exemplar {version('exemplar')}\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["train", "."], "numpy", "train"),
        (["evaluate", "episodes", ".", "-b", "models/omniglot"], "numpy", "evaluate"),
        (["calibrate", "stamps", "."], "numpy", "evaluate"),
        (["export", ".", "-o", "out", "--model", "tests"], "numpy", "export"),
        (["export", ".", "-o", "out", "--backbone", "efficientnetv2-b0"], "keras", "train"),
        (["serve", "--bundle", ".", "--data-dir", "."], "structlog", "server"),
        (["index", "http://127.0.0.1:1/list.csv", "-g", "g", "--dry-run"], "fsspec", "index"),
    ],
)
def test_a_command_without_its_extra_names_the_extra(arguments: list[str], missing: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['exemplar', *{arguments!r}]\n"
        "from exemplar.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert f"pip install 'exemplar[{extra}]'" in done.stderr


def test_an_unknown_command_and_a_missing_argument_are_wrong_usage() -> None:
    assert run("clasify").returncode == 2
    assert "Did you mean 'classify'?" in " ".join(run("clasify").stderr.split())
    assert run("classify", "stamps").returncode == 2


def test_a_missing_image_file_is_wrong_usage_and_named(nobody: str) -> None:
    done = run("classify", "stamps", "gone.png", "--address", nobody)
    assert (done.returncode, done.stderr) == (2, "exemplar: there is no image file at gone.png\n")


def test_wrong_usage_is_one_sentence_that_names_the_help(nobody: str) -> None:
    for arguments, sentence in {
        ("classify",): "missing argument 'GALLERY' (see `exemplar classify --help`)",
        ("classify", "g", "a.png", "--bogus"): "no such option: --bogus (see `exemplar classify --help`)",
        ("train", "--resume", "--steps", "3"): (
            "--resume goes on with the options of the run; leave out --steps (see `exemplar train --help`)"
        ),
        ("clasify",): "no such command 'clasify'. Did you mean 'classify'? (see `exemplar --help`)",
    }.items():
        done = run(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"exemplar: {sentence}\n")


def test_no_gallery_is_made_for_a_picture_that_is_not_there() -> None:
    with scripted_server({}) as server:
        done = run("enroll", "stamps", "c", "gone.png", "--create", "--address", server.address)
        assert (done.returncode, server.methods_called()) == (2, [])


def test_a_file_that_holds_no_certificate_is_refused_in_one_sentence(tmp_path: Path, nobody: str) -> None:
    (file := tmp_path / "ca.pem").write_text("no certificate")
    done = run("galleries", "list", "--tls-ca", file, "--address", nobody)
    assert (done.returncode, done.stderr) == (2, f"exemplar: {file} is no PEM file\n")


def test_an_attribute_without_a_value_is_wrong_usage(tmp_path: Path, nobody: str) -> None:
    done = run("enroll", "stamps", "c", tmp_path, "--attribute", "year", "--address", nobody)
    assert done.returncode == 2
    assert "key=value" in done.stderr


@pytest.mark.process
def test_the_installed_command_ends_with_what_is_called_here(nobody: str) -> None:
    for arguments in (["galleries", "list", "--address", nobody], ["classify", "g", "gone.png"], ["clasify"]):
        ended, called = exemplar(*arguments), run(*arguments)
        assert (ended.returncode, ended.stdout, ended.stderr) == (called.returncode, called.stdout, called.stderr)


def test_no_server_is_one_sentence_with_the_address_and_what_to_do(nobody: str) -> None:
    done = run("galleries", "list", EXEMPLAR_ADDRESS=nobody)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"exemplar: no server answers at {nobody} (Connection refused); start one with `exemplar serve`"
    )


def refuse(request: Any, context: grpc.ServicerContext) -> Message:
    fail(context, grpc.StatusCode.NOT_FOUND, "there is no gallery 'stamps'", "GALLERY_NOT_FOUND")


def test_a_refused_request_is_one_sentence_and_exit_code_one() -> None:
    with scripted_server({"GetGallery": refuse}) as server:
        done = run("galleries", "show", "stamps", "--address", server.address)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "exemplar: there is no gallery 'stamps'\n")


def test_a_token_that_is_missing_or_wrong_is_told_with_where_to_give_it() -> None:
    def refuse_caller(request: Any, context: grpc.ServicerContext) -> Message:
        fail(context, grpc.StatusCode.UNAUTHENTICATED, "the call needs the server's token", "CREDENTIALS_MISSING")

    with scripted_server({"GetGallery": refuse_caller}) as server:
        done = run("galleries", "show", "stamps", "--token", "wrong", "--address", server.address)
    sentence = "the call needs the server's token; give it with --token or EXEMPLAR_TOKEN"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"exemplar: {sentence}\n")


def test_a_server_that_takes_too_long_is_as_one_that_is_not_there() -> None:
    def refuse_late(request: Any, context: grpc.ServicerContext) -> Message:
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "too late")

    with scripted_server({"GetGallery": refuse_late}) as server:
        done = run("galleries", "show", "stamps", "--address", server.address)
    assert done.returncode == 3
    assert done.stderr.endswith("did not answer within 30 s; --timeout waits longer\n")


def held(request: Any, context: grpc.ServicerContext) -> Message:
    return gallery_pb.GetGalleryResponse(gallery=resources_pb.Gallery(name="galleries/g", class_count=12))


def test_deleting_a_gallery_asks_first_and_says_what_goes() -> None:
    answers = {"GetGallery": held, "DeleteGallery": lambda *_: gallery_pb.DeleteGalleryResponse()}
    with scripted_server(answers) as server:
        declined = run("galleries", "delete", "g", "--address", server.address, answer="n\n")
        assert (declined.returncode, declined.stdout.strip()) == (1, "")
        assert "with its 12 classes?" in declined.stderr
        assert "DeleteGallery" not in server.methods_called()
        accepted = run("galleries", "delete", "g", "--json", "--address", server.address, answer="y\n")
        assert (accepted.returncode, json.loads(accepted.stdout)) == (0, {"deleted": "g"})
        assert run("galleries", "delete", "g", "--yes", "--address", server.address).returncode == 0
    assert server.methods_called().count("DeleteGallery") == 2


def missing(request: Any, context: grpc.ServicerContext) -> Message:
    return gallery_pb.DeleteGalleryResponse() if request.allow_missing else refuse(request, context)


def test_deleting_a_gallery_that_is_not_there_is_fine_with_missing_ok() -> None:
    with scripted_server({"GetGallery": refuse, "DeleteGallery": missing}) as server:
        at = ("--address", server.address)
        assert run("galleries", "delete", "g", *at).returncode == 1
        assert run("galleries", "delete", "g", "--yes", *at).returncode == 1
        assert run("galleries", "delete", "g", "--missing-ok", *at).returncode == 0  # there is nothing to ask about
        assert run("galleries", "delete", "g", "--missing-ok", "--yes", *at).returncode == 0


def test_deleting_a_class_asks_first() -> None:
    answers = {"DeleteClass": lambda *_: gallery_pb.DeleteClassResponse(gallery_revision=3)}
    with scripted_server(answers) as server:
        assert run("classes", "delete", "g", "c", "--address", server.address, answer="n\n").returncode == 1
        assert not server.calls
        assert run("classes", "delete", "g", "c", "-y", "--address", server.address).returncode == 0


@pytest.mark.parametrize(
    ("verdict", "require_match", "code"), [("MATCH", True, 0), ("UNKNOWN", True, 1), ("UNKNOWN", False, 0)]
)
def test_require_match_turns_the_verdict_into_the_exit_code(
    tmp_path: Path, verdict: str, require_match: bool, code: int
) -> None:
    match = classification_pb.Match(class_id="c", display_name="[bold]C", distance=0.5)
    answer = classification_pb.Classification(
        verdict=classification_pb.Verdict.Value(f"VERDICT_{verdict}"), matches=[match]
    )
    response = classification_pb.BatchClassifyResponse(
        results=[classification_pb.BatchClassifyResult(classification=answer)]
    )
    image = tmp_path / "a.png"
    image.write_bytes(b"x")
    with scripted_server({"BatchClassify": lambda *_: response}) as server:
        options = ["--require-match"] if require_match else []
        done = run("classify", "g", image, "--address", server.address, *options)
    assert done.returncode == code
    assert verdict in done.stdout
    assert "[bold]C" in done.stdout  # a name is text, never markup
