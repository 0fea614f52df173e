"""How the client reaches a server: its address, transport security, the token, message limits and retries.

Retries are gRPC's own (back-off with jitter, server pushback honored), switched on by a service config, for every
call: reading ones change nothing, and changing ones carry a request id, by which the server tells a repeated call.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from exemplar.batching import MAX_MESSAGE_BYTES

DEFAULT_ADDRESS = "127.0.0.1:50051"
MOST_ATTEMPTS = 5
"""gRPC's own bound."""


class WrongArgumentError(ValueError):
    """An argument that cannot be right; the message names it and says what can."""


_SCHEMES = ("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:", "xds:", "passthrough:")


def address(given: str | None) -> str:
    """Return the server's address: the one given, else EXEMPLAR_ADDRESS, else this machine's default port.

    Raises:
        WrongArgumentError: It is no address.
    """
    chosen = given or os.environ.get("EXEMPLAR_ADDRESS") or DEFAULT_ADDRESS
    if chosen.startswith(_SCHEMES):
        return chosen
    host, _, port = chosen.rpartition(":")
    right = "an address is HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051"
    if "://" in chosen:
        raise WrongArgumentError(f"{chosen!r} is the address of a web page; {right}")
    if not host or not re.fullmatch(r"\[[0-9A-Fa-f:.%\w]+\]|[^\s/:\[\]@]+", host):
        raise WrongArgumentError(f"{chosen!r} names no host and port; {right}")
    if not re.fullmatch(r"\d{1,5}", port) or not 1 <= int(port) <= 65535:
        raise WrongArgumentError(f"{chosen!r} has no port from 1 to 65535; {right}")
    return chosen


def seconds(name: str, value: float, or_none: bool = False) -> float:
    """Return a time in seconds.

    Args:
        name: What it is called.
        value: The time.
        or_none: Whether it may be 0.

    Raises:
        WrongArgumentError: It is no time that anybody can wait.
    """
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0 or (value == 0 and not or_none):
        least = "0 or more" if or_none else "more than 0"
        raise WrongArgumentError(f"{name} is a time in seconds, {least} and finite, not {value!r}")
    return value


def attempts(value: int) -> int:
    """Return how often a request is tried in all. Raises WrongArgumentError where it cannot be so often."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_ATTEMPTS:
        raise WrongArgumentError(f"attempts is how often a request is tried, 1 to {MOST_ATTEMPTS}, not {value!r}")
    return value


def proxy(address: str) -> str:
    """Return the environment variable that sends calls to an address through a proxy; empty for none."""
    if _is_loopback(address) or address.startswith(("unix:", "unix-abstract:", "vsock:")):
        return ""
    host = address.rpartition(":")[0].strip("[]").rpartition("/")[2]
    without = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or ""  # noqa: SIM112 - as gRPC reads it
    if any(host.endswith(each.strip()) for each in without.split(",") if each.strip()):
        return ""
    return next((name for name in ("grpc_proxy", "https_proxy", "http_proxy") if os.environ.get(name)), "")


def token(given: str | None) -> str:
    """Return the bearer token: the one given, else EXEMPLAR_TOKEN; empty for none."""
    return os.environ.get("EXEMPLAR_TOKEN", "") if given is None else given


@dataclass(frozen=True)
class Tls:
    """Transport security.

    Attributes:
        ca: File with the certificates to trust (PEM); None for the system's.
        certificate: File with this client's own certificate (PEM), where the server asks for one.
        key: File with its private key (PEM).
        server_name: The name the server's certificate must carry, when it is not the address's.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            OSError: A file cannot be read, or is no PEM file.
        """
        ca, key, certificate = (
            Path(file).read_bytes() if file else None for file in (self.ca, self.key, self.certificate)
        )
        for file, content in ((self.ca, ca), (self.key, key), (self.certificate, certificate)):
            if content is not None and b"-----BEGIN " not in content:
                raise OSError(f"{file} is no PEM file")
        return grpc.ssl_channel_credentials(ca, key, certificate)


def options(address: str, attempts: int, tls: Tls | None) -> list[tuple[str, Any]]:
    """Return the channel's options.

    Args:
        address: `host:port`, or another target that gRPC knows.
        attempts: How often a call is tried in all, 1 to 5 (gRPC's own bound).
        tls: Transport security, for the server's name.
    """
    chosen: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        # A call is only repeated while gRPC still holds what it sent; the default of 256 KiB is less than an image.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES + 1024 * 1024),
        # A restarted server is found again within a second rather than within gRPC's default of two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_retries", int(attempts > 1)),
        ("grpc.service_config", json.dumps(service_config(attempts))),
    ]
    if _is_loopback(address):
        # gRPC sends even these through the proxy that `https_proxy` names, and no proxy can reach this machine's own.
        chosen.append(("grpc.enable_http_proxy", 0))
    if tls and tls.server_name:
        chosen.append(("grpc.ssl_target_name_override", tls.server_name))
    return chosen


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def service_config(attempts: int) -> dict[str, object]:
    """Return the gRPC service config that repeats every call that met UNAVAILABLE."""
    if attempts <= 1:
        return {}
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": "0.2s",
        "maxBackoff": "3s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}


def metadata(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that goes along with every call."""
    return (("authorization", f"Bearer {token}"),) if token else ()
