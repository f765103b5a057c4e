"""Runs the tests that a project's source distribution carries: plain, guarded, and with mistakes.

Everything stays on loopback but the download from the package index.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HANGS = "hangs"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A project's tests.

    Attributes:
        project: Its name on the package index.
        version: Which of its versions.
        requirements: With what they pass; the project itself without a version.
        selection: Arguments for pytest. A test may be left out only for a reason that is stated
            here and holds without us.
        places: Where we stand, see `inbound_plugin`.
        plugin: The plugin that guards; "" for the tests of Django, which have a runner of their own.
        patience: Seconds after which a mistake has hung them, which is noticed as well.
        controls: Mistakes that these tests must notice, see `inbound_plugin.MISTAKES`.
    """

    project: str
    version: str
    requirements: Sequence[str]
    selection: Sequence[str] = ()
    places: Sequence[str] = ("outside",)
    plugin: str = "inbound_plugin"
    patience: float = 120.0
    controls: Sequence[str] = ("header", "body", "leak")

    @property
    def folder(self) -> str:
        return f"{self.project.replace('-', '_')}-{self.version}"


@dataclass(frozen=True)
class Run:
    """One run of a suite: guarded from where, with which mistake in the guard."""

    place: str | None = None
    mistake: str = ""

    def __str__(self) -> str:
        if self.mistake:
            return f"control: {self.mistake}"
        return f"guarded {self.place}" if self.place else "plain"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a run."""

    passed: int
    failed: int
    summary: str
    account: str = ""
    exit_status: int = 0

    def __str__(self) -> str:
        return f"{self.summary} {self.account}".strip()


SUITES = {
    "starlette": Suite(
        project="starlette",
        version="1.3.1",
        # They run on asyncio and on trio, and turn the warnings of newer libraries into errors.
        requirements=[
            "starlette[full]",
            "anyio==4.13.0",
            "httpx==0.28.1",
            "httpx2[zstd]==2.4.0",
            "importlib-metadata==9.0.0",
            "pytest==9.1.1",
            "trio==0.33.0",
        ],
        places=("outside", "inside"),
    ),
    "flask": Suite(
        project="flask",
        version="3.1.3",
        requirements=[
            "flask[async,dotenv]",
            "click==8.3.1",
            "cryptography>=42",
            "greenlet>=3",
            "pytest==9.0.2",
            "werkzeug==3.1.5",
        ],
        # A second header is nothing to Flask's tests: they never compare the whole list.
        controls=("body", "silent", "unclosed", "leak"),
    ),
    "werkzeug": Suite(
        project="werkzeug",
        version="3.1.5",
        requirements=[
            "werkzeug",
            "cffi",
            "cryptography>=42",
            "ephemeral-port-reserve",
            "pytest==9.0.2",
            "pytest-timeout",
            "watchdog",
        ],
        # They wait for files to change, and fail on a busy machine without us.
        selection=["-k", "not reloader and not test_server", "tests"],
        # Not `silent`: none of their apps raises through the client.
        controls=("header", "body", "leak"),
    ),
    "django": Suite(
        project="django",
        version="5.2.8",
        requirements=["django", "pytest", "jinja2", "PyYAML", "pytz"],
        # Those that call handlers: by the interfaces, by servers, and by the test client.
        selection=[
            *("handlers", "wsgi", "asgi", "servers", "builtin_server", "staticfiles_tests"),
            *("middleware", "middleware_exceptions", "test_client", "test_client_regress"),
            *("view_tests", "urlpatterns", "urlpatterns_reverse", "i18n.patterns", "responses"),
        ],
        places=("outside", "inside"),
        plugin="",
        # Not `silent`: Django's handlers raise nothing, they answer 500 themselves.
        controls=("header", "body", "unclosed", "leak"),
    ),
    "requests": Suite(
        project="requests",
        version="2.32.5",
        requirements=[
            "requests[socks]",
            "flask<3.1",
            "httpbin==0.10.2",
            "pytest==8.4.2",
            "pytest-httpbin==2.1.0",
            "pytest-mock",
            "trustme==1.2.1",
            "werkzeug<3.1",
        ],
        # These dial an address that is not on loopback, and wait until nobody answers, or look up a
        # name that there is not.
        selection=[
            *("-k", "not connect_timeout and not total_timeout_connect and not doesnotexist"),
            "tests",
        ],
        plugin="outbound_plugin",
        controls=("header", "body", "silent", "leak"),
    ),
    "aiohttp": Suite(
        project="aiohttp",
        version="3.14.5",
        requirements=[
            "aiohttp",
            "blockbuster",
            "freezegun",
            "isal",
            "proxy.py",
            "pytest",
            "pytest-cov",
            "pytest-mock",
            "pytest-timeout",
            "pytest-xdist",
            "pytest_codspeed",
            "python-on-whales",
            "trustme",
            "zlib_ng",
        ],
        selection=[
            *("-o", "addopts=", "-m", "not dev_mode and not autobahn and not internal"),
            # Its response is a mock, whose body cannot be watched. That is counted as a fault.
            *("--deselect", "tests/test_client_session.py::test_client_session_timeout_zero"),
            "tests/test_client_functional.py",
            "tests/test_client_middleware.py",
            "tests/test_client_middleware_digest_auth.py",
            "tests/test_client_session.py",
            "tests/test_client_ws_functional.py",
        ],
        plugin="outbound_plugin",
        patience=600.0,
        controls=("header", "body", "silent", "leak"),
    ),
}


def main(arguments: list[str]) -> int:
    """Run a suite; 0 if it passes guarded as it does plain, and fails with each mistake."""
    options = _options(arguments)
    if options.name == "suite":
        project, _, version = options.project.partition("==")
        suite = Suite(project=project, version=version, requirements=[project, "pytest"])
    else:
        suite = SUITES[options.name]
    if options.version:
        suite = replace(suite, version=options.version)
    suite = replace(
        suite,
        requirements=[*suite.requirements, *options.require],
        selection=[*suite.selection, *options.pytest],
        controls=[options.control] if options.control else suite.controls,
    )
    with tempfile.TemporaryDirectory(prefix="foreign-") as scratch:
        workshop = Workshop(suite, (options.keep or Path(scratch)).resolve())
        workshop.prepare()
        runs = [Run(), *(Run(place) for place in suite.places)]
        controls = [Run(suite.places[0], mistake) for mistake in suite.controls]
        results = {
            run: workshop.run(run) for run in (controls if options.control else [*runs, *controls])
        }
    return judge(results)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests.foreign", description=__doc__, epilog="Arguments after -- go to pytest."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--version", help="another version than the one that is pinned")
    common.add_argument("--require", action="append", default=[], help="install this, too")
    common.add_argument("--control", help="only run with this mistake, which must be noticed")
    common.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR and leave it there")
    names = parser.add_subparsers(dest="name", required=True)
    for name in SUITES:
        names.add_parser(name, parents=[common])
    other = names.add_parser("suite", parents=[common], help="any other project's tests")
    other.add_argument("project", help="PROJECT==VERSION")
    # Split by hand: argparse would take a project for an argument of pytest.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    options.pytest = arguments[end + 1 :]
    return options


@dataclass
class Workshop:
    """A folder with an environment, the unpacked tests, and nothing else."""

    suite: Suite
    place: Path
    python: Path = field(init=False)

    def __post_init__(self) -> None:
        self.python = self.place / "venv" / "bin" / "python"

    def prepare(self) -> None:
        """Download, unpack and install."""
        suite = self.suite
        if not self.python.exists():
            venv.create(self.place / "venv", with_pip=True, clear=True)
        pip = [str(self.python), "-m", "pip", "-qq", "--disable-pip-version-check"]
        pinned = [
            f"{each}=={suite.version}" if each.partition("[")[0] == suite.project else each
            for each in suite.requirements
        ]
        subprocess.run([*pip, "install", *pinned], check=True)
        source = ["--no-deps", "--no-binary", ":all:", f"{suite.project}=={suite.version}"]
        subprocess.run([*pip, "download", *source, "--dest", str(self.place)], check=True)
        with tarfile.open(self.place / f"{suite.folder}.tar.gz") as archive:
            shutil.rmtree(self.place / suite.folder, ignore_errors=True)
            archive.extractall(self.place, filter="data")
        # Without the sources: what is tested is what is installed.
        shutil.rmtree(self.place / suite.folder / suite.project, ignore_errors=True)

    def run(self, run: Run) -> Result:
        """Run the tests once."""
        plugin = self.suite.plugin
        command = [str(self.python), "-m", "pytest", "-q", *self.suite.selection]
        if not plugin:
            command = [str(self.python), str(HERE / "django_runner.py"), "tests/runtests.py"]
            command += self.suite.selection
        environment = dict(os.environ)
        # Only one run counts for the totals of tox: the guarded one.
        if run.place is None or run.mistake:
            environment.pop("PYTEST_ADDOPTS", None)
        elif run.place != self.suite.places[0]:
            # Beside the file of the first place, see .ci/totals.py.
            addopts = environment.get("PYTEST_ADDOPTS", "")
            environment["PYTEST_ADDOPTS"] = addopts.replace(".xml", f".{run.place}.xml")
        if run.place is not None:
            path = [str(HERE), str(ROOT / "middleware"), str(ROOT / "adapters")]
            environment["PYTHONPATH"] = os.pathsep.join(path)
            environment["RECLOSER_PLACE"] = run.place
            environment["RECLOSER_CONTROL"] = run.mistake
            command += ["-p", plugin] if plugin else []
        return self._finish(run, [*_without_privileges(), *command], environment)

    def _finish(self, run: Run, command: list[str], environment: dict[str, str]) -> Result:
        try:
            done = subprocess.run(
                command,
                cwd=self.place / self.suite.folder,
                env=environment,
                capture_output=True,
                text=True,
                # A mistake may hang a test, and that is noticed as well.
                timeout=self.suite.patience if run.mistake else 600,
            )
        except subprocess.TimeoutExpired:
            result = Result(passed=0, failed=1, summary=HANGS, exit_status=1)
        else:
            result = _read(done.stdout, done.returncode)
            if done.returncode and not run.mistake:
                print(done.stdout[-8000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        print(f"{run!s:18} {result}", flush=True)
        return result


def _without_privileges() -> list[str]:
    """Let root be asked for permissions like anyone: Starlette tests files that it may not read."""
    if os.name != "posix" or os.geteuid() != 0 or not (setpriv := shutil.which("setpriv")):
        return []
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search", "--"]


def _read(output: str, exit_status: int) -> Result:
    lines = output.strip().splitlines() or [""]

    def count(word: str) -> int:
        return sum(int(number) for number in re.findall(rf"(\d+) {word}", lines[-1]))

    return Result(
        passed=count("passed"),
        failed=count("failed") + count("errors?"),
        summary=lines[-1].strip("= "),
        account=next((f"({line})" for line in lines if line.startswith("recloser:")), ""),
        exit_status=exit_status,
    )


def judge(results: dict[Run, Result]) -> int:
    """Say whether it went as it should, and return the exit status."""
    wrong: list[str] = []
    plain = results.get(Run())
    for run, result in results.items():
        if run.mistake and not result.exit_status:
            wrong.append(f"{run}: nobody noticed")
        elif run.mistake and not result.passed and result.summary != HANGS:
            wrong.append(f"{run}: the tests did not run")
        elif not run.mistake and (result.exit_status or not result.passed):
            wrong.append(f"{run}: fails")
        elif plain and not run.mistake and result.passed != plain.passed:
            wrong.append(f"{run}: {result.passed} passed, and {plain.passed} without us")
    print("\n".join(wrong) if wrong else "as without us, and each mistake was noticed")
    return 1 if wrong else 0
