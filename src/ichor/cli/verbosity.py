"""``-v`` and ``-q``, on every command: what goes to standard error besides what went wrong."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Annotated, Any, TypeVar

import typer

from ichor.errors import UsageError

__all__ = ["quiet", "with_verbosity"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Verbose = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, help="Log on standard error what is done; -vv in detail.", metavar=""
    ),
]
_Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="No progress and no remarks: only the result, and what went wrong."),
]
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def quiet() -> bool:
    """Whether the command that runs was asked for its result alone."""
    return _quiet.get()


def with_verbosity(command: _Command) -> _Command:
    """Give a command the options ``-v`` and ``-q``."""

    @functools.wraps(command)
    def run(*args: Any, verbose: int, quiet: bool, **options: Any) -> Any:
        if verbose and quiet:
            raise UsageError("found both --verbose and --quiet; expected one of them; leave one out")
        token = _quiet.set(quiet)
        try:
            with _logging(logging.ERROR if quiet else _LEVELS[min(verbose, 2)]):
                return command(*args, **options)
        finally:
            _quiet.reset(token)

    signature = inspect.signature(command, eval_str=True)
    more = [
        inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=_Verbose),
        inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Quiet),
    ]
    signature = signature.replace(parameters=[*signature.parameters.values(), *more])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
    return run  # type: ignore[return-value]


@contextlib.contextmanager
def _logging(level: int) -> Iterator[None]:
    """Send what ichor logs to standard error while a command runs."""
    logger = logging.getLogger("ichor")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORM))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
