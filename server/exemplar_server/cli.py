"""`exemplar serve`: flags to settings, and failures to a sentence and an exit code (2: settings; 1: the start)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from exemplar_server.config import ConfigError, load_settings
from exemplar_server.errors import StartError
from exemplar_server.faiss_wheels import check_faiss_wheels
from exemplar_server.log_stream import LogStream
from exemplar_server.logs import configure_logs
from exemplar_server.process_memory import limit_memory

app = typer.Typer(add_completion=False)

_LAST_LINES = 1.0  # seconds that the end waits for the log
_LIMITS = "Limits"
_SECURITY = "Security"


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Option(envvar="EXEMPLAR_CONFIG", help="TOML file with settings of the same names.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle to serve.")] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder that holds the galleries, or only their saved indexes where --store is elsewhere."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="sqlite:FOLDER or postgresql://USER@HOST/DATABASE.", show_default="sqlite:DATA_DIR"),
    ] = None,
    index: Annotated[
        str | None, typer.Option(help="auto, flat, approximate, gpu or milvus:URL.", show_default="auto")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="HOST:PORT to listen on; port 0 takes a free one.", show_default="127.0.0.1:50051"),
    ] = None,
    metrics_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of the Prometheus page, or off.", show_default="127.0.0.1:9095")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="auto, litert, tensorflow or onnx.", show_default="auto")] = None,
    engine_threads: Annotated[int | None, typer.Option(help="CPU threads for a batch.", show_default="all")] = None,
    decoders: Annotated[
        int | None, typer.Option(help="Processes that decode images.", show_default="CPUs, to 16")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(help="Images to embed at once.", show_default="32")] = None,
    queue_capacity: Annotated[
        int | None, typer.Option(help="Images to hold before callers are told to come back.", show_default="1024")
    ] = None,
    max_batch_items: Annotated[
        int | None, typer.Option(help="Items in a batch request.", show_default="256", rich_help_panel=_LIMITS)
    ] = None,
    max_message_bytes: Annotated[
        int | None, typer.Option(help="Bytes in a message.", show_default="32 MiB", rich_help_panel=_LIMITS)
    ] = None,
    max_calls: Annotated[
        int | None,
        typer.Option(help="Calls to answer at once, of all callers.", show_default="1024", rich_help_panel=_LIMITS),
    ] = None,
    max_bytes_in_flight: Annotated[
        int | None,
        typer.Option(help="Bytes in all messages being answered.", show_default="96 MiB", rich_help_panel=_LIMITS),
    ] = None,
    max_image_bytes: Annotated[
        int | None, typer.Option(help="Bytes in an image.", show_default="16 MiB", rich_help_panel=_LIMITS)
    ] = None,
    max_image_pixels: Annotated[
        int | None, typer.Option(help="Pixels in an image.", show_default="50,000,000", rich_help_panel=_LIMITS)
    ] = None,
    max_image_seconds: Annotated[
        float | None,
        typer.Option(help="Processor time to decode an image.", show_default="10", rich_help_panel=_LIMITS),
    ] = None,
    max_wait_seconds: Annotated[
        float | None,
        typer.Option(
            help="Seconds that a call may have to wait for those before it; one that would wait longer is refused.",
            show_default="2",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_data_bytes: Annotated[
        int | None,
        typer.Option(help="Bytes that the database may grow to.", show_default="the disk", rich_help_panel=_LIMITS),
    ] = None,
    accept_loss: Annotated[
        bool | None,
        typer.Option(
            "--accept-loss",
            help="Serve a store that has lost something of what it acknowledged, as it is now.",
            show_default="refuse",
        ),
    ] = None,
    milvus_token: Annotated[
        str | None,
        typer.Option(help="Token for the Milvus server; better in EXEMPLAR_MILVUS_TOKEN.", rich_help_panel=_SECURITY),
    ] = None,
    milvus_tls_ca: Annotated[
        Path | None,
        typer.Option(help="PEM file to check the Milvus server by.", rich_help_panel=_SECURITY),
    ] = None,
    gpu_memory_bytes: Annotated[
        int | None,
        typer.Option(help="Bytes that vectors may take of a GPU.", show_default="the GPU's", rich_help_panel=_LIMITS),
    ] = None,
    max_connection_age: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which a caller connects anew, perhaps to another server.",
            show_default="600",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Token that callers must show; better in EXEMPLAR_TOKEN.", rich_help_panel=_SECURITY),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of the keys that callers may show (exemplar keys).", rich_help_panel=_SECURITY),
    ] = None,
    jwt_keys: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Keys (a JSON Web Key Set) of the issuer whose web tokens callers may show.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    jwt_issuer: Annotated[
        str | None, typer.Option(help="Issuer that a web token must name.", rich_help_panel=_SECURITY)
    ] = None,
    jwt_audience: Annotated[
        str | None, typer.Option(help="Audience that a web token must be for.", rich_help_panel=_SECURITY)
    ] = None,
    audit_log: Annotated[
        Path | None,
        typer.Option(help="File to append who changed what to, and who was refused.", rich_help_panel=_SECURITY),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate chain.", rich_help_panel=_SECURITY)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate's key.", rich_help_panel=_SECURITY)
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="PEM file of whose certificates callers must show.", rich_help_panel=_SECURITY),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option(
            "--insecure",
            help="Listen beyond this machine without TLS, or to callers whom nobody knows.",
            show_default="refuse",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(help="Time for calls in flight to end at SIGTERM.", show_default="30")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json.", show_default="console")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
) -> None:
    """Run the server. Every option can also be set as EXEMPLAR_<NAME> or in the TOML file; flags win."""
    flags = {name: value for name, value in locals().items() if name != "config"}
    try:
        settings = load_settings(flags, config)
    except ConfigError as error:
        _say(str(error))
        raise typer.Exit(2) from error
    limit_memory()
    log = LogStream(sys.stderr)
    configure_logs(settings.log_format, settings.log_level, log)
    structlog.get_logger().info("settings", **settings.shown())
    try:
        check_faiss_wheels()
        # The server itself is loaded only now, so that help and wrong settings are quick.
        import uvloop

        from exemplar_server.serve import serve as run

        uvloop.run(run(settings, lambda: log.dropped))
    except StartError as error:
        log.drain(_LAST_LINES)
        _say(str(error))
        raise typer.Exit(1) from error
    finally:
        log.drain(_LAST_LINES)


def _say(message: str) -> None:
    for line in message.splitlines():
        print(f"exemplar: {line}", file=sys.stderr)
