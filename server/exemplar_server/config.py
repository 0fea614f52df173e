"""The server's settings: flags over `EXEMPLAR_*` environment variables over a TOML file over defaults."""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from exemplar_encoder.processors import processors
from exemplar_server.passwords import without_password

MIB = 1024 * 1024
PREFIX = "EXEMPLAR_"
INDEXES = ("auto", "flat", "approximate", "gpu")


def _check_address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("it must be HOST:PORT, such as 127.0.0.1:50051")
    return value


Address = Annotated[str, AfterValidator(_check_address)]
OptionalAddress = Annotated[Address | None, BeforeValidator(lambda value: None if value == "off" else value)]


def _check_store(value: str) -> str:
    if not re.match(r"sqlite:.|postgres(ql)?://.", value):
        raise ValueError("it must be sqlite:FOLDER or postgresql://USER@HOST/DATABASE")
    return value


def _check_index(value: str) -> str:
    if value not in INDEXES and not re.match(r"milvus:https?://.", value):
        raise ValueError(f"it must be {', '.join(INDEXES)} or milvus:URL, such as milvus:http://127.0.0.1:19530")
    return value


Store = Annotated[str, AfterValidator(_check_store)]
Index = Annotated[str, AfterValidator(_check_index)]


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return bool(ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return host in ("localhost", "unix") or host.startswith("unix:")


class ConfigError(Exception):
    """A setting is missing or wrong; the message is one sentence a setting."""


class ServerSettings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    bundle: Path
    store: Store | None = Field(None, repr=False)
    data_dir: Path | None = Field(None, validate_default=True)
    index: Index = "auto"
    address: Address = "127.0.0.1:50051"
    metrics_address: OptionalAddress = "127.0.0.1:9095"
    engine: Literal["auto", "litert", "tensorflow", "onnx"] = "auto"
    engine_threads: int | None = Field(None, ge=1)
    decoders: int = Field(default_factory=lambda: min(16, processors()), ge=1)
    max_batch: int = Field(32, ge=1)
    queue_capacity: int = Field(1024, ge=1)
    max_batch_items: int = Field(256, ge=1)
    max_message_bytes: int = Field(32 * MIB, ge=MIB)
    max_calls: int = Field(1024, ge=2)
    max_bytes_in_flight: int = Field(96 * MIB, ge=MIB)
    max_image_bytes: int = Field(16 * MIB, ge=1)
    max_image_pixels: int = Field(50_000_000, ge=1)
    max_image_seconds: float = Field(10.0, gt=0)
    max_wait_seconds: float = Field(2.0, gt=0)
    max_data_bytes: int | None = Field(None, ge=MIB)
    accept_loss: bool = False
    milvus_token: SecretStr | None = None
    milvus_tls_ca: FilePath | None = None
    gpu_memory_bytes: int | None = Field(None, ge=MIB)
    max_connection_age: float = Field(600.0, gt=0)
    token: SecretStr | None = None
    keys: Path | None = None
    jwt_keys: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    audit_log: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    insecure: bool = False
    drain_seconds: float = Field(30.0, ge=0)
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; only one of them is set")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca goes with tls_certificate and tls_key, which are not set")
        return self

    @model_validator(mode="after")
    def _check_jwt(self) -> Self:
        given = [self.jwt_keys, self.jwt_issuer, self.jwt_audience]
        if any(given) and not all(given):
            raise ValueError("jwt_keys, jwt_issuer and jwt_audience go together; one of them is missing")
        return self

    @model_validator(mode="after")
    def _check_open(self) -> Self:
        if self.insecure or _is_loopback(self.address):
            return self
        known = any(each is not None for each in (self.token, self.keys, self.jwt_keys, self.tls_client_ca))
        if not known or self.tls_certificate is None:
            missing = ["callers known by --keys or EXEMPLAR_TOKEN"] * (not known)
            missing += ["TLS by --tls-certificate and --tls-key"] * (self.tls_certificate is None)
            raise ValueError(
                f"{self.address} can be reached from other machines, and there is no {' and no '.join(missing)}: "
                "set that, listen on 127.0.0.1, or say --insecure where something else protects the server"
            )
        return self

    @field_validator("token")
    @classmethod
    def _check_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("a token is of printable ASCII characters without spaces, one at least")
        return value

    @field_validator("data_dir")
    @classmethod
    def _check_data_dir(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        store = info.data.get("store", "")
        if value is None and store is None:
            raise PydanticCustomError("missing", "neither data_dir nor store is given")
        if value is not None and (store or "").startswith("sqlite:"):
            raise ValueError("the store is a folder already; give one of the two")
        return value

    @property
    def store_url(self) -> str:
        """Which store to open."""
        return self.store or f"sqlite:{self.data_dir}"

    def shown(self) -> dict[str, Any]:
        """Show the settings for people and logs, secrets hidden."""
        shown = {name: None if value is None else str(value) for name, value in self}
        if self.store is not None:
            shown["store"] = without_password(self.store)
        return shown


def load_settings(flags: Mapping[str, Any], file: Path | None = None) -> ServerSettings:
    """Gather the settings.

    Args:
        flags: what was given on the command line, by field; None for what was not.
        file: a TOML file with fields of the same names, if any.

    Raises:
        ConfigError: naming each setting at fault and where it may be set.
    """
    if os.environ.get(f"{PREFIX}TOKEN") == "" and not flags.get("token"):
        raise ConfigError(f"{PREFIX}TOKEN is empty, which protects nothing: give it a token, or unset it")
    content: dict[str, Any] = {}
    if file is not None:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"the configuration file {file} cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"the configuration file {file} is not TOML: {error}") from error
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return _above(content)(**given)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(problem) for problem in error.errors())) from error


def _above(file: dict[str, Any]) -> type[ServerSettings]:
    """Return the settings with a file's content below what else is given."""

    class SettingsAboveFile(ServerSettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, file)

    return SettingsAboveFile


def _sentence(problem: Any) -> str:
    if not problem["loc"]:
        return str(problem["msg"]).removeprefix("Value error, ")
    name = str(problem["loc"][0])
    flag, variable = "--" + name.replace("_", "-"), PREFIX + name.upper()
    if problem["type"] == "missing":
        return f"{name} is missing: give {flag}, {variable} or a line in the configuration file"
    if problem["type"] == "extra_forbidden":
        return f"{name} is no setting of the server's"
    said = str(problem["msg"]).removeprefix("Value error, ")
    value = without_password(problem["input"]) if name == "store" else problem["input"]
    shown = "" if name in ("token", "milvus_token") else f" (it is {value!r})"
    return f"{name} is wrong: {said[0].lower()}{said[1:]}{shown}; it is set with {flag} or {variable}"
