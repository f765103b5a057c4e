"""The `recloser` command, made with argparse: it needs the standard library only, except for the demo.

Exit status: 0 success, 1 the server refused, or the demo did not go as expected, 2 wrong use or
something is not installed, 3 no answer from a dashboard or a store, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import NoReturn

from recloser import parse_duration
from recloser_adapters._command.credentials import VARIABLE, password_of
from recloser_adapters._command.dashboard_api import WRONG_USE, CommandError, DashboardApi
from recloser_adapters._command.fleet_source import VARIABLE as STORE
from recloser_adapters._command.fleet_source import StoreSource
from recloser_adapters._command.fleet_table import lines_of_fleet
from recloser_adapters._command.status import EVERY, show_status
from recloser_adapters._command.steer import ACTIONS, TIMED, steer
from recloser_adapters._command.table import lines_of

INTERRUPTED = 130
# The demo's child processes import these. Without this check only those processes would fail.
DEMO_LIBRARIES = ("httpx", "rich", "starlette", "uvicorn")

_EPILOG = (
    "exit status: 0 success, 1 the server refused or the demo did not go as expected, 2 wrong use, "
    "3 no answer from a dashboard or a store, 130 interrupted"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What follows its name; None for those of the process.

    Returns:
        The exit status.
    """
    # A key may have characters that the terminal cannot show.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        options = _parser().parse_args(arguments)
        return int(options.run(options) or 0)
    except CommandError as error:
        print(f"recloser: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has enough (`| head`). Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USE, f"{self.prog}: {message} (`{self.prog} --help` shows the options)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="recloser",
        description="Adaptive circuit breakers for Python web apps.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"recloser {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: str, more: str = "") -> argparse.ArgumentParser:
        said = does[0].upper() + does[1:]
        return commands.add_parser(
            name,
            help=does,
            description=f"{said}. {more}".replace("%", "%%"),
            epilog=_EPILOG,
            allow_abbrev=False,
        )

    _add_demo(command("demo", "watch breakers at work on real servers and real requests", _DEMO))
    status = command("status", "show all keys of a dashboard, worst first", _OF_ONE_PROCESS)
    _add_dashboard(status)
    _add_watch(status)
    status.set_defaults(run=_status)
    _add_fleet(command("fleet", "show the workers that share a store, and what they decided"))
    for action, does in ACTIONS.items():
        _add_action(command(action, does, _OF_ONE_PROCESS), action)
    return parser


_OF_ONE_PROCESS = (
    "Each process has its own breakers; it is the process that answers whose breakers are meant. "
    "Where workers share a store, what is done in one of them reaches all."
)
_DEMO = (
    "Two web apps run side by side under the same load, one with breakers and one without. Their "
    "upstream hangs, fails and becomes slow, and recovers each time. A summary shows the cost for "
    "each app. The exit status is 1 if the breakers did not do what is expected of them."
)


def _version() -> str:
    try:
        return version("recloser")
    except PackageNotFoundError:  # in a checkout that is not installed
        return "(not installed)"


def _add_dashboard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="where the Dashboard is mounted")
    _add_output(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user", metavar="NAME", help=f"the password is read from {VARIABLE}, or asked for"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    parser.add_argument(
        "--every",
        type=_seconds,
        default=EVERY,
        metavar="TIME",
        help=f"with --watch, the time between two looks (default: {EVERY:g}s)",
    )


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    does = "show the workers, and the keys that are watched or not closed"
    status = commands.add_parser(
        "status",
        help=does,
        description=f"{does[0].upper()}{does[1:]}. A store is read, and not written.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    source = status.add_mutually_exclusive_group()
    source.add_argument(
        "--store",
        metavar="PLACE",
        help=f"the path of a file, or a URL such as redis://cache:6379/0 (default: ${STORE})",
    )
    source.add_argument("--url", metavar="URL", help="ask the Dashboard of a worker instead")
    status.add_argument(
        "--namespace", metavar="NAME", help="the fleet, where several apps share the store"
    )
    _add_output(status)
    _add_watch(status)
    status.set_defaults(run=_fleet_status)


def _add_action(parser: argparse.ArgumentParser, action: str) -> None:
    _add_dashboard(parser)
    parser.add_argument("key", metavar="KEY", type=_key, help="as `recloser status` shows it")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason that is recorded")
    if action in TIMED:
        parser.add_argument(
            "--for",
            dest="seconds",
            type=_seconds,
            metavar="TIME",
            help="such as 30s, 10m or 1h30m; without it, it does not expire",
        )
    if action == "enforce":
        parser.add_argument(
            "--share", type=_share, metavar="SHARE", help="of the callers, 0.0 to 1.0"
        )
    parser.set_defaults(run=_steer, action=action)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        type=_demo_seconds,
        default=45,
        metavar="30..60",
        help="how long the schedule takes (default: 45)",
    )
    parser.add_argument(
        "--serve", action="store_true", help="keep all processes running afterwards, until Ctrl-C"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--dashboard", action="store_true", help="show the breakers in a browser as well"
    )
    parser.set_defaults(run=_demo)


# What the arguments may be


def _seconds(text: str) -> float:
    seconds = parse_duration(text)
    if not seconds:
        hint = f": write {text}s" if text.isdecimal() and int(text) else ""
        raise argparse.ArgumentTypeError(
            f"must be a time such as 30s, 10m or 1h30m, not {text!r}{hint}"
        )
    return seconds


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"must be a share in 0.0-1.0, not {text!r}")
    return share


def _key(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _demo_seconds(text: str) -> int:
    if not (text.isdecimal() and 30 <= int(text) <= 60):
        raise argparse.ArgumentTypeError(f"must be a whole number in 30-60, not {text!r}")
    return int(text)


# The commands


def _status(options: argparse.Namespace) -> None:
    api = DashboardApi(options.url, options.user, password_of(options.user))
    every = options.every if options.watch else None
    show_status(api.keys, lines_of, as_json=options.json, every=every)


def _fleet_status(options: argparse.Namespace) -> None:
    every = options.every if options.watch else None
    if options.url is not None:
        if options.namespace is not None:
            raise CommandError("--namespace is for a store: leave out --url", WRONG_USE)
        api = DashboardApi(options.url, options.user, password_of(options.user))
        show_status(api.fleet, lines_of_fleet, as_json=options.json, every=every)
        return
    if options.user is not None:
        raise CommandError("--user is for a dashboard: give --url URL as well", WRONG_USE)
    with closing(StoreSource(options.store, options.namespace)) as source:
        show_status(source.fleet, lines_of_fleet, as_json=options.json, every=every)


def _steer(options: argparse.Namespace) -> None:
    api = DashboardApi(options.url, options.user, password_of(options.user))
    steer(
        api,
        options.action,
        options.key,
        why=options.why,
        seconds=getattr(options, "seconds", None),
        share=getattr(options, "share", None),
        as_json=options.json,
    )


def _demo(options: argparse.Namespace) -> int:
    missing = [library for library in DEMO_LIBRARIES if find_spec(library) is None]
    if missing:
        raise CommandError(
            f"`recloser demo` needs {', '.join(missing)}: pip install 'recloser[demo]'", WRONG_USE
        )
    # Imported here, because only this command needs the libraries of the extra.
    from recloser_adapters._command.demo.children import ChildError
    from recloser_adapters._command.demo.run import run

    try:
        return run(
            seconds=options.seconds,
            serve=options.serve,
            as_json=options.json,
            dashboard=options.dashboard,
        )
    except ChildError as error:
        raise CommandError(str(error), WRONG_USE) from None
