"""The share of killed mutants for each module, and the survivors."""

from __future__ import annotations

from benchmarks.mutation.kept import Verdict
from benchmarks.mutation.mutants import Mutant


def report(
    mutants: list[Mutant], verdicts: dict[str, Verdict], accepted: dict[str, str], goal: float
) -> int:
    """Print what became of the mutants; return the exit status.

    Args:
        mutants: Those that were tried, or killed before.
        verdicts: By their names.
        accepted: Names of survivors to their reasons.
        goal: The share that must be killed, or accepted with a reason, 0.0-1.0.
    """
    modules: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        modules.setdefault(mutant.module, []).append(mutant)
    unknown = 0
    print(f"\n{'module':58}{'killed':>8}{'of':>6}{'share':>8}{'accepted':>10}{'left':>6}")
    total = killed = accepted_all = 0
    for name, of_module in modules.items():
        survivors = [each for each in of_module if not verdicts[each.name].killed_by]
        named = [each for each in survivors if each.name in accepted]
        dead = len(of_module) - len(survivors)
        left = len(survivors) - len(named)
        print(
            f"{name:58}{dead:8}{len(of_module):6}{dead / len(of_module):8.1%}"
            f"{len(named):10}{left:6}"
        )
        total, killed = total + len(of_module), killed + dead
        accepted_all, unknown = accepted_all + len(named), unknown + left
    share = killed / total if total else 1.0
    print(f"{'all':58}{killed:8}{total:6}{share:8.1%}{accepted_all:10}{unknown:6}")
    for mutant in mutants:
        if not verdicts[mutant.name].killed_by and mutant.name not in accepted:
            print(f"\n{mutant.module}:{mutant.line} in {mutant.function or 'the module'}")
            before, _, after = mutant.change.rpartition(" -> ")
            print(f"    {mutant.source}\n  - {before}\n  + {after}\n  '''{mutant.name}''',")
    killed_names = {each.name for each in mutants if verdicts[each.name].killed_by}
    for name in accepted:
        if name in killed_names:
            print(f"\nno longer a survivor, remove it from accepted.toml: {name}")
            unknown += 1
    return int(unknown > 0 or share < goal)


def print_stale(names: set[str], accepted: dict[str, str]) -> bool:
    """Print what is accepted and not there any more; `names` are those of all mutants."""
    stale = [name for name in accepted if name not in names]
    for name in stale:
        print(f"\nno such mutant any more, remove it from accepted.toml: {name}")
    return bool(stale)
