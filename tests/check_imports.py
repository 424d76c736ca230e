"""Check who imports whom: the directions that docs/architecture.md draws.

handover imports nothing of ours; ensemble and bridge import handover only; campaigns may import
all three, and so may hoomd.amorph (the component), the bridge only where it is used; amorph itself
starts the command line. Inside the bridge a room imports those before it. What a package must not
need at import (MPI, JAX, HOOMD) is checked too.
Run as ``python tests/check_imports.py``; exits with 1 and a line for each import that is not
allowed.
"""

import ast
import sys
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
# A room of the bridge imports itself, the rooms before it, and what stands in the bridge's root.
ROOMS = ("matter", "solve", "minima", "features", "sensitivity", "loading")
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


def room_faults() -> list[str]:
    out = []
    for path in sorted(FOLDERS["bridge"].glob("*/*.py")):
        room = path.parent.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or node.level != 2:
                continue
            other = (node.module or "").split(".")[0]
            if other in ROOMS and ROOMS.index(other) >= ROOMS.index(room):
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                out.append(f"{where}: {room} comes before {other} and must not import it")
    return out


def main() -> int:
    found = faults() + room_faults()
    print("\n".join(found) or "imports go only where they may")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
