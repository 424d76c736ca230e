"""Makes C++ of the list of potentials: ``python manifest.py POTENTIALS.json FOLDER``.

Runs when the engine and the HOOMD-blue component are configured, with Python's own library alone.
Into the folder go ``amorph_manifest.h``, what the formulas' headers are told of themselves;
``amorph_potentials.h``, their list; and ``amorph_instances.h``, a line for each.
"""

import json
import sys
from pathlib import Path

HEADERS = Path(__file__).resolve().parent


def distance(form: "dict[str, object]", names: "list[str]") -> str:
    """A cutoff as a C++ expression of p: sigma, then the parameters of pairs."""
    terms = []
    sigma = form.get("sigma")
    if sigma is not None:
        terms.append("p[0]" if sigma == 1 else f"{sigma!r} * p[0]")
    for kind, sign in (("over", "/"), ("times", "*")):
        for name, number in form.get(kind, {}).items():
            at = f"p[{1 + names.index(name)}]"
            terms.append(at if (kind, number) == ("times", 1) else f"{number!r} {sign} {at}")
    return " + ".join(terms)


def entry(potential: "dict[str, object]") -> str:
    """What the header of a potential derives from."""
    names = [parameter["name"] for parameter in potential["parameters"]]
    r_cut = potential["r_cut"]
    r_on = potential.get("r_on", r_cut)
    listed = ", ".join(f'"{name}"' for name in names)
    numbers = "".join(
        f"    static constexpr double {which}_{kind}_{name} = {number!r};\n"
        for which, form in (("r_on", r_on), ("r_cut", r_cut))
        for kind in ("over", "times")
        for name, number in form.get(kind, {}).items()
    )
    return f"""struct {potential["class"]} {{
    static constexpr const char* name = "{potential["name"]}";
    static constexpr const char* pair_parameters[] = {{{listed}}};
{numbers}    static double r_on(const double* p) {{ return {distance(r_on, names)}; }}
    static double r_cut(const double* p) {{ return {distance(r_cut, names)}; }}
}};
"""


def files(manifest: "dict[str, object]", headers: Path = HEADERS) -> "dict[str, str]":
    """The files by their names."""
    potentials = manifest["potentials"]
    made = "// Made of potentials.json by potentials/manifest.py.\n"
    classes = [potential["class"] for potential in potentials]
    return {
        "amorph_manifest.h": made
        + "#pragma once\n\nnamespace amorph::potentials::manifest {\n\n"
        + "\n".join(map(entry, potentials))
        + "\n}  // namespace amorph::potentials::manifest\n",
        "amorph_potentials.h": made
        + "#pragma once\n\n"
        + "".join(
            f'#include "{(headers / header).as_posix()}"\n'
            for header in dict.fromkeys(potential["header"] for potential in potentials)
        )
        + f"\n#define AMORPH_POTENTIALS {', '.join(classes)}\n",
        "amorph_instances.h": made + "".join(f"AMORPH_INSTANTIATE({name})\n" for name in classes),
    }


def main() -> None:
    """Write what has changed, so that only that is compiled anew."""
    manifest = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(manifest).items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
