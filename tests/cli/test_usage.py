"""What the command does when it is called wrongly, and what it costs to ask it for help."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import ichor
from ichor.cli import run
from ichor.notices import NOTICES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect"], "Missing argument"),
        (["detect", "a", "--device", "tpu"], "'tpu' is not one of"),
        (["detect", "a", "--threshold", "3"], "--threshold: found 3; expected a probability between 0 and 1"),
        (["detect", "a", "--threshold", "x"], "'--threshold'"),
        (
            ["detect", "a", "--write", "html,gsps", "-o", "out"],
            "expected json, csv, html, overlay, nifti, dicom, seg, sr",
        ),
        (["detect", "a", "--write", "gif", "-o", "out"], "--write gif: found no such format"),
        (["detect", "a", "--write", "nifti"], "expected -o DIR"),
        (["detect", "a", "--limit", "pixels"], "expected NAME=VALUE"),
        (["detect", "a", "--limit", "pixels=many"], "expected NAME=VALUE with a number"),
        (["detect", "a", "--limit", "pix=3"], "found no such limit; expected one of file_bytes"),
        (["detect", "a", "--limit", "pixels=-3"], "expected a number above 0"),
        (["detect", "a", "--frobnicate"], "No such option"),
        (["frobnicate"], "No such command"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments, words, capfd, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert err.startswith("ichor: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_a_file_is_refused_before_anything_is_read(capfd, tmp_path) -> None:
    (tmp_path / "taken").write_text("")
    assert run(["detect", "a", "-o", str(tmp_path / "taken")]) == 2
    err = capfd.readouterr().err
    assert "taken: found that no folder can be made there" in err
    assert err.count("\n") == 1


def test_without_arguments_help_and_2(capfd) -> None:
    assert run([]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "detect" in err
    assert "not a medical device" in err


def test_version(capfd) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out == f"ichor {ichor.__version__}\n"


def test_help_of_detect_tells_the_exit_statuses(capfd) -> None:
    assert run(["detect", "--help"]) == 0
    out = capfd.readouterr().out
    for words in (
        "--json",
        "--series",
        "--threshold",
        "--limit",
        "--original-uids",
        "Exit status",
        "3 at least one",
    ):
        assert words in " ".join(out.split()), words


def test_notices_are_printed_whole(capfd) -> None:
    assert run(["info", "--notices"]) == 0
    out = capfd.readouterr().out
    assert [line.split("`")[1] for line in out.splitlines() if line.startswith("| `")] == list(NOTICES)
    assert all(kind.meaning in out for kind in NOTICES.values())


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from ichor.cli import run; run(['--help'])\n"
        "heavy = {'numpy', 'scipy', 'pydicom', 'nibabel', 'onnxruntime', 'jinja2', 'pydantic', 'PIL', 'torch'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_recipes_are_listed_without_the_extra() -> None:
    absent = "import sys; sys.modules.update(dict.fromkeys(('torch', 'timm', 'yaml', 'sklearn')))"
    code = f"{absent}; from ichor.cli import run; sys.exit(run(['train', '--list']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ko-xception-lstm: Xception from ImageNet" in done.stdout


def test_a_closed_pipe_ends_quietly() -> None:
    program = "import sys; from ichor.cli import main; sys.argv[1:] = ['info', '--notices']; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait() == 141
    assert err == ""


def test_a_shell_completes_commands_and_options() -> None:
    for typed, place, expected in (("ichor det", "1", "detect"), ("ichor detect --as", "2", "--as-exam")):
        asked = {"_ICHOR_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": place}
        done = subprocess.run(
            [sys.executable, "-m", "ichor.cli"], env={**os.environ, **asked}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [expected]
