"""Who may do what: every call, for callers of every kind, over real sockets; keys that come and go; certificates."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from demo.server_process import EXEMPLAR, ServerProcess, clean_environment
from exemplar import Client
from exemplar.v1 import classification_service_pb2, gallery_service_pb2, model_service_pb2
from exemplar_server.access.policy import POLICIES, Policy
from tests.e2e.stubs import png, refusal

pytestmark = pytest.mark.process

SERVICES = {
    service.full_name: service
    for module in (classification_service_pb2, gallery_service_pb2, model_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}
CALLS = [name for name in POLICIES if name.startswith("/exemplar.v1.")]


def keys(file: Path, *words: str) -> str:
    done = subprocess.run(
        [EXEMPLAR, "keys", *words, "--keys", str(file)],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Guarded:
    """A server with keys of every kind, and a gallery `shop-1` that some may see."""

    def __init__(self, server: ServerProcess, file: Path, shown: dict[str, str | None]) -> None:
        self.server = server
        self.file = file
        self.shown = shown

    def call(self, who: str, method: str, gallery: str = "shop-1") -> tuple[str, str, str]:
        """Return code, reason and text of how a call ended; the reason is empty for one that is let in."""
        request, response = messages(method)
        policy = POLICIES[method]
        if policy.gallery:
            name_gallery(request, policy, gallery)
        call: Any = self.server.channel().unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        shown = self.shown[who]
        metadata = [] if shown is None else [("authorization", shown)]
        try:
            call(request, metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            code, reason, _ = refusal(error)
            return code, reason, error.details() or ""
        return "OK", "", ""


def messages(method: str) -> tuple[Any, type[Message]]:
    from google.protobuf import message_factory

    service, _, name = method.strip("/").partition("/")
    found = SERVICES[service].methods_by_name[name]
    kinds = [message_factory.GetMessageClass(each) for each in (found.input_type, found.output_type)]
    return kinds[0](), kinds[1]


def name_gallery(request: Any, policy: Policy, gallery: str) -> None:
    text = gallery if policy.creates else f"galleries/{gallery}"
    if policy.image_class and policy.image_class == policy.gallery:
        text += "/classes/c"
    *way, last = policy.gallery.split(".")
    for field in way:
        request = getattr(request, field)
    setattr(request, last, text)


@pytest.fixture(scope="module")
def guarded(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "keys.json"
    everything = ["-s", "read", "-s", "write", "-s", "admin"]
    made = {
        "owner": keys(file, "create", "owner", *everything),
        "reader": keys(file, "create", "reader", "-s", "read", "-g", "shop-*"),
        "writer": keys(file, "create", "writer", "-s", "write", "-g", "shop-1"),
        "admin": keys(file, "create", "admin", "-s", "admin", "-g", "shop-1"),
        "stranger": keys(file, "create", "stranger", *everything, "-g", "office-*"),
        "revoked": keys(file, "create", "revoked", *everything),
        "expired": keys(file, "create", "expired", *everything, "--expires", "2020-01-01"),
    }
    keys(file, "revoke", "revoked")
    shown: dict[str, str | None] = {name: f"Bearer {key}" for name, key in made.items()}
    shown |= {"nobody": None, "no bearer": made["owner"], "altered": f"Bearer {made['owner'][:-1]}"}
    audit = folder / "audit.jsonl"
    with ServerProcess(tiny_bundle, folder / "data", "--keys", str(file), "--audit-log", str(audit)) as server:
        with Client(server.address, token=made["owner"]) as client:
            client.create_gallery("shop-1")
            client.create_gallery("office-1")
            client.enroll("shop-1", "c", png())
        yield Guarded(server, file, shown)


def test_every_call_of_the_contract_has_a_policy() -> None:
    served = {f"/{name}/{method}" for name, each in SERVICES.items() for method in each.methods_by_name}
    assert set(CALLS) == served


@pytest.mark.parametrize("method", CALLS)
def test_who_is_not_known_does_nothing(guarded: Guarded, method: str) -> None:
    reasons = {
        "nobody": "CREDENTIALS_MISSING",
        "no bearer": "CREDENTIALS_MALFORMED",
        "altered": "CREDENTIALS_MALFORMED",
        "revoked": "CREDENTIALS_UNKNOWN",
        "expired": "CREDENTIALS_EXPIRED",
    }
    for who, reason in reasons.items():
        assert guarded.call(who, method)[:2] == ("UNAUTHENTICATED", reason), who


@pytest.mark.parametrize("method", CALLS)
def test_each_scope_lets_in_to_its_own_calls_and_no_others(guarded: Guarded, method: str) -> None:
    scopes = {"reader": "read", "writer": "write", "admin": "admin"}
    for who, scope in scopes.items():
        if method.endswith(("DeleteGallery", "DeleteClass")) and scope == POLICIES[method].needs:
            continue  # it would be let in, and the gallery is needed
        code, reason, _ = guarded.call(who, method)
        if scope == POLICIES[method].needs:
            assert code not in ("PERMISSION_DENIED", "UNAUTHENTICATED"), who
        else:
            assert (code, reason) == ("PERMISSION_DENIED", "SCOPE_MISSING"), who


@pytest.mark.parametrize("method", [name for name in CALLS if POLICIES[name].gallery])
def test_a_hidden_gallery_is_answered_as_one_that_is_not_there(guarded: Guarded, method: str) -> None:
    there, absent = (guarded.call("stranger", method, gallery) for gallery in ("shop-1", "shop-9"))
    if POLICIES[method].creates:
        assert there[:2] == ("PERMISSION_DENIED", "GALLERY_OUTSIDE_PATTERNS")
    else:
        assert there[:2] == ("NOT_FOUND", "GALLERY_NOT_FOUND")
        get = "/exemplar.v1.GalleryService/GetGallery"
        assert there[2] == guarded.call("owner", get, "shop-9")[2].replace("shop-9", "shop-1")
    assert (absent[0], absent[1], absent[2].replace("shop-9", "shop-1")) == there


def test_only_what_a_caller_may_see_is_listed(guarded: Guarded) -> None:
    listed = {}
    for who in ("owner", "reader", "stranger"):
        token = (guarded.shown[who] or "").removeprefix("Bearer ")
        with Client(guarded.server.address, token=token) as client:
            listed[who] = [gallery.id for gallery in client.galleries()]
    assert listed == {"owner": ["office-1", "shop-1"], "reader": ["shop-1"], "stranger": ["office-1"]}


def test_health_asks_for_nothing(guarded: Guarded) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(guarded.server.channel())
    assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_who_changed_what_and_who_was_refused_is_written_down_and_no_secret_is(guarded: Guarded) -> None:
    guarded.call("nobody", "/exemplar.v1.GalleryService/DeleteGallery")
    log = guarded.file.with_name("audit.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    (enrolled,) = [line for line in lines if line["method"] == "EnrollClass" and line["code"] == "OK"]
    assert (enrolled["who"], enrolled["gallery"], enrolled["classes"]) == ("owner", "shop-1", ["c"])
    assert enrolled["revision"] == 2
    assert enrolled["request_id"]
    assert any((line["code"], line["method"]) == ("UNAUTHENTICATED", "DeleteGallery") for line in lines)
    assert any((line["code"], line["who"]) == ("PERMISSION_DENIED", "reader") for line in lines)
    assert not any(line["method"] == "GetGallery" and line["code"] == "OK" for line in lines)
    told = log + guarded.server.log + guarded.file.read_text()
    assert not any(shown.split()[-1].rpartition("_")[2] in told for shown in guarded.shown.values() if shown)


def test_the_file_of_keys_is_its_owner_s_and_holds_no_key(guarded: Guarded) -> None:
    assert guarded.file.stat().st_mode & 0o777 == 0o600
    listed = json.loads(keys(guarded.file, "list", "--json"))
    assert [each["name"] for each in listed][:2] == ["owner", "reader"]
    assert "sha256" not in listed[0]


def test_a_key_is_taken_and_revoked_while_the_server_runs(guarded: Guarded) -> None:
    method = "/exemplar.v1.ModelService/ListModels"
    guarded.shown["new"] = "Bearer " + keys(guarded.file, "create", "new", "-s", "read")
    assert ends(guarded, "new", method, "OK")
    keys(guarded.file, "revoke", "new")
    assert ends(guarded, "new", method, "UNAUTHENTICATED")
    content = guarded.file.read_bytes()
    guarded.file.write_bytes(content[:-40])
    assert ends(guarded, "reader", method, "OK")
    while "the keys are those of before" not in guarded.server.log:
        assert guarded.call("reader", method)[0] == "OK"
    guarded.file.write_bytes(content)


def ends(guarded: Guarded, who: str, method: str, code: str) -> bool:
    """Whether a call ends so within some seconds."""
    from time import monotonic, sleep

    end = monotonic() + 20
    while monotonic() < end:
        if guarded.call(who, method)[0] == code:
            return True
        sleep(0.1)
    return False


# At the start


def refused_start(*flags: str, **environment: str) -> str:
    command = [EXEMPLAR, "serve", "--bundle", "nowhere", "--data-dir", "nowhere", *flags]
    done = subprocess.run(command, capture_output=True, text=True, env={**clean_environment(), **environment})
    assert done.returncode == 2
    return done.stderr


def test_a_token_that_protects_nothing_is_refused() -> None:
    assert "EXEMPLAR_TOKEN is empty" in refused_start(EXEMPLAR_TOKEN="")
    for token in (" ", "\n", "two words", "a\tb", "pass\n"):
        said = refused_start(EXEMPLAR_TOKEN=token)
        assert "a token is of printable ASCII characters" in said
        assert token.strip() not in said or not token.strip()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:50051", "everywhere.example:50051"])
def test_listening_to_other_machines_needs_callers_that_are_known_and_tls(address: str) -> None:
    said = refused_start("--address", address)
    assert "no callers known by --keys or EXEMPLAR_TOKEN and no TLS" in said
    assert "--insecure" in said
    assert "no TLS" in refused_start("--address", address, EXEMPLAR_TOKEN="t")


def test_whoever_insists_listens_to_all_without(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path, "--address", "0.0.0.0:0", "--insecure") as server:
        port = server.address.rpartition(":")[2]
        with Client(f"127.0.0.1:{port}") as client:
            assert client.models()


# Certificates


def authority(folder: Path, name: str) -> Path:
    """Make an authority; return its certificate, beside which its key lies."""
    certificate = folder / f"{name}.pem"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}")(
        "-keyout", certificate.with_suffix(".key"), "-out", certificate
    )
    return certificate


def signed(ca: Path, name: str, extension: str = "subjectAltName=IP:127.0.0.1") -> tuple[Path, Path]:
    """Make a certificate that an authority signs, and its key."""
    certificate, key, request = (ca.with_name(f"{name}.{end}") for end in ("pem", "key", "csr"))
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}")("-keyout", key, "-out", request)
    extensions = ca.with_name(f"{name}.ext")
    extensions.write_text(extension + "\n")
    openssl("x509", "-req", "-days", "2", "-CAcreateserial")(
        *("-in", request, "-CA", ca, "-CAkey", ca.with_suffix(".key"), "-out", certificate, "-extfile", extensions)
    )
    return certificate, key


def openssl(*words: str) -> Any:
    def run(*more: object) -> None:
        subprocess.run(["openssl", *words, *map(str, more)], check=True, capture_output=True)

    return run


@contextmanager
def shown(server: ServerProcess, ca: Path, pair: tuple[Path, Path] | None = None) -> Iterator[grpc.Channel]:
    """Connect anew, with a client's certificate or without."""
    mine = (pair[1].read_bytes(), pair[0].read_bytes()) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), *mine)
    address = server.wait_for("serving")["address"]
    with grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def code(channel: grpc.Channel) -> str:
    from exemplar.v1 import model_service_pb2_grpc

    try:
        model_service_pb2_grpc.ModelServiceStub(channel).ListModels(model_service_pb2.ListModelsRequest(), timeout=20)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_a_client_s_certificate_is_asked_for_and_names_its_caller(tiny_bundle: Path, tmp_path: Path) -> None:
    ca, foreign = authority(tmp_path, "ours"), authority(tmp_path, "theirs")
    certificate, key = signed(ca, "server")
    robot, unnamed, intruder = signed(ca, "robot"), signed(ca, "unnamed"), signed(foreign, "intruder")
    file = tmp_path / "keys.json"
    keys(file, "create", "the-robot", "-s", "read", "--certificate", "robot")
    flags = ["--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca", ca, "--keys", file]
    with ServerProcess(tiny_bundle, tmp_path / "data", *map(str, flags)) as server:
        server.wait_for("serving")
        found = {}
        for name, pair in {"robot": robot, "unnamed": unnamed, "intruder": intruder, "none": None}.items():
            with shown(server, ca, pair) as channel:
                found[name] = code(channel)
    assert found == {
        "robot": "OK",
        "unnamed": "UNAUTHENTICATED",
        "intruder": "UNAVAILABLE",
        "none": "UNAVAILABLE",
    }


def test_a_new_certificate_is_shown_to_new_connections_while_old_ones_go_on(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    first, second = authority(tmp_path, "first"), authority(tmp_path, "second")
    certificate, key = signed(first, "server")
    flags = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    with ServerProcess(tiny_bundle, tmp_path / "data", *flags) as server:
        server.wait_for("serving")
        with shown(server, first) as old:
            assert code(old) == "OK"
            newer = signed(second, "newer")
            newer[1].replace(key)
            newer[0].replace(certificate)
            with shown(server, second) as new:
                assert code(new) == "OK"
            assert code(old) == "OK"
            certificate.write_text("half a file")
            with shown(server, second) as new:
                assert code(new) == "OK"
            assert server.wait_for("the certificate is that of before")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda certificate, key: key.write_text("no key"), "cannot be used together"),
        (lambda certificate, key: certificate.write_text("none"), "cannot be used together"),
        (lambda certificate, key: key.write_bytes(key.with_name("ours.key").read_bytes()), "cannot be used together"),
        (lambda certificate, key: key.unlink(), "cannot be read: No such file"),
    ],
    ids=["no key", "no certificate", "another's key", "a file that is not there"],
)
def test_a_certificate_that_cannot_be_used_is_told_by_its_file(
    tiny_bundle: Path, tmp_path: Path, spoil: Any, told: str
) -> None:
    certificate, key = signed(authority(tmp_path, "ours"), "server")
    spoil(certificate, key)
    files = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    command = [EXEMPLAR, "serve", "--bundle", str(tiny_bundle), "--data-dir", str(tmp_path / "data"), *files]
    done = subprocess.run(
        [*command, "--address", "127.0.0.1:0", "--metrics-address", "off"],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert str(key) in done.stderr
    assert "another process" not in done.stderr
