"""What the commands share: errors on one line, and subcommands."""

from __future__ import annotations

import logging
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ..data.files import printable
from ..errors import UserError

Main = Callable[[Sequence[str] | None], int]


def parser_of(command: str, description: str | None) -> ArgumentParser:
    """The parser of a command. It has the name that was typed: "semiconv check", or a script."""
    program = Path(sys.argv[0])
    own = program.stem in ("semiconv", "__main__")
    return ArgumentParser(
        prog=f"semiconv {command}" if own else program.name,
        description=description,
        formatter_class=RawDescriptionHelpFormatter,
    )


def say(text: object, file: TextIO | None = None) -> None:
    """Prints a text, with control characters made visible: names from files may contain them.

    Args:
        file: by default the standard output.
    """
    print(printable(str(text)), file=file)


def finish(run: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Runs a command to its end; an error of its user becomes one line on stderr.

    Args:
        run: does the work, and may return the exit status.
        interrupted: what to say when the user stops it.

    Returns:
        The exit status: 1 after an error.
    """
    try:
        with _logging_printable():
            return run() or 0
    except ModuleNotFoundError as error:
        message = f"{error}; install it with: pip install {error.name}"
    except (UserError, OSError) as error:
        message = _tell(error)
    except KeyboardInterrupt:
        message = interrupted
    say(f"error: {message}", file=sys.stderr)
    return 1


def _tell(error: Exception) -> str:
    """The message of an error, without the traceback that a data loading process adds to it."""
    text = str(error)
    if not text.startswith("Caught "):
        return text
    return text.rstrip().rpartition("\n")[2].partition(": ")[2]


@contextmanager
def _logging_printable() -> Iterator[None]:
    """Within the context, control characters in log messages are made visible."""
    before = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        try:
            text = record.getMessage()
        except Exception:  # a faulty record of another package; its handler reports it
            return record
        # Detectron2 colours its tables.
        parts = re.split(r"(\x1b\[[0-9;]*m)", text) if "\x1b" in text else [text]
        parts[::2] = map(printable, parts[::2])
        record.msg, record.args = "".join(parts), ()
        return record

    logging.setLogRecordFactory(make)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


def dispatch(
    program: str,
    description: str,
    commands: Mapping[str, tuple[Callable[[], Main], str]],
    arguments: Sequence[str],
) -> int:
    """Runs the command that the first argument names, with the other arguments.

    Args:
        program: the words before the arguments, such as "semiconv prepare".
        commands: by name, a function that returns the command, and a short description of it.
    """
    width = max(map(len, commands))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in commands.items())
    usage = f"{description}\n\nusage: {program} COMMAND …\n\n{listed}"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{usage}\n\nArguments of a command: {program} COMMAND --help")
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in commands:
        print(f"error: {program} has no command {name!r}\n\n{usage}", file=sys.stderr)
        return 2
    return commands[name][0]()(rest)
