"""Callers may show a web token of an issuer; whatever is wrong with it, they do nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from demo.server_process import ServerProcess
from exemplar import Client, ExemplarError
from tests.e2e.stubs import png

pytestmark = pytest.mark.process

ISSUER, AUDIENCE = "https://issuer.example", "exemplar"


class Issuer:
    """Signs tokens, with keys that may be changed."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[Any, str]] = {}
        self.add_rsa("first")

    def add_rsa(self, name: str) -> None:
        self.keys[name] = rsa.generate_private_key(65537, 2048), "RS256"

    def add_curve(self, name: str) -> None:
        self.keys[name] = ec.generate_private_key(ec.SECP256R1()), "ES256"

    def key_set(self) -> str:
        kinds: dict[str, Any] = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}
        found = [
            {**kinds[kind].to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": kind, "use": "sig"}
            for name, (key, kind) in self.keys.items()
        ]
        return json.dumps({"keys": found})

    def token(self, key: str = "first", seconds: float = 600, **claims: Any) -> str:
        whole = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "robot",
            "exp": datetime.now(UTC) + timedelta(seconds=seconds),
            "scope": "openid exemplar:read exemplar:write exemplar:admin",
            "exemplar_galleries": ["shop-*"],
            **claims,
        }
        whole = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(whole, self.keys[key][0], self.keys[key][1], {"kid": key})


def flags(keys: str) -> list[str]:
    return ["--jwt-keys", keys, "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]


@pytest.fixture(scope="module")
def issued(
    tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, Issuer, Path]]:
    folder = tmp_path_factory.mktemp("issued")
    issuer, keys = Issuer(), folder / "keys.json"
    keys.write_text(issuer.key_set())
    audit = folder / "audit.jsonl"
    with ServerProcess(tiny_bundle, folder / "data", *flags(str(keys)), "--audit-log", str(audit)) as server:
        yield server, issuer, folder


def outcome(server: ServerProcess, token: str) -> str:
    with Client(server.address, token=token, attempts=1) as client:
        try:
            list(client.models())
        except ExemplarError as error:
            return error.reason
    return "OK"


def comes_to(server: ServerProcess, token: str, wanted: str) -> bool:
    """Whether that comes of calls within some seconds."""
    end = monotonic() + 20
    while monotonic() < end:
        if outcome(server, token) == wanted:
            return True
        sleep(0.2)
    return False


def test_a_token_lets_in_to_what_it_names(issued: tuple[ServerProcess, Issuer, Path]) -> None:
    server, issuer, folder = issued
    with Client(server.address, token=issuer.token()) as client:
        client.create_gallery("shop-1")
        client.enroll("shop-1", "c", png())
        with pytest.raises(ExemplarError, match="'jwt:robot' may make no gallery 'office-1'"):
            client.create_gallery("office-1")
    with Client(server.address, token=issuer.token(scope="exemplar:read")) as client:
        assert client.classify("shop-1", png()).matches[0].class_id == "c"
        with pytest.raises(ExemplarError) as refused:
            client.delete_gallery("shop-1", force=True)
        assert refused.value.reason == "SCOPE_MISSING"
    with Client(server.address, token=issuer.token(exemplar_galleries=None)) as client:
        assert list(client.galleries()) == []
    assert '"who": "jwt:robot"' in (folder / "audit.jsonl").read_text()


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"seconds": -60}, "CREDENTIALS_EXPIRED"),
        ({"iss": "https://other.example"}, "CREDENTIALS_UNKNOWN"),
        ({"aud": "other"}, "CREDENTIALS_UNKNOWN"),
        ({"exp": None}, "CREDENTIALS_UNKNOWN"),
        ({"sub": None}, "CREDENTIALS_UNKNOWN"),
        ({"nbf": datetime.now(UTC) + timedelta(hours=1)}, "CREDENTIALS_UNKNOWN"),
        ({"sub": "a\nb"}, "CREDENTIALS_MALFORMED"),
        ({"scope": ["exemplar:read"]}, "CREDENTIALS_MALFORMED"),
        ({"exemplar_galleries": "shop-*"}, "CREDENTIALS_MALFORMED"),
        ({"exemplar_galleries": ["**"]}, "CREDENTIALS_MALFORMED"),
        ({"exemplar_limits": {"requests": 0}}, "CREDENTIALS_MALFORMED"),
        ({"scope": "read"}, "SCOPE_MISSING"),
        ({"scope": "exemplar:read"}, "OK"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused_with_a_reason(
    issued: tuple[ServerProcess, Issuer, Path], claims: dict[str, Any], reason: str
) -> None:
    server, issuer, _ = issued
    assert outcome(server, issuer.token(**claims)) == reason


def test_a_token_that_the_issuer_did_not_sign_is_refused(issued: tuple[ServerProcess, Issuer, Path]) -> None:
    server, issuer, _ = issued
    good = issuer.token()
    head, body, signature = good.split(".")
    public = issuer.keys["first"][0].public_key()
    forged = {
        "another's key": Issuer().token(),
        "altered": f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        "another body": f"{head}.{issuer.token(sub='root').split('.')[1]}.{signature}",
        "unsigned": jwt.encode({"iss": ISSUER}, "", "none", {"kid": "first"}),
        "the public key as a secret": jwt.encode(
            {"iss": ISSUER}, str(public.public_numbers().n).zfill(64), "HS256", {"kid": "first"}
        ),
        "no token": "a.b.c",
        "an unknown key": jwt.encode({"iss": ISSUER}, issuer.keys["first"][0], "RS256", {"kid": "other"}),
    }
    found = {name: outcome(server, token) for name, token in forged.items()}
    assert set(found.values()) <= {"CREDENTIALS_UNKNOWN", "CREDENTIALS_MALFORMED"}, found
    assert outcome(server, good) == "OK"
    told = server.log
    signatures = [token.split(".")[2] for token in (good, *forged.values())]
    assert not any(each in told for each in signatures if len(each) > 20)


def test_a_key_that_the_issuer_withdraws_is_not_taken_any_more(issued: tuple[ServerProcess, Issuer, Path]) -> None:
    server, issuer, folder = issued
    issuer.add_curve("second")
    both = issuer.key_set()
    (folder / "keys.json").write_text(both)
    old, new = issuer.token(), issuer.token("second")
    assert comes_to(server, new, "OK")
    assert outcome(server, old) == "OK"
    first = issuer.keys.pop("first")
    (folder / "keys.json").write_text(issuer.key_set())
    assert comes_to(server, old, "CREDENTIALS_UNKNOWN")
    assert outcome(server, new) == "OK"
    issuer.keys["first"] = first
    (folder / "keys.json").write_text(issuer.key_set())


def test_keys_of_a_url_are_fetched_again_when_a_token_names_a_new_one(tiny_bundle: Path, tmp_path: Path) -> None:
    issuer = Issuer()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = issuer.key_set().encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        where = f"http://127.0.0.1:{web.server_port}/keys"
        with ServerProcess(tiny_bundle, tmp_path, *flags(where), env={"no_proxy": "127.0.0.1"}) as server:
            assert outcome(server, issuer.token()) == "OK"
            issuer.add_curve("second")
            assert comes_to(server, issuer.token("second"), "OK")
    finally:
        web.shutdown()
        web.server_close()
    with ServerProcess(tiny_bundle, tmp_path, *flags(where), env={"no_proxy": "127.0.0.1"}) as refused:
        assert refused.wait() == 1
    assert f"the issuer's keys cannot be had from {where}" in refused.log
