"""The `recloser` command, with click.

Exit status: 0 all went as it should, 1 it did not, 2 the command could not be run, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="recloser")
def main() -> None:
    """Adaptive circuit breakers for Python web apps."""


@main.command()
@click.option(
    "--seconds",
    type=click.FloatRange(30.0, 60.0),
    default=45.0,
    show_default=True,
    help="How long the schedule takes.",
)
@click.option("--serve", is_flag=True, help="Keep everything up afterwards, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def demo(*, seconds: float, serve: bool, as_json: bool) -> None:
    """Watch breakers at work on real servers and real requests.

    Two web apps run side by side under the same load, one with breakers and one without. Their
    upstream hangs, fails and turns slow, and recovers each time. At the end stands what that cost
    each of them. The exit status is 1 when the breakers did not do what they should.
    """
    # Here, because only this command needs the extra's libraries.
    try:
        from recloser_adapters.demo.children import ChildError
        from recloser_adapters.demo.show import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("httpx", "rich", "starlette", "uvicorn"):
            raise
        _fail(f"`recloser demo` needs {error.name}: pip install 'recloser[demo]'")
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
