"""The `recloser` command, made with click.

Exit status: 0 success, 1 an expectation was not met, 2 the command could not run, 130 interrupted.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import NoReturn

import click

# The demo's child processes import these. Without this check only those processes would fail.
DEMO_LIBRARIES = ("httpx", "rich", "starlette", "uvicorn")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="recloser")
def main() -> None:
    """Adaptive circuit breakers for Python web apps."""


@main.command()
@click.option(
    "--seconds",
    type=click.IntRange(30, 60),
    default=45,
    show_default=True,
    help="How long the schedule takes.",
)
@click.option("--serve", is_flag=True, help="Keep all processes running afterwards, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def demo(*, seconds: int, serve: bool, as_json: bool) -> None:
    """Watch breakers at work on real servers and real requests.

    Two web apps run side by side under the same load, one with breakers and one without. Their
    upstream hangs, fails and becomes slow, and recovers each time. A summary shows the cost for each
    app. The exit status is 1 if the breakers did not do what is expected of them.
    """
    missing = [library for library in DEMO_LIBRARIES if find_spec(library) is None]
    if missing:
        _fail(f"`recloser demo` needs {', '.join(missing)}: pip install 'recloser[demo]'")
    # Imported here, because only this command needs the libraries of the extra.
    from recloser_adapters._command.demo.children import ChildError
    from recloser_adapters._command.demo.run import run

    try:
        status = run(seconds=seconds, serve=serve, as_json=as_json)
    except ChildError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def _fail(message: str) -> NoReturn:
    click.echo(f"recloser: {message}", err=True)
    sys.exit(2)
