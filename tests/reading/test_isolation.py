"""Reading in a process of its own: the same results, and whatever a file does to that process, only it is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ichor
from ichor.errors import RefusedInput
from ichor.exam import Exam, Picture
from ichor.notices import NOTICES
from ichor.reading.files import InputFile
from ichor.reading.isolation import pool, wire
from ichor.reading.isolation.board import Board, Entry, look
from ichor.reading.isolation.memory import ceiling, input_bytes, resident_bytes
from ichor.reading.isolation.reader import Reader
from ichor.reading.limits import Limits

from . import hostile
from .phantoms import Plan, head_series, write
from .test_inputs import slice_picture
from .test_nifti import affine_of, save

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux")


def both(path: Path, **options) -> tuple[list, list]:
    return list(ichor.read_all(path, **options)), list(ichor.read_all(path, isolated=True, **options))


def same(a, b) -> None:
    """Every field of two results is equal, to the last bit and type; but for the time that reading took."""
    assert type(a) is type(b)
    if isinstance(a, RefusedInput):
        assert vars(a) == vars(b) and str(a) == str(b)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    elif hasattr(a, "__dataclass_fields__"):
        for field in fields(a):
            if field.name != "read_seconds":
                same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    else:
        assert a == b


# -- healthy input ----------------------------------------------------------------------------------------


def test_every_kind_of_input_reads_the_same(tmp_path):
    write(tmp_path / "study", head_series())
    (tmp_path / "enhanced.dcm").write_bytes(hostile.sound(None)["enhanced"])
    (tmp_path / "study.zip").write_bytes(hostile.sound_zips()["deflated"])
    slice_picture(tmp_path / "slice.png")
    (tmp_path / "text").write_text("no image")
    save(tmp_path / "v.nii.gz", affine_of("xyz", (1, 1, 1)))
    for name in ("study", "enhanced.dcm", "study.zip", "slice.png", "v.nii.gz", "text", "absent"):
        here, there = both(tmp_path / name)
        assert len(here) == len(there) == 1, name
        same(here[0], there[0])


def test_options_reach_the_reader(tmp_path, monkeypatch):
    a, b = head_series(series="2.25.11", study="2.25.1"), head_series(series="2.25.12", study="2.25.1")
    write(write(tmp_path / "s", a), b, "b")
    exam = ichor.read(tmp_path / "s", series="2.25.12", isolated=True)
    assert exam.source.series_uid == "2.25.12"
    with pytest.raises(RefusedInput, match="files"):
        ichor.read(tmp_path / "s", limits=Limits(files=3), isolated=True)
    monkeypatch.chdir(tmp_path)  # readers that wait were started elsewhere
    assert ichor.read("s", series="2.25.11", isolated=True).source.input == "s"


def test_threads_have_readers_of_their_own(tmp_path):
    write(tmp_path / "s", head_series())
    results: list = []
    threads = [
        threading.Thread(target=lambda: results.extend(ichor.read_all(tmp_path / "s", isolated=True)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(r) for r in results] == [Exam] * 4


def test_a_reader_is_kept_warm_and_ends_with_its_parent(tmp_path):
    slice_picture(tmp_path / "p.png")
    code = (
        "import sys, ichor; from ichor.reading.isolation import pool\n"
        "for _ in range(3): ichor.read(sys.argv[1], isolated=True)\n"
        "print([r._process.pid for r in pool._pool._idle], [str(r._scratch) for r in pool._pool._idle])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p.png")], capture_output=True, text=True, check=True
    )
    (pid,), (scratch,) = map(json.loads, done.stdout.replace("'", '"').replace("] [", "]\n[").splitlines())
    assert not done.stderr and not Path(scratch).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_who_stops_listening_leaves_nothing_behind(tmp_path):
    for k in range(3):
        slice_picture(tmp_path / "s" / f"{k}.png") if k else (tmp_path / "s").mkdir()
    results = ichor.read_all(tmp_path / "s", isolated=True)
    next(results)
    results.close()
    assert isinstance(next(ichor.read_all(tmp_path / "s", isolated=True)), Picture)


# -- what ends a reader -----------------------------------------------------------------------------------

TRAP = """
import os, signal, sys, time

def reads():
    frame = sys._getframe()
    while frame and frame.f_code.co_name not in ("open_dataset", "read_pictures", "unpack"):
        frame = frame.f_back
    return frame

def decodes():
    frame = sys._getframe()
    while frame and frame.f_code.co_name != "decode_file":
        frame = frame.f_back
    return frame

def hook(event, args):
    if event != "open" or ".trap." not in str(args[0]) or not reads():
        return
    how = str(args[0]).split(".trap.")[1].split(".")[0]
    if how.startswith("pixels-") and not decodes():
        return
    how = how.removeprefix("pixels-")
    if how == "abort":
        os.abort()
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "hang":
        time.sleep(600)
    if how == "unchecked":
        decode = sys.modules["ichor.reading.dicom.decode"]
        decode.stream_fault = lambda *_: None
        decode.plain_jpeg = lambda frame: frame
    if how == "slow":
        time.sleep(1)
    if how == "bug":
        raise Warning("a value of the file")
    if how == "grow":
        held = [bytearray(b"x") * (50 << 20) for _ in range(200)]

if sys.argv[:1] == ["-c"]:
    sys.addaudithook(hook)
"""


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Readers that come to harm at a file whose bytes begin with a word: what a fault of a decoder does.

    The real decoders' faults are tested beside their bombs; these are the ways to die that they have.
    """
    home = tmp_path / "trap"
    home.mkdir()
    (home / "sitecustomize.py").write_text(TRAP)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")]))
    pool._pool.close()
    yield lambda how: f"x.trap.{how}.dcm"
    pool._pool.close()


@pytest.mark.parametrize(
    ("how", "code"),
    [("abort", "decoder_failed"), ("segfault", "decoder_failed"), ("hang", "limit_time"),
     pytest.param("grow", "limit_memory", marks=linux)],
)  # fmt: skip
def test_a_file_that_ends_its_reader_is_refused_and_the_others_are_read(tmp_path, trap, how, code):
    folder = write(tmp_path / "s", head_series())
    (folder / trap(how)).write_bytes(hostile.series()[3].replace(b"2.25.2\0", b"2.25.9\0"))
    alone = tmp_path / trap(how)
    alone.write_bytes(hostile.series()[3])
    sound = tmp_path / "sound.dcm"
    sound.write_bytes(hostile.series()[3])
    limits = Limits(file_seconds=6.0)
    began = time.monotonic()
    results = list(ichor.read_all(folder, alone, sound, limits=limits, isolated=True))
    assert time.monotonic() - began < 60
    exam, refused, other = results
    assert isinstance(exam, Exam) and exam.n_slices == Plan().n
    assert "slice_unreadable" in {n.code for n in exam.notices}
    assert isinstance(refused, RefusedInput) and refused.code == code and refused.source == str(alone)
    assert NOTICES[code].decision == "refuse" and len(str(refused).splitlines()) == 1
    assert isinstance(other, Exam)


def test_the_other_studies_of_an_input_go_on(tmp_path, trap):
    """The results that came before a reader died are given once, those after it by the next one."""
    folder = tmp_path / "s"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        slice_picture(folder / name)
    (folder / "b.trap.abort.png").write_bytes((folder / "a.png").read_bytes())
    results = list(ichor.read_all(folder, isolated=True))
    assert [getattr(r, "code", "read") for r in results] == ["read", "decoder_failed", "read"]
    assert [Path(r.source if isinstance(r, RefusedInput) else r.source.input).name for r in results] == [
        "a.png", "b.trap.abort.png", "c.png"
    ]  # fmt: skip


def test_a_study_on_whose_pixels_a_reader_died_is_refused_by_its_own_name(tmp_path, trap):
    """Its header was read: it is a study of the input that cannot be read, not a file that nobody misses."""
    folder = tmp_path / "s"
    for k in (0, 1, 2):
        write(folder / f"{k}", head_series(Plan(n=6, step=9.0), study=f"2.25.{k}", series=f"2.25.9{k}"))
    for k, path in enumerate(sorted((folder / "1").iterdir())[:2]):
        path.rename(folder / "1" / f"{k}{trap('pixels-abort')}")
    first, refused, last = ichor.read_all(folder, isolated=True)
    assert [exam.source.study_uid for exam in (first, last)] == ["2.25.0", "2.25.2"]
    assert isinstance(refused, RefusedInput) and refused.study_uid == "2.25.1"
    assert "2 of 6 slices" in refused.found and "the decoder failed" in refused.found


@pytest.mark.parametrize("isolated", [False, True])
def test_studies_of_one_input_are_read_one_after_the_other(tmp_path, isolated):
    """What was given may be let go: the second study is not decoded before it is asked for."""
    folder = tmp_path / "s"
    for k in (0, 1):
        write(folder / f"{k}", head_series(study=f"2.25.{k}"))
    results = ichor.read_all(folder, isolated=isolated)
    assert isinstance(next(results), Exam)
    if not isolated:
        for path in (folder / "1").iterdir():
            path.unlink()
        (refused,) = results
        assert isinstance(refused, RefusedInput) and refused.code == "unreadable"
    else:
        assert isinstance(next(results), Exam)


def test_an_input_of_many_healthy_studies_takes_as_long_as_it_takes(tmp_path, trap):
    folder = tmp_path / "s"
    for k in range(7):
        write(folder / f"{k}", head_series(Plan(n=6, step=9.0), study=f"2.25.{k}"))
        slow = min((folder / f"{k}").iterdir())
        slow.rename(slow.with_name(trap("pixels-slow")))
    limits = Limits(seconds=6.0)
    began = time.monotonic()
    results = list(ichor.read_all(folder, isolated=True, limits=limits))
    assert [str(r) for r in results if isinstance(r, RefusedInput)] == [] and len(results) == 7
    assert time.monotonic() - began > limits.seconds


def test_an_archive_entry_is_named(tmp_path, trap):
    slices = {f"study/{k}.dcm": raw for k, raw in enumerate(hostile.series())}
    path = tmp_path / "a.trap.abort.zip"  # the archive itself is what ends the reader
    path.write_bytes(hostile.zipped(slices))
    (result,) = ichor.read_all(path, isolated=True)
    assert isinstance(result, RefusedInput) and result.code == "decoder_failed" and result.source == str(path)


def test_an_error_of_the_reader_itself_has_its_place_and_not_its_text(tmp_path, trap):
    (tmp_path / trap("bug")).write_bytes(hostile.series()[3])
    (result,) = ichor.read_all(tmp_path / trap("bug"), isolated=True)
    assert result.code == "decoder_failed" and "Warning at " in result.found
    assert "a value" not in str(result)


def test_many_deaths_end_the_input(tmp_path, trap, monkeypatch):
    monkeypatch.setattr(pool, "_MOST_DEATHS", 3)
    folder = tmp_path / "s"
    folder.mkdir()
    for k in range(4):
        (folder / f"{k}.trap.abort.dcm").write_bytes(hostile.series()[3])
    results = list(ichor.read_all(folder, isolated=True, limits=Limits(seconds=60)))
    assert [r.code for r in results] == ["decoder_failed"]


def test_the_whole_input_has_its_time(tmp_path, trap):
    path = tmp_path / trap("hang")
    path.write_bytes(hostile.series()[3])
    ichor.reading.isolation.warm()
    list(ichor.read_all(tmp_path / "nothing", isolated=True))
    began = time.monotonic()
    (result,) = ichor.read_all(path, isolated=True, limits=Limits(seconds=0.5))
    assert result.code == "limit_time" and time.monotonic() - began < 0.5 + 2


@pytest.mark.parametrize("isolated", [False, True])
def test_time_in_which_whoever_asked_is_busy_is_not_reading(tmp_path, isolated):
    for k in range(4):
        data = np.linspace(-1000, 1500 + k, 400 * 400 * 12).astype(np.int16)  # more than a pipe holds
        save(tmp_path / f"{k}.nii", np.diag([-0.5, -0.5, 5.0, 1.0]), data.reshape(400, 400, 12))
    limits = Limits(seconds=8.0, file_seconds=8.0)
    found = []
    for result in ichor.read_all(tmp_path, isolated=isolated, limits=limits):
        found.append(result)
        time.sleep(3.5)  # a detection; reading waits, its pipe is full
    assert not [str(r) for r in found if isinstance(r, RefusedInput)]
    assert len(found) == 4


def test_a_reader_whose_parent_has_died_ends_by_itself(tmp_path, trap):
    path = tmp_path / trap("hang")
    path.write_bytes(hostile.series()[3])
    code = (
        "import os, sys, threading, ichor, time; from ichor.reading.isolation import pool, reader\n"
        "r = pool._pool.take(); pool._pool.give_back(r); print(r._process.pid, r._scratch, flush=True)\n"
        "threading.Timer(1.5, lambda: os.kill(os.getpid(), 9)).start()\n"
        "list(ichor.read_all(sys.argv[1], isolated=True, limits=ichor.Limits(seconds=2)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout.split()[0])
    end = time.monotonic() + 20
    while time.monotonic() < end and Path(f"/proc/{pid}/statm").exists():
        if Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z"):
            break  # dead; nobody has asked for its status
        time.sleep(0.1)
    assert time.monotonic() < end


# -- a reader that was taken over -------------------------------------------------------------------------


def exam_bytes(tmp_path: Path) -> tuple[dict, bytes]:
    write(tmp_path / "e", head_series())
    out = io.BytesIO()
    wire.send(out, ichor.read(tmp_path / "e"))
    line, _, rest = out.getvalue().partition(b"\n")
    return json.loads(line), rest


def received(message: dict, rest: bytes):
    return wire.receive(io.BytesIO(rest), dict(message), Limits())


def test_what_is_sent_is_what_is_received(tmp_path):
    message, rest = exam_bytes(tmp_path)
    same(received(message, rest), ichor.read(tmp_path / "e"))
    assert len(rest) == np.prod(message["shape"]) * 2


@pytest.mark.parametrize(
    "forge",
    [
        lambda m: m.update(kind="pickle"),
        lambda m: m.update(shape=[1 << 20, 1 << 20, 1 << 20]),
        lambda m: m.update(shape=[-1, -1, 4]),
        lambda m: m.update(shape=[22, 64]),
        lambda m: m.update(shape="22"),
        lambda m: m.pop("geometry"),
        lambda m: m.update(extra=1),
        lambda m: m["geometry"].update(positions=[[0, 0, 0]]),
        lambda m: m["geometry"].update(positions=[[0, 0, float("nan")]] * 22),
        lambda m: m["geometry"].update(positions=[[0, 0], 3]),
        lambda m: m["geometry"].update(spacing=[1, 2, 3]),
        lambda m: m["source"].update(input=3),
        lambda m: m["source"].update(details=[["a", "b"]]),
        lambda m: m.update(notices=[{"code": "no_such", "message": "", "slices": None}]),
        lambda m: m.update(notices=[{"code": "oblique", "message": 4, "slices": None}]),
        lambda m: m.update(read_seconds="1"),
    ],
)
def test_a_forged_answer_is_none(tmp_path, forge):
    message, rest = exam_bytes(tmp_path)
    forge(message)
    with pytest.raises(wire.CorruptAnswer):
        received(message, rest)


def test_a_forged_refusal_is_none():
    out = io.BytesIO()
    refused = RefusedInput("a", "unreadable", found="f", expected="e", remedy="r")
    wire.send(out, refused)
    message = json.loads(out.getvalue())
    same(received(message, b""), refused)
    for change in ({"code": "no_such"}, {"found": 3}, {"more": "x"}, {"notices": {}}):
        with pytest.raises(wire.CorruptAnswer):
            received(message | change, b"")


def test_a_refusal_arrives_with_its_study_and_series():
    out = io.BytesIO()
    refused = RefusedInput("a", "unreadable", found="f", expected="e", remedy="r")
    refused = refused.with_context(study_uid="1.2", series_uid="1.2.3")
    wire.send(out, refused)
    arrived = received(json.loads(out.getvalue()), b"")
    assert vars(arrived) == vars(refused) and str(arrived) == str(refused)


def test_pixels_that_end_early(tmp_path):
    message, rest = exam_bytes(tmp_path)
    with pytest.raises(EOFError):
        received(message, rest[:-1])


@pytest.mark.parametrize("line", [b"not json\n", b"[]\n", b"[" * 100_000 + b"\n", b"\xff\n"])
def test_a_line_that_is_no_message(line):
    with pytest.raises(wire.CorruptAnswer):
        wire.receive_line(io.BytesIO(line))


def test_a_line_without_an_end():
    with pytest.raises(EOFError):
        wire.receive_line(io.BytesIO(b'{"kind"'))


# -- the board and the memory -----------------------------------------------------------------------------


def test_the_board(tmp_path):
    path = tmp_path / "board"
    assert look(path) == Entry()
    board = Board(path)
    assert look(path) == Entry()
    file = InputFile(Path("unpacked/000012.dcm"), "a.zip:study/ä.dcm")
    board.show(file)
    board.show(file)
    assert look(path) == Entry(2, "000012.dcm\na.zip:study/ä.dcm", "a.zip:study/ä.dcm")
    board.show(None)
    assert look(path) == Entry(3)
    path.write_bytes(b"\1" * 40 + b"\n")
    assert look(path) == Entry()


def test_a_small_input_gets_little_and_a_large_one_no_more_than_the_limit(tmp_path):
    limits = Limits()
    assert ceiling(limits, 0) == limits.memory_bytes // 4 <= 1_000_000_000
    assert ceiling(limits, 10_000_000) == limits.memory_bytes // 4 + 300_000_000
    assert ceiling(limits, 1 << 40) == limits.memory_bytes
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(bytes(100))
    (tmp_path / "a" / "y").write_bytes(bytes(11))
    assert input_bytes(tmp_path / "a", 1 << 30) == 111 and input_bytes(tmp_path / "a" / "y", 5) == 11
    assert input_bytes(tmp_path / "absent", 5) == 0


@linux
def test_resident_memory():
    before = resident_bytes(os.getpid())
    block = np.ones(100 << 20, np.uint8)
    assert resident_bytes(os.getpid()) - before > 90 << 20 and block.any()
    assert resident_bytes(1 << 30) is None


@linux
def test_no_core_is_dumped_and_nothing_is_imported_from_the_folder(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    reader = Reader()
    try:
        reader._wait_until_started()
        limits = Path(f"/proc/{reader._process.pid}/limits").read_text()
        assert limits.split("Max core file size")[1].split()[:2] == ["0", "0"]
    finally:
        reader.close()


def test_a_picture_keeps_its_pixels(tmp_path):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (90, 80), dtype=np.uint8)).save(tmp_path / "noise.png")
    here, there = both(tmp_path / "noise.png")
    for a, b in zip(here, there, strict=True):
        same(a, b)
