"""Write tests/public_api.txt: every public name with its signature, one per line.

    python .ci/generate_public_api.py

A change of the public API then shows in the diff of a commit, and tests/test_public_api.py fails
where it was not meant. griffe reads the sources, so no library of an adapter has to be installed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests" / "public_api.txt"
PACKAGES = {"recloser": "middleware", "recloser_adapters": "adapters"}
HEADER = "# Written by .ci/generate_public_api.py: the public names and how they are called.\n"


def public_api() -> str:
    """Return the text of the file."""
    folders = [ROOT / folder for folder in PACKAGES.values()]
    loader = griffe.GriffeLoader(search_paths=folders)
    packages = [loader.load(package) for package in PACKAGES]
    loader.resolve_aliases(external=False)
    lines = [line for package in packages for line in _module(package)]
    return HEADER + "".join(f"{line}\n" for line in lines)


def _module(module: griffe.Module) -> Iterator[str]:
    if module.exports is not None:
        for name in sorted(str(export) for export in module.exports):
            yield from _member(f"{module.path}.{name}", module[name])
    for name in sorted(module.members):
        member = module.members[name]
        if not member.is_alias and member.is_module and not name.startswith("_"):
            yield from _module(member)


def _member(path: str, member: griffe.Object | griffe.Alias) -> Iterator[str]:
    try:
        target = member.final_target if isinstance(member, griffe.Alias) else member
    except griffe.AliasResolutionError:  # of another package
        yield path
        return
    if isinstance(target, griffe.Class):
        yield f"class {path}{_called(target)}"
        for name, attribute in sorted(target.all_members.items()):
            if not name.startswith("_"):
                yield from _member(f"{path}.{name}", attribute)
    elif isinstance(target, griffe.Function):
        word = "async def" if "async" in target.labels else "def"
        overloads = [_signature(overload) for overload in target.overloads or []]
        for signature in overloads or [_signature(target)]:
            yield f"{word} {path}{signature}"
    elif isinstance(target, griffe.Module):
        yield f"module {path}"
    else:
        yield f"{path}: {target.annotation}" if target.annotation else path


def _called(target: griffe.Class) -> str:
    """How an instance is made: by `__init__`, or by the fields of a dataclass."""
    made = target.all_members.get("__init__")
    try:
        function = made.final_target if isinstance(made, griffe.Alias) else made
    except griffe.AliasResolutionError:
        return ""
    return _signature(function) if isinstance(function, griffe.Function) else ""


def _signature(function: griffe.Function) -> str:
    kinds = griffe.ParameterKind
    stars = {kinds.var_positional: "*", kinds.var_keyword: "**"}
    shown: list[str] = []
    before: griffe.ParameterKind | None = None
    for parameter in function.parameters:
        if parameter.name in {"self", "cls"}:
            continue
        kind = parameter.kind
        if before is kinds.positional_only and kind is not before:
            shown.append("/")
        if kind is kinds.keyword_only and before not in {kind, kinds.var_positional}:
            shown.append("*")
        before = kind
        text = stars.get(kind, "") + parameter.name
        if parameter.annotation is not None:
            text += f": {parameter.annotation}"
        if parameter.default is not None and kind not in stars:
            text += f" = {parameter.default}"
        shown.append(text)
    if before is kinds.positional_only:
        shown.append("/")
    returns = f" -> {function.returns}" if function.returns else ""
    return f"({', '.join(shown)}){returns}"


if __name__ == "__main__":
    text = public_api()
    TARGET.write_text(text)
    sys.stdout.write(f"{TARGET}: {text.count(chr(10)) - 1} names\n")
