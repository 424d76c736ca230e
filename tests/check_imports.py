"""Check who imports whom: the directions that docs/architecture.md draws.

handover imports nothing of ours; ensemble and bridge import handover only; campaigns may import
all three, and so may hoomd.amorph (the component), the bridge only where it is used; amorph itself
starts the command line. Inside the bridge and campaigns a room imports those before it, and what
studies share knows none of them. What a package must not need at import (MPI, JAX, HOOMD) is
checked too.
Run as ``python tests/check_imports.py``; exits with 1 and a line for each import that is not
allowed.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "handover": ROOT / "hoomd_plugin" / "handover",
    "ensemble": ROOT / "hoomd_plugin" / "ensemble",
    "bridge": ROOT / "bridge",
    "campaigns": ROOT / "campaigns",
    "component": ROOT / "hoomd_plugin" / "component",
    "package": ROOT / "package" / "amorph",
}
ALLOWED: dict[str, set[str]] = {
    "handover": set(),
    "ensemble": {"handover"},
    "bridge": {"handover"},
    "campaigns": {"handover", "ensemble", "bridge"},
    "component": {"handover", "ensemble"},
    "package": {"campaigns"},
}
# What a package may import where it is used, inside of a function: hoomd.amorph starts without JAX.
WHERE_USED: dict[str, set[str]] = {"component": {"bridge"}}
# A room imports itself, the rooms before it, and what stands in the root of its package.
ROOMS = {
    "bridge": (
        *("matter", "solve", "minima", "features", "sensitivity", "loading"),
        *("landscapes", "networks", "surrogates"),
    ),
    "campaigns": ("store", "inputs", "spread", "pictures", "report", "studies", "cli"),
}
# Of the studies one may stand on another; what they share (`study`, `rows`, ...) knows none.
STUDIES = ("analyze", "design", "gradient")
OUTSIDE_FORBIDDEN = {
    "handover": {"jax", "scipy", "mpi4py", "hoomd", "pandas", "matplotlib"},
    "ensemble": {"jax", "scipy", "mpi4py", "hoomd", "gsd", "matplotlib"},
    "bridge": {"mpi4py", "hoomd", "gsd", "pandas", "matplotlib"},
    "campaigns": {"hoomd"},
    "component": {"mpi4py", "pandas", "matplotlib"},
    "package": {"numpy", "jax", "typer", "rich"},
}


def imported(path: Path) -> list[tuple[int, str]]:
    out = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            out += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "amorph":
                out += [(node.lineno, f"amorph.{alias.name}") for alias in node.names]
            else:
                out.append((node.lineno, node.module))
    return out


def typed_only(path: Path, line: int) -> bool:
    """Whether an import stands in a block that only type checkers read, or in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        inside = isinstance(node, ast.FunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        if inside and node.lineno <= line <= (node.end_lineno or 0):
            return True
    return False


def faults() -> list[str]:
    out = []
    for name, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            if path.parent.name == "pytest":  # the component's own tests
                continue
            for line, module in imported(path):
                where = f"{path.relative_to(ROOT)}:{line}"
                parts = module.split(".")
                if parts[0] == "amorph":
                    other = parts[1] if len(parts) > 1 else ""
                    late = other in WHERE_USED.get(name, set()) and typed_only(path, line)
                    if other != name and other not in ALLOWED[name] and not late:
                        out.append(f"{where}: {name} must not import {module}")
                elif parts[0] in OUTSIDE_FORBIDDEN[name] and not typed_only(path, line):
                    out.append(f"{where}: {name} must not need {module}")
                elif parts[0] in FOLDERS or parts[0] == "hoomd_plugin":
                    out.append(f"{where}: import amorph.{parts[-1]}, not {module}")
    return out


def own_imports(path: Path, folder: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The relative imports of a module, as paths from its package's root."""
    here = path.relative_to(folder).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - (node.level - 1)]
            module = node.module.split(".") if node.module else []
            for alias in node.names:
                yield node.lineno, (*base, *module, alias.name)


def room_faults() -> list[str]:
    out = []
    for package, rooms in ROOMS.items():
        folder = FOLDERS[package]
        for path in sorted(folder.rglob("*.py")):
            room, *rest = path.relative_to(folder).parts
            for line, (other, *inner) in own_imports(path, folder):
                where = f"{path.relative_to(ROOT)}:{line}"
                if room in rooms and other in rooms and rooms.index(other) > rooms.index(room):
                    out.append(f"{where}: {room} comes before {other} and must not import it")
                if room == other == "studies" and inner and inner[0] in STUDIES:
                    own = rest[0] if rest[0] in STUDIES else ""
                    known = STUDIES[: STUDIES.index(own) + 1] if own else ()
                    if inner[0] not in known:
                        out.append(f"{where}: {own or rest[0]} must not import study {inner[0]}")
    return out


def main() -> int:
    found = faults() + room_faults()
    print("\n".join(found) or "imports go only where they may")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
