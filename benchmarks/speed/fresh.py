"""What a stranger meets: an empty environment, one command, a finished demo report; how long, how large.

``python -m benchmarks.speed.fresh`` copies the tracked files to a temporary folder and runs the README's demo
command there, word for word and without pip's cache; then it builds the wheel, installs it in a second empty
environment and runs ``ichor demo`` away from the source. It prints a table and ends with 1 where an aim is
missed; with ``--untimed``, for machines that do other work or have a slow network, the time does not count.
Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 120.0
MOST_MB = 600.0
_NOT_IN_CORE = ("torch", "timm", "pandas", "matplotlib", "sklearn")


class Missed(Exception):
    """Something a stranger would meet went wrong; the text says what."""


@dataclass(frozen=True)
class Trial:
    """One way from nothing to a report."""

    name: str
    seconds: float
    demo_seconds: float
    megabytes: float
    packages: int

    def passed(self, *, timed: bool = True) -> bool:
        """Whether the aims were met."""
        return self.megabytes < MOST_MB and not (timed and self.seconds >= MOST_SECONDS)


def main() -> int:
    """Run both trials."""
    foreign = ("PYTHONPATH", "VIRTUAL_ENV", "ICHOR_BUNDLES")
    environment = {k: v for k, v in os.environ.items() if k not in foreign}
    environment |= {"PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with tempfile.TemporaryDirectory(prefix="ichor-fresh-") as folder:
        clone = Path(folder) / "clone"
        try:
            copy_tracked(ROOT, clone)
            trials = [clean_clone(clone, environment), from_wheel(clone, Path(folder), environment)]
        except Missed as missed:
            print(f"fresh: {missed}", file=sys.stderr)
            return 1
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, without pip's cache")
    aims = f"seconds (< {MOST_SECONDS:g}) | environment, MB (< {MOST_MB:g})"
    print(f"| from nothing to a report | {aims} | packages | aims | the demo alone, again, seconds |")
    print("|---|---|---|---|---|---|")
    for t in trials:
        verdict = "met" if t.passed() else "missed"
        size = f"{t.megabytes:.0f} | {t.packages}"
        print(f"| {t.name} | {t.seconds:.0f} | {size} | {verdict} | {t.demo_seconds:.1f} |")
    timed = "--untimed" not in sys.argv[1:]
    return 0 if all(t.passed(timed=timed) for t in trials) else 1


def copy_tracked(source: Path, target: Path) -> None:
    """Copy what a clone would hold, uncommitted changes included."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=source,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((source / name).read_bytes())


def clean_clone(clone: Path, environment: dict[str, str]) -> Trial:
    """Run the README's demo command in the clone."""
    command = _run([sys.executable, "scripts/readme_command.py", "demo"], clone, environment).strip()
    started = time.perf_counter()
    _run(["bash", "-euo", "pipefail", "-c", command], clone, environment)
    seconds = time.perf_counter() - started
    check_report(clone)
    return _trial("clean clone, the README's command", seconds, clone / ".venv", clone, environment)


def from_wheel(clone: Path, folder: Path, environment: dict[str, str]) -> Trial:
    """Build the wheel, install it where nothing is, and run the demo in an empty folder."""
    venv, empty, wheels = folder / "venv", folder / "empty", folder / "wheels"
    empty.mkdir()
    pip = str(clone / ".venv/bin/pip")
    _run([pip, "wheel", "--no-deps", "-w", str(wheels), str(clone)], folder, environment)
    (wheel,) = wheels.glob("ichor_ct-*.whl")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    started = time.perf_counter()
    _run([sys.executable, "-m", "venv", str(venv)], empty, environment)
    _run([str(venv / "bin/pip"), "install", str(wheel)], empty, environment)
    _run([str(venv / "bin/ichor"), "demo"], empty, environment)
    seconds = time.perf_counter() - started
    check_report(empty)
    return _trial("wheel in an empty environment", seconds, venv, empty, environment)


def check_report(folder: Path) -> None:
    """Raise where the demo did not leave a finished report behind."""
    pages = list((folder / "ichor-demo").rglob("report.html"))
    if len(pages) != 1 or pages[0].stat().st_size < 20_000:
        raise Missed(f"found {len(pages)} report.html after ichor demo; expected one finished page")


def _trial(name: str, seconds: float, venv: Path, cwd: Path, environment: dict[str, str]) -> Trial:
    code = (
        "import importlib.util as u, importlib.metadata as m\n"
        f"print(*[n for n in {_NOT_IN_CORE} if u.find_spec(n)])\nprint(len(list(m.distributions())))"
    )
    unwanted, packages = _run([str(venv / "bin/python"), "-c", code], cwd, environment).splitlines()
    if unwanted:
        raise Missed(f"{name}: found {unwanted} in the environment; expected the core alone")
    started = time.perf_counter()
    _run([str(venv / "bin/ichor"), "demo"], cwd, environment)
    again = time.perf_counter() - started
    size = sum(f.stat().st_size for f in venv.rglob("*") if f.is_file() and not f.is_symlink())
    return Trial(name, seconds, again, size / 1e6, int(packages))


def _run(command: list[str], cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise Missed(f"{' '.join(command)[:200]}: found exit status {done.returncode}; expected 0\n{tail}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
