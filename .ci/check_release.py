"""Check that a tag can be released, before anything is built.

    python .ci/check_release.py v0.2.0
    python .ci/check_release.py --kind v0.2.1 v0.2.0

The first form fails with one line if the tag is not the version of the project, if CHANGELOG.md has
no section for it, or if pyproject.toml does not name the project's own addresses. The second prints
`major`, `minor` or `patch`: what has changed from one tag to the other. A patch may not break the
public API. Before 1.0 a minor version may.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


def problems(tag: str, pyproject: str, changelog: str) -> list[str]:
    """Say what stands in the way of a release, one sentence each.

    Args:
        tag: The tag, such as `v0.2.0`.
        pyproject: The text of pyproject.toml.
        changelog: The text of CHANGELOG.md.
    """
    project = tomllib.loads(pyproject)["project"]
    found = []
    if not TAG.fullmatch(tag):
        found.append(f"the tag {tag!r} is not like v1.2.3")
    elif tag[1:] != project["version"]:
        found.append(f"the tag is {tag}, and version in pyproject.toml is {project['version']}")
    if not re.search(rf"^## \[?{re.escape(tag[1:])}\b", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md has no section `## {tag[1:]}`")
    if "Source" not in project.get("urls", {}):
        found.append("pyproject.toml has no [project.urls] with Source: write where the code is")
    return found


def kind(tag: str, before: str) -> str:
    """Return which part of the version differs first: `major`, `minor` or `patch`."""
    new, old = TAG.fullmatch(tag), TAG.fullmatch(before)
    if new is None or old is None:
        raise SystemExit(f"{tag} and {before} must be like v1.2.3")
    for name, a, b in zip(("major", "minor"), new.groups(), old.groups(), strict=False):
        if a != b:
            return name
    return "patch"


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for; return the exit status."""
    if arguments[:1] == ["--kind"] and len(arguments) == 3:
        print(kind(*arguments[1:]))
        return 0
    if len(arguments) != 1:
        print("usage: check_release.py TAG | check_release.py --kind TAG TAG", file=sys.stderr)
        return 2
    found = problems(
        arguments[0], (ROOT / "pyproject.toml").read_text(), (ROOT / "CHANGELOG.md").read_text()
    )
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
