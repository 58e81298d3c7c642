"""The command line: one small module a command, and one place that answers errors."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from irconv import __version__, code_cache, interrupts
from irconv.commands import (
    bench,
    bisect,
    check,
    console,
    demo,
    doctor,
    emit,
    export,
    matrix,
    opt,
    run,
)
from irconv.commands import inspect as inspect_command
from irconv.commands import list as list_command
from irconv.commands.failure import leave_reproducer
from irconv.errors import IrconvError, PassError, UsageError, printable
from irconv.registry import register_plugin

# of an error; a name in it was shortened long before this
LINE_LIMIT = 4000

ABOUT = """A compiler for convolutional networks: small graphs, visible passes, three lowered forms.

MODEL is a path (.onnx or .ir), zoo:NAME or light:NAME (irconv list names them). The options
below may stand after the command too.
"""

# These may stand anywhere on the line: `irconv run MODEL --debug` is what people type.
_FLAGS = {"--debug", "--no-cache", "-q", "--quiet", "-v", "-vv", "--verbose"}
_MISTAKES = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


class Group(TyperGroup):
    """Turns every outcome into an exit status: 0, 1 (the work failed), 2 (a wrong request), 130."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = _hoisted(sys.argv[1:] if args is None else args)
        call = super().main

        def work() -> Any:
            try:
                return call(given, prog_name, complete_var, False, windows_expand_args, **extra)
            except PassError as error:
                leave_reproducer(error, shlex.join(["irconv", *given]))
                raise

        status = answer(work, debug="--debug" in given)
        if standalone_mode:
            # Where a text given to exec was interrupted (dataclasses make their methods so), Python
            # ends by the signal, caught or not (_PyRuntime.signals); the next text clears that.
            exec("")  # noqa: S102
            sys.exit(status)
        return status


def _hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with those that every command takes moved to the front."""
    front: list[str] = []
    rest: list[str] = []
    left = iter(arguments)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word == "--plugin":
            front += [word, *islice(left, 1)]
        elif word in _FLAGS or word.startswith("--plugin="):
            front.append(word)
        else:
            rest.append(word)
    return front + rest


def answer(work: Callable[[], Any], debug: bool) -> int:
    """The exit status of `work`; an error is told on stderr in one line."""
    try:
        result = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our output has left; the flush at exit must not complain about it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: every error gets its line and status
        if debug:
            traceback.print_exception(error)
        line, status = _told(error)
        sys.stderr.write(f"{line}\n")
        if debug and isinstance(error, IrconvError) and error.listing:
            sys.stderr.write(f"{error.listing}\n")
        return status
    return result if isinstance(result, int) else 0


def _told(error: Exception) -> tuple[str, int]:
    """The line that tells an error, and the exit status."""
    if isinstance(error, IrconvError):
        return printable(f"error[{error.code}]: {error}", limit=LINE_LIMIT), error.exit_status
    usage = getattr(error, "format_message", None)  # the click inside typer is not always the same
    if usage is not None:
        text = printable(" ".join(usage().split()), limit=400)
        command = getattr(getattr(error, "ctx", None), "command_path", "irconv")
        return f"error[usage]: {text} ({command} --help)", int(getattr(error, "exit_code", 2))
    if isinstance(error, MemoryError):
        return "error[memory]: the memory is not enough (a smaller --batch needs less)", 1
    if isinstance(error, OSError):
        name = f": {printable(error.filename)}" if error.filename else ""
        text = f"error[file]: {error.strerror or printable(error)}{name}"
        return text, 2 if isinstance(error, _MISTAKES) else 1
    kind = type(error).__name__
    text = " ".join(printable(error, limit=400).split())
    return f"error[internal]: {kind}: {text} (a defect of irconv; --debug tells where)", 1


app = typer.Typer(
    cls=Group,
    name="irconv",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _flowed(text: str) -> str:
    """Paragraphs without the line breaks of the source: the terminal breaks them by its width."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _version(wanted: bool) -> None:
    if wanted:
        console.result(f"irconv {__version__}")
        raise typer.Exit(0)


@app.callback(invoke_without_command=True, help=_flowed(ABOUT))
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version.")
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A Python file with passes, ops or backends of its own."),
    ] = None,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="More on stderr; -vv still more.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress on stderr.")] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compile anew: no compiled code, no times from disk.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="A traceback with an error.")] = False,
) -> None:
    """What every command takes."""
    console.configure(quiet)
    _log(verbose)
    code_cache.set_enabled(not no_cache)
    for file in plugin or ():
        load_plugin(file)
    if context.invoked_subcommand is None:
        console.result(context.get_help().rstrip())
        raise typer.Exit(2)


def _log(verbose: int) -> None:
    logger = logging.getLogger("irconv")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG))


def load_plugin(file: Path) -> None:
    """Runs a Python file and makes the passes, ops and backends in it known."""
    if not file.is_file():
        raise UsageError("no such plugin", got=printable(file), hint="--plugin takes a Python file")
    spec = importlib.util.spec_from_file_location(f"irconv_plugin_{len(_plugins)}", file)
    if spec is None or spec.loader is None:
        raise UsageError("not a Python file", got=printable(file))
    module = importlib.util.module_from_spec(spec)
    _plugins.append(spec.name)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    register_plugin(module)


_plugins: list[str] = []

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo.demo,
    "run": run.run,
    "inspect": inspect_command.inspect,
    "opt": opt.opt,
    "matrix": matrix.matrix,
    "export": export.export,
    "emit": emit.emit,
    "bench": bench.bench,
    "check": check.check,
    "bisect": bisect.bisect,
    "list": list_command.list_all,
    "doctor": doctor.doctor,
}


for _name, _command in COMMANDS.items():
    app.command(_name, help=_flowed(_command.__doc__ or ""))(_command)


def main() -> None:
    """The `irconv` of the shell."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # the shell closed it (`>&-`): what is written there goes nowhere
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), "utf-8"))
        # a name that the terminal's encoding lacks is shown escaped, and never an error
        getattr(sys, name).reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    interrupts.put_off_in_extensions()
    app()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    sys.stderr.write(f"warning: {printable(message, limit=400)}\n")


if __name__ == "__main__":
    main()
