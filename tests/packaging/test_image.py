"""The image without an engine: its files, its RUN steps in another folder, its command and its health check."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER = 10001
MERCURES = 10002
"""A user of mercure's, whom the image does not know."""
PATIENCE_S = 120.0
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
STAGE = re.compile(r"^FROM \S+ AS ([\w-]+)\n(.*?)(?=^FROM |\Z)", re.DOTALL | re.MULTILINE)
STAGES = dict(STAGE.findall(DOCKERFILE))


def steps(stage: str, word: str) -> list[str]:
    return re.findall(rf"^{word} (.+)$", STAGES[stage], re.MULTILINE)


def test_the_images_run_as_a_user_that_is_not_root() -> None:
    assert steps("base", "USER") == [f"{USER}:{USER}"]
    for name in ("core", "serve", "mercure"):
        assert f"FROM base AS {name}\n" in DOCKERFILE and not steps(name, "USER")


def test_the_engine_is_sent_what_the_image_is_made_of_and_nothing_else() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in sent
    copied = {
        word
        for stage in STAGES
        for line in steps(stage, "COPY")
        if "--from" not in line
        for word in line.split()[:-1]
    }
    assert {line[1:] for line in sent if line.startswith("!")} == copied


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that another user may read; pytest's own are closed."""
    made = Path(tempfile.mkdtemp(prefix="ichor-image-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def others_may_run(path: Path) -> bool:
    return all(p.stat().st_mode & stat.S_IXOTH for p in (path, *path.parents))


def unprivileged(user: int = USER) -> list[str]:
    """What runs a command as another user, where this one may change it and that one may run Python."""
    python = Path(sys.executable).resolve()
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("setpriv") or not others_may_run(python):
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]


@pytest.fixture(scope="module")
def binaries(folder: Path) -> Path:
    """What the steps of the page's image and of mercure's make: the programs of their environment."""
    if not os.environ.get("PIP_NO_INDEX"):
        pytest.skip("needs the packages of the lock at hand, as CI has them")
    source = folder / "source"
    source.mkdir()
    for names in (line.split()[:-1] for line in steps("packages", "COPY")):
        for name in names:
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, source / name)

    def here(text: str) -> str:
        text = re.sub(r"(?<![\w.])/(packages|ichor)\b", rf"{folder}/\1", text)
        python = shlex.quote(sys.executable)
        return re.sub(
            r"(?<![\w/])python(?= -m)",
            python,
            re.sub(r"(?<![\w/])pip(?= )", f"{python} -m pip", text, count=1),
        )

    for command in (*steps("packages", "RUN"), *steps("serve-environment", "RUN")):
        done = subprocess.run(["sh", "-euc", here(command)], cwd=source, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
    made = folder / "ichor" / "bin"
    assert not list(made.glob("pip*"))
    return made


def test_the_steps_make_a_server_that_its_health_check_finds_well(folder: Path, binaries: Path) -> None:
    state, temporary = folder / "state", folder / "temporary"
    for made in (state, temporary):
        made.mkdir()
    as_user = unprivileged()
    if as_user:
        for own in (state, temporary):
            os.chown(own, USER, USER)
    environment = {
        "PATH": f"{binaries}:/usr/bin:/bin",
        "HOME": str(state),
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    (entry,) = steps("serve", "ENTRYPOINT")
    command = [word.replace("/var/lib/ichor", str(state)) for word in json.loads(entry)]
    server = subprocess.Popen(
        [*as_user, *command, "--port", "0"], cwd=state, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        url = next(found[0] for line in server.stdout if (found := re.search(r"http://[\d.:]+", line)))
        check = re.search(r"CMD (\[.*\])", steps("serve", "HEALTHCHECK")[0])[1]
        probe = [word.replace("http://127.0.0.1:8000", url) for word in json.loads(check)]
        deadline = time.monotonic() + PATIENCE_S
        while (
            done := subprocess.run([*as_user, *probe], env=environment, capture_output=True, text=True)
        ).returncode:
            assert server.poll() is None and time.monotonic() < deadline, done.stderr
            time.sleep(0.5)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)
        server.stdout.close()
    assert server.returncode == 0
    probe = [*as_user, *probe]
    assert subprocess.run(probe, env=environment, capture_output=True).returncode, "nothing answers any more"


def test_mercure_runs_the_module_as_a_user_of_its_own(folder: Path, binaries: Path) -> None:
    assert steps("mercure", "COPY") == ["--from=serve-environment /ichor /ichor"]
    assert steps("mercure", "WORKDIR") == ["/"]  # that of the other images is closed to this user
    given, returned = folder / "in", folder / "out"
    given.mkdir()
    returned.mkdir()
    with zipfile.ZipFile(ROOT / "src" / "ichor" / "demo" / "demo.zip") as archive:
        for name in archive.namelist():
            (given / Path(name).name).write_bytes(archive.read(name))
    task = {"id": "1", "process": {"module_name": "ichor", "settings": {"kinds": ["seg", "sr"]}}}
    (given / "task.json").write_text(json.dumps(task), encoding="utf-8")
    as_user = unprivileged(MERCURES)
    if as_user:
        os.chown(returned, MERCURES, MERCURES)
    environment = {
        "PATH": f"{binaries}:/usr/bin:/bin",
        "MERCURE_IN_DIR": str(given),
        "MERCURE_OUT_DIR": str(returned),
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict(line.split("=") for line in steps("mercure", "ENV")),
    }
    (entry,) = steps("mercure", "ENTRYPOINT")
    command = [*as_user, *json.loads(entry)]
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in returned.iterdir()) == ["000-seg.dcm", "000-sr.dcm", "result.json"]
    result = json.loads((returned / "result.json").read_text(encoding="utf-8"))
    assert result["__mercure_notification"]["requested"] and result["findings"][0]["assessable"]
