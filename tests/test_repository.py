"""The repository as a whole: which room knows which, what the core loads, that the words fit the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import ichor
from ichor.detecting import load_bundle
from ichor.notices import NOTICES

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ichor"
SHARED = {"labels", "errors", "notices", "exam", "findings", "memory", "progress", "uids"}
CORE = ("reading", "preparing", "detecting", "reporting", "cli")
MAY_IMPORT = {
    "shared": SHARED,
    "reading": SHARED,
    "preparing": SHARED | {"reading"},
    "detecting": SHARED | {"reading", "preparing"},
    "reporting": SHARED | {"reading", "preparing", "detecting"},
    "datasets": SHARED | {"reading", "preparing"},
    "models": set(),
    "evaluating": SHARED | {"reading", "preparing", "detecting", "datasets"},
    "exploring": SHARED | {"reading", "preparing", "datasets"},
    "training": SHARED | {"reading", "preparing", "detecting", "datasets", "models", "evaluating"},
    "results": SHARED | {"reading", "preparing", "detecting", "reporting"},
    "bulk": SHARED | {"reading", "preparing", "detecting", "reporting", "results", "datasets"},
    "jobs": SHARED | {"reading", "preparing", "detecting", "reporting", "results"},
    "serving": SHARED | {"reading", "preparing", "detecting", "reporting", "results", "jobs"},
    "node": SHARED | {"reading", "preparing", "detecting", "reporting", "results", "jobs", "serving"},
    "cli": SHARED
    | {
        *CORE,
        "results",
        "datasets",
        "models",
        "evaluating",
        "exploring",
        "training",
        "bulk",
        "jobs",
        "serving",
        "node",
    },
}
MOST_LINES = 500
MOST_FUNCTION_LINES = 60
"""Without signature and docstring."""
MOST_PARAMETERS = 7
MOST_WORDS = 600
LONG_PAGES = {
    "docs/reference/notices.md": "printed from the code, and looked up",
    "docs/reference/glossary.md": "one table, looked up",
    "docs/reference/dicom-conformance.md": "has the form that the standard gives it",
}
FORMER_WORDS = {
    *("judge", "judges", "judged", "judging", "judgement", "opinion", "opinions", "hottest", "soup", "lone"),
    *(
        "keeping",
        "trait",
        "traits",
        "cuts",
        "learnt",
        "unlike",
        "said",
        "says",
        "told",
        "tell",
        "tells",
        "untold",
    ),
    *("spoken", "who", "whom", "copies", "gather"),
}
"""The field has words for these (docs/reference/glossary.md)."""
FORMER_CLASSES = {"placed", "wanted", "here", "lost", "gone"}
KEPT_WORDS = {
    ("training/recipe.py", "lone"): "a key of recipes",
    ("training/recipe.py", "says"): "a key of recipes",
    ("models/specs.py", "hottest"): "a key of recipes",
    ("reading/tarball.py", "tell"): "a method of every file object",
    ("training/stacking.py", "opinions"): "names the input of a graph in bundles",
}
"""Names that others fix, and that therefore stay."""
MANY_PARAMETERS = {
    ("src/ichor/errors.py", "__init__"): "an exception that holds what a dataclass would",
    ("src/ichor/evaluating/calls.py", "evaluate"): "mirrors a command",
    ("src/ichor/training/calls.py", "train"): "mirrors a command",
}


@cache
def tracked() -> list[Path]:
    """What a clone would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("needs a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@cache
def texts() -> dict[str, str]:
    """Every tracked file that is text, by its path from the root."""
    out = {}
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            out[path.relative_to(ROOT).as_posix()] = content.decode("utf-8", errors="replace")
    return out


def pages() -> list[str]:
    return sorted(name for name in texts() if name.endswith(".md"))


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def room_of(path: Path) -> str | None:
    """The room that a module belongs to; None for the package's own ``__init__``, which names every room lazily."""
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return None if first == "__init__" else "shared" if first in SHARED else first


def imported(path: Path) -> set[str]:
    """Rooms and shared modules that a module imports, anywhere in it."""
    found = set()
    for node in nodes(path):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = (
                [f"{node.module}.{a.name}" for a in node.names] if node.module == "ichor" else [node.module]
            )
        found |= {name.split(".")[1] for name in names if name.startswith("ichor.")}
    return found - {"__version__"}


# -- rooms ---------------------------------------------------------------------------------------------


def test_every_module_has_a_room():
    assert {room_of(path) for path in modules()} - {None} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_know_only_what_lies_to_their_left(room):
    wrong = {
        path.relative_to(SOURCE).as_posix(): sorted(beyond)
        for path in modules()
        if room_of(path) == room and (beyond := imported(path) - MAY_IMPORT[room] - {room})
    }
    assert not wrong


def test_the_picture_of_the_rooms_shows_these_rules(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from draw_architecture import ARROWS

    def beyond(room: str) -> set[str]:
        return set().union(*({b} | beyond(b) for a, b in ARROWS if a == room))

    drawn = {room: beyond(room) for room in MAY_IMPORT if room not in ("shared", "cli")}
    rules = {room: MAY_IMPORT[room] - SHARED for room in drawn}
    assert {room: names - {"shared types"} for room, names in drawn.items()} == rules
    assert {room for room, names in drawn.items() if "shared types" not in names} == {"models"}


def test_the_core_loads_no_training_library():
    names = [f"ichor.{room}" for room in CORE]
    heavy = ("torch", "timm", "pandas", "matplotlib", "sklearn", "onnx", "torchvision")
    code = f"import sys, {', '.join(names)}\nprint(*[n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_no_core_module_names_a_training_library():
    heavy = {"torch", "timm", "pandas", "matplotlib", "sklearn", "onnx", "torchvision", "yaml"}
    allowed = {"cli/train.py"}  # tells a user without torch what to install
    for path in modules():
        if room_of(path) not in ("shared", *CORE) or path.relative_to(SOURCE).as_posix() in allowed:
            continue
        names = {a.name.split(".")[0] for n in nodes(path) if isinstance(n, ast.Import) for a in n.names}
        names |= {(n.module or "").split(".")[0] for n in nodes(path) if isinstance(n, ast.ImportFrom)}
        assert not names & heavy, path


def test_no_module_is_long():
    long = {n: t.count("\n") for n, t in texts().items() if n.endswith(".py") and t.count("\n") > MOST_LINES}
    assert not long


def takes_options(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the parameters are options of a command, or of a request: they are annotated as typer's or the API's."""
    given = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    notes = " ".join(ast.unparse(a.annotation) for a in given if a.annotation)
    return "typer." in notes or any(isinstance(d, ast.Call) for d in function.decorator_list)


def test_functions_are_short_and_take_few_parameters():
    wrong = []
    for path in (
        *modules(),
        *sorted((ROOT / "benchmarks").rglob("*.py")),
        *sorted((ROOT / "scripts").rglob("*.py")),
    ):
        if "migrations" in path.parts:  # written once, in the form of Alembic
            continue
        for node in nodes(path):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            count = sum(a.arg not in ("self", "cls") for a in given)
            if lines > MOST_FUNCTION_LINES:
                wrong.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
            excused = takes_options(node) or (path.relative_to(ROOT).as_posix(), node.name) in MANY_PARAMETERS
            if count > MOST_PARAMETERS and not excused:
                wrong.append(f"{path.relative_to(ROOT)}: {node.name} has {count} parameters")
    assert not wrong


def defined_names(path: Path) -> set[tuple[str, bool]]:
    """Names that a module gives to things, each with whether it is a class's."""
    found = {(path.stem, False)}
    for node in nodes(path):
        if isinstance(node, ast.ClassDef):
            found.add((node.name, True))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add((node.name, False))
        elif isinstance(node, ast.arg):
            found.add((node.arg, False))
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add((node.id if isinstance(node, ast.Name) else node.attr, False))
    return found


def test_names_use_the_words_of_the_field():
    wrong = set()
    for path in modules():
        where = path.relative_to(SOURCE).as_posix()
        for name, is_class in defined_names(path):
            words = {w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
            if (words & FORMER_WORDS and (where, name) not in KEPT_WORDS) or (
                is_class and words <= FORMER_CLASSES
            ):
                wrong.add(f"{where}: {name}")
    assert not wrong


def test_no_assert_and_no_bare_except_at_a_user():
    for path in modules():
        for node in nodes(path):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{path}:{node.lineno}"


def test_every_notice_is_spoken():
    spoken = "\n".join(p.read_text(encoding="utf-8") for p in modules() if p.name != "notices.py")
    silent = [code for code in NOTICES if f'"{code}"' not in spoken]
    assert not silent


# -- words ---------------------------------------------------------------------------------------------


def test_no_machine_paths_and_no_registry_hosts():
    roots = "|".join(("work", "root", "tmp", "opt", "home/[a-z]+", "Users/[A-Za-z]+"))
    path = re.compile(rf"(?<![\w.\-/:*])/({roots})/\w")
    host = re.compile(
        "|".join(("pypi" r"\.org", "pythonhosted" r"\.", "npmjs" r"\.", "deb" r"\.debian", "crates" r"\.io"))
    )
    found = [
        f"{name}: {match[0]}"
        for name, text in texts().items()
        for match in (*path.finditer(text), *host.finditer(text))
    ]
    assert not found


def test_no_data_is_tracked():
    images = {".dcm", ".ima", ".nii", ".gz", ".jpg", ".jpeg", ".npy", ".pt", ".safetensors", ".csv"}
    ours = ROOT / "benchmarks" / "runs"  # what a run logged and predicted: figures, no images
    assert not [p for p in tracked() if p.suffix.lower() in images and ours not in p.parents]


@pytest.mark.parametrize("script", ["print_reference.py", "print_results.py", "draw_architecture.py"])
def test_printed_pages_are_what_the_code_says(script):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_the_stated_limits_fit_the_measured_figures():
    card = load_bundle("default").card
    exams = next(m.n for m in card.measured if m.name == "exam AUC, any")
    stated = [int(n) for line in card.limits for n in re.findall(r"Measured on (\d+) ", line)]
    assert stated == [exams]


def test_a_stale_page_is_noticed(tmp_path):
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import sections
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    page = "a\n<!-- begin: x -->\n\nold\n\n<!-- end: x -->\nb\n"
    assert sections.filled(page, "x", "new", "page.md") == page.replace("old", "new")
    with pytest.raises(SystemExit, match=r"page\.md: found no section 'y'"):
        sections.filled(page, "y", "new", "page.md")


def slug(heading: str) -> str:
    """Anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def prose(text: str) -> str:
    """Markdown without its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def test_every_relative_link_resolves():
    broken = []
    for name in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(texts()[name])):
            if target.startswith(("http:", "https:", "mailto:")):
                continue
            file, _, anchor = target.partition("#")
            path = (ROOT / name).parent / file if file else ROOT / name
            if not path.exists():
                broken.append(f"{name}: {target}")
            elif anchor:
                headings = re.findall(r"^#+ (.+)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE)
                if anchor not in map(slug, headings):
                    broken.append(f"{name}: {target}")
    assert not broken


def test_every_path_that_is_named_exists():
    named = re.compile(r"(?<![\w/.])(?:docs|src|scripts|benchmarks|tests)/[\w\-./]*\.(?:md|py|json|yaml|png)")
    missing = {
        f"{name}: {path}"
        for name, text in texts().items()
        for path in named.findall(text)
        if not (ROOT / path).exists()
    }
    assert not missing


def test_every_measurement_that_is_named_exists():
    """``python -m benchmarks.speed.detect`` in a page or a module is a command that runs."""
    missing = {
        f"{name}: {module}"
        for name, text in texts().items()
        for module in re.findall(r"-m\s+(benchmarks\.[a-z_.]+[a-z_])", text)
        if not (ROOT / f"{module.replace('.', '/')}.py").is_file()
    }
    assert not missing


def test_the_table_of_measurements_is_whole():
    page = texts()["benchmarks/README.md"]
    own = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in sorted((ROOT / "benchmarks").rglob("*.py"))
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert set(re.findall(r"^\| `(benchmarks\.[\w.]+)", page, re.MULTILINE)) == own


def test_every_page_is_reached_from_the_readme():
    seen, queue = set(), ["README.md"]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        for target in re.findall(r"\]\(([^)#\s]+\.md)", prose(texts()[name])):
            queue.append(((ROOT / name).parent / target).resolve().relative_to(ROOT).as_posix())
    assert {n for n in pages() if n.startswith("docs/")} <= seen


def words(text: str) -> int:
    """Words that are read one after the other: no code, no printed section, no table of figures."""
    text = re.sub(r"<!-- begin: (.*?) -->.*?<!-- end: \1 -->", "", prose(text), flags=re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        cells = [cell for line in table.splitlines()[2:] for cell in line.split("|") if cell.strip()]
        if 2 * sum(any(c.isdigit() for c in cell) for cell in cells) > len(cells):
            text = text.replace(table, "")
    return len(re.findall(r"\w[\w'.,:/-]*", re.sub(r"\]\([^)]*\)", "]", text)))


def test_pages_are_short():
    long = {
        name: n for name in pages() if name.startswith("docs/") and (n := words(texts()[name])) > MOST_WORDS
    }
    assert set(long) == set(LONG_PAGES), long


def test_every_page_stands_in_the_navigation_of_the_site():
    nav = set(re.findall(r"^ +- (?:[^:\n]+: )?([\w/-]+\.md)$", texts()["mkdocs.yml"], re.MULTILINE))
    assert {name.removeprefix("docs/") for name in pages() if name.startswith("docs/")} - nav == set()


def options() -> set[str]:
    """Every option that some command has, as the printed reference tells."""
    return set(re.findall(r"--[a-z][a-z-]*", texts()["docs/reference/command.md"]))


@pytest.mark.parametrize("name", ["README.md", "docs/how-to/detect-a-study.md", "docs/how-to/train.md"])
def test_commands_in_the_documentation_have_only_known_options(name):
    blocks = re.findall(r"^```bash\n(.*?)^```", texts()[name], re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^(?:\S*/)?ichor (.+)$", "".join(blocks), re.MULTILINE)
    assert lines
    commands = set(re.findall(r"^### ichor ([\w ]+)$", texts()["docs/reference/command.md"], re.MULTILINE))
    for line in lines:
        words = line.split("#")[0].split("|")[0].split()
        assert words[0] in commands or " ".join(words[:2]) in commands, line
        assert {w.split("=")[0] for w in words if w.startswith("--")} <= options(), line


def test_the_readme_gives_the_commands_that_ci_runs():
    for name in ("demo", "test"):
        command = subprocess.run(
            [sys.executable, str(ROOT / "scripts/readme_command.py"), name], capture_output=True, text=True
        )
        assert command.returncode == 0
        assert len(command.stdout.splitlines()) == 1
    assert "readme_command.py test" in texts()[".ci/run"]
    assert "-m benchmarks.speed.fresh" in texts()[".ci/run"]


def test_versions_agree():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert project["version"] == ichor.__version__
    assert f"version: {ichor.__version__}\n" in texts()["CITATION.cff"]
    assert f"## [{ichor.__version__}]" in texts()["CHANGELOG.md"]


def test_the_licence_is_whole():
    licence = texts()["LICENSE"]
    assert licence.lstrip().startswith("Apache License")
    assert "END OF TERMS AND CONDITIONS" in licence
    assert len(licence.split()) > 1500
