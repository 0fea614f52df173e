"""The command line's root: `exemplar`.

Holds the client's commands, and lists those of other packages (`serve`, `train` and so on), which are only loaded
when one of them is called. Every failure, also of those, is one line on stderr and an exit code: 1 the request
failed, 2 wrong usage, 3 no server.
"""

from __future__ import annotations

import io
import sys
from importlib import metadata
from typing import Annotated, Any, NamedTuple

import typer
import typer.core

from exemplar import DeadlineExceededError, ExemplarError, UnauthenticatedError, UnavailableError
from exemplar.channel import WrongArgumentError
from exemplar.commands import check, classes, classify, diagnose, enroll, exemplars, galleries, models
from exemplar.commands.output import print_error


class Extension(NamedTuple):
    """A command that another package of the distribution holds."""

    extra: str
    summary: str


EXTENSIONS = {
    "serve": Extension("server", "Run the server."),
    "keys": Extension("server", "Create, list and revoke the keys that callers show to a server."),
    "store": Extension("server", "Back galleries up, restore them, move them to another database, and verify them."),
    "train": Extension("train", "Train a model on a tree of images and write its bundle."),
    "evaluate": Extension("evaluate", "Measure how good bundles are on images they never saw."),
    "calibrate": Extension("evaluate", "Refit what distances mean in a gallery on labeled pictures of your own."),
    "export": Extension("export", "Make a bundle of a network as it is, of ONNX or Keras, to serve it."),
    "index": Extension("index", "Enroll many classes from a folder or a manifest, or write them to shards."),
    "import": Extension("shards,server", "Load shards into a gallery, straight into the store."),
}


class Root(typer.core.TyperGroup):
    """A command group that lists its extensions from a table and loads one when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names for help and completion."""
        return [*super().list_commands(ctx), *EXTENSIONS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; for an extension a stand-in that knows its summary."""
        if cmd_name in EXTENSIONS:
            return typer.core.TyperCommand(
                cmd_name, help=EXTENSIONS[cmd_name].summary, rich_help_panel="Server, training and bulk jobs"
            )
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Find the command to run, and loads it where it is an extension."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in EXTENSIONS:
            command = load(name)
        return name, command, rest


def load(name: str) -> Any:
    """Load an extension's command."""
    (entry_point,) = metadata.entry_points(group="exemplar.commands", name=name)
    command = typer.main.get_command(entry_point.load())
    command.name = name
    return command


app = typer.Typer(
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One-shot image classification: show a class once, then name new pictures of it.",
)
app.command("classify", rich_help_panel="Recognize")(classify.classify)
app.command("check", rich_help_panel="Teach")(check.check)
app.command("enroll", rich_help_panel="Teach")(enroll.enroll)
app.add_typer(galleries.app, name="galleries", rich_help_panel="Keep")
app.add_typer(classes.app, name="classes", rich_help_panel="Keep")
app.add_typer(exemplars.app, name="exemplars", rich_help_panel="Keep")
app.command("diagnose", rich_help_panel="Keep")(diagnose.diagnose)
app.add_typer(models.app, name="models", rich_help_panel="Keep")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"exemplar {metadata.version('exemplar')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """One-shot image classification: show a class once, then name new pictures of it."""


def usage_sentence(error: typer.TyperException) -> str:
    """Return what is wrong with the words of a command, and where its help is."""
    told = error.format_message().removeprefix("Invalid value: ").rstrip(".")
    if told[1:2].islower():
        told = told[0].lower() + told[1:]
    context: Any = getattr(error, "ctx", None)
    return f"{told} (see `{context.command_path} --help`)" if context else told


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an id that the terminal's encoding lacks is shown escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        # Commands return nothing, and so does this, but for the code of those that end early.
        sys.exit(app(prog_name="exemplar", standalone_mode=False))
    except typer.Abort:
        print_error("not confirmed, so nothing was done")
        sys.exit(1)
    except typer.TyperException as error:
        if error.format_message():  # else it has shown the help already, for want of words
            print_error(usage_sentence(error))
        sys.exit(error.exit_code)
    except WrongArgumentError as error:
        print_error(str(error))
        sys.exit(2)
    except UnavailableError as error:
        hint = ""
        if error.reason == "UNREACHABLE":
            hint = "; start one with `exemplar serve`, or name another with --address or EXEMPLAR_ADDRESS"
        print_error(error.message + hint)
        sys.exit(3)
    except DeadlineExceededError as error:
        print_error(f"{error.message}; --timeout waits longer")
        sys.exit(3)
    except UnauthenticatedError as error:
        print_error(f"{error.message}; give it with --token or EXEMPLAR_TOKEN")
        sys.exit(1)
    except ExemplarError as error:
        print_error(error.message)
        sys.exit(1)
    except ModuleNotFoundError as error:
        called = next((word for word in sys.argv[1:] if word in EXTENSIONS), None)
        if called is None or (error.name or "exemplar").startswith("exemplar"):
            raise
        extra = EXTENSIONS[called].extra
        print_error(
            f"`exemplar {called}` needs more than the client ({error.name} is not installed): "
            f"pip install 'exemplar[{extra}]'"
        )
        sys.exit(2)
    except OSError as error:
        # Ours are sentences already; the system's carry the file's name apart.
        print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(2)


if __name__ == "__main__":
    main()
