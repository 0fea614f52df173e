"""The server's certificate, and by which authority callers' certificates are checked; read anew when a file changes.

Connections that are there go on with what they began with.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc
import structlog

from exemplar_server.errors import StartError

_log = structlog.get_logger()

_State = tuple[tuple[int, int, int], ...]


def server_credentials(
    certificate: Path | None, key: Path | None, client_ca: Path | None
) -> grpc.ServerCredentials | None:
    """Return the credentials of a port, None for one without TLS.

    Args:
        certificate: PEM file of the certificate chain.
        key: PEM file of its key.
        client_ca: PEM file of the authority whose certificates callers must show; None for no matter which.

    Raises:
        StartError: a file cannot be read, or is not what it should be; the message names it.
    """
    if certificate is None or key is None:
        return None
    files = _Files(certificate, key, client_ca)
    changed: Any = files.changed  # None is allowed, whatever its annotation says
    return grpc.dynamic_ssl_server_credentials(files.first, changed, client_ca is not None)


class _Files:
    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._seen = self._state()
        self.first = self._read()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the next connection is to be made with; None for the same as before. gRPC asks for each."""
        try:
            state = self._state()
            if state == self._seen:
                return None
            found = self._read()
        except StartError as error:  # perhaps the second file is still being written: asked for again next time
            _log.error("the certificate is that of before", problem=str(error))
            return None
        self._seen = state
        _log.info("read the certificate anew", file=str(self._certificate))
        return found

    def _state(self) -> _State:
        try:
            stats = [file.stat() for file in (self._certificate, self._key, self._client_ca) if file is not None]
        except OSError as error:
            raise StartError(f"the TLS file {error.filename} cannot be read: {error.strerror}") from error
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in stats)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            chain, key = self._certificate.read_bytes(), self._key.read_bytes()
            roots = self._client_ca.read_bytes() if self._client_ca else None
        except OSError as error:
            raise StartError(f"the TLS file {error.filename} cannot be read: {error.strerror}") from error
        _check(self._certificate, self._key, self._client_ca)
        return grpc.ssl_server_certificate_configuration([(key, chain)], roots)


def _check(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Refuse files that are not what they should be: gRPC would only say that the port cannot be had."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        problem = getattr(error, "reason", None) or error
        raise StartError(
            f"the certificate {certificate} and the key {key} cannot be used together, or one of them is no PEM file "
            f"without a password ({problem})"
        ) from error
    if client_ca is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise StartError(f"{client_ca} holds no PEM certificate ({error.reason or error})") from error


def _no_password() -> str:
    raise ValueError("the key has a password")
