"""The command ``ichor``: one thin module a sub-command; what is heavy is loaded when it is called."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from ichor.cli.bulk import bulk
from ichor.cli.bundle import bundle
from ichor.cli.data import data
from ichor.cli.demo import demo
from ichor.cli.detect import detect
from ichor.cli.evaluate import evaluate
from ichor.cli.explore import explore
from ichor.cli.export import export
from ichor.cli.info import info
from ichor.cli.node import node
from ichor.cli.prepare import prepare
from ichor.cli.serve import serve
from ichor.cli.submit import submit
from ichor.cli.train import train
from ichor.cli.verbosity import with_verbosity
from ichor.errors import BundleError, IchorError, RefusedInput, UsageError

__all__ = ["app", "main", "run"]

EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143

# typer carries its own copy of click from 0.16 on: its errors are found through its own classes.
_CommandLineError: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if issubclass(c, Exception) and c.__name__ == "ClickException"
)


class _Terminated(KeyboardInterrupt):
    """Asked to end by SIGTERM: what Ctrl-C clears away, this does, too."""


app = typer.Typer(
    name="ichor",
    help="Intracranial hemorrhage on head CT: a study in, findings out.\n\n"
    "Research software, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data.command("prepare")(prepare)
app.add_typer(data, name="data", help="The data sets: list, info, get, check, convert, prepare.")
for _command in (detect, bulk, demo, info, train, evaluate, explore, export, submit, serve, node):
    app.command()(with_verbosity(_command))
app.add_typer(
    bundle, name="bundle", help="Models: import those of others, calibrate any on exams of your own."
)
for _registered in (*data.registered_commands, *bundle.registered_commands):
    if _registered.callback is not None:
        _registered.callback = with_verbosity(_registered.callback)


def _print_version(wanted: bool) -> None:
    if wanted:
        import ichor

        print(f"ichor {ichor.__version__}")
        raise typer.Exit


@app.callback()
def _ichor(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status; what the user did wrong is one line on standard error.

    Parameters
    ----------
    arguments
        Without the program's name.

    Returns
    -------
    int
        0 done; 2 bad usage or an unusable bundle; 3 an input could not be assessed; 130 interrupted; 141 the
        reader of standard output went away; 143 ended by SIGTERM.
    """
    if not arguments:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            run(["--help"])
        return EXIT_USAGE
    command = typer.main.get_command(app)
    try:
        # Not command.main(): it frames errors over several lines, and keeps Ctrl-C and closed pipes.
        with command.make_context("ichor", list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:
        return int(end.exit_code)
    except _Terminated:
        _complain("ended by SIGTERM")
        return EXIT_TERMINATED
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_BROKEN_PIPE
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _silence_stdout()  # rich makes an exit with 1 of a closed pipe
        return EXIT_BROKEN_PIPE
    except _CommandLineError as error:
        return _command_line_error(error)
    except RefusedInput as error:
        _complain(str(error))
        return EXIT_REFUSED
    except (UsageError, BundleError, IchorError) as error:
        _complain(str(error))
        return EXIT_USAGE
    return 0


def main() -> None:
    """Entry point of the command ``ichor``."""
    for stream in (sys.stdout, sys.stderr):
        # A file may have a name that the terminal cannot show.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if "_ICHOR_COMPLETE" in os.environ:  # a shell asks what may follow
        typer.main.get_command(app)(prog_name="ichor")
    # What a command makes lives to its end: looking for garbage at the usual rate costs a tenth of its start.
    gc.set_threshold(50_000)
    _end_cleanly_at_sigterm()
    status = run(sys.argv[1:])
    if sys.argv[1:2] in (["detect"], ["demo"], ["info"]):
        _leave(status)
    sys.exit(status)


def _leave(status: int) -> NoReturn:
    """End the process without taking the interpreter apart, which takes a fifth of a second and frees only memory."""
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):  # a closed pipe
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _end_cleanly_at_sigterm() -> None:
    mine = os.getpid()

    def end(number: int, _frame: object) -> None:
        if os.getpid() == mine:
            raise _Terminated
        signal.signal(number, signal.SIG_DFL)  # a process that was forked from this one
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def _command_line_error(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "ichor"
    words = " ".join(str(error.format_message() if hasattr(error, "format_message") else error).split())
    _complain(f"{words.rstrip('.')}. See '{path} --help'.")
    return EXIT_USAGE


def _complain(message: str) -> None:
    from ichor.reporting.words import printable

    with contextlib.suppress(BrokenPipeError):
        print(f"ichor: {printable(message)}", file=sys.stderr, flush=True)


def _silence_stdout() -> None:
    """Keep the interpreter from complaining about the closed pipe while it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
