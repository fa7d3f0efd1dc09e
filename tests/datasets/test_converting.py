"""Exams to pictures and back: what comes back, what goes on, what is told."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ichor.datasets.converting import Job, convert, jobs_of
from ichor.datasets.converting_back import AssumedGeometry, merge_windows, picture_folders, write_series
from ichor.datasets.rendering import EXAM_FILE, PictureStyle, parse_window, resize, write_pictures
from ichor.errors import UsageError
from ichor.exam import Exam, Geometry, Source
from ichor.preparing.windows import BONE, BRAIN, SUBDURAL, Window
from ichor.reading import read
from ichor.uids import hashed_uid

WIDE = "1000:4096"


def look(*windows, **options):
    return PictureStyle(dict(parse_window(w) for w in windows), **options)


def quiet(count, total, text):
    assert 0 < count <= total and text


def made(n=12, rows=48, columns=40, seed=0):
    """An uneven, tilted exam of a head with noise, in HU."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:rows, :columns]
    r = np.hypot((yy - rows / 2) / rows, (xx - columns / 2) / columns)
    plane = np.where(r < 0.35, 35, np.where(r < 0.42, 900, -1000))
    volume = (plane + rng.integers(-20, 20, (n, rows, columns))).clip(-1024, 3071).astype(np.int16)
    tilt = np.deg2rad(12)
    steps = np.cumsum(rng.uniform(4, 6, n))
    geometry = Geometry(
        positions=np.stack([np.full(n, -90.0), np.full(n, -100.0), steps], axis=1),
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, np.cos(tilt), -np.sin(tilt)]),
        spacing=(4.0, 4.5),
        thickness=np.full(n, 5.0),
    )
    uids = tuple(f"1.2.3.{seed}.{k}" for k in range(n))
    return Exam(volume, geometry, Source("made", "dicom", f"1.2.{seed}", f"1.2.3.{seed}", uids))


@pytest.fixture
def study(tmp_path):
    """A DICOM series made from pictures, as an input."""
    folder = write_pictures(made(), tmp_path / "pictures", look(WIDE))
    return write_series(folder, tmp_path / "study")


def hu_of(folder):
    files = sorted(folder.glob("*.dcm"))
    headers = [pydicom.dcmread(file) for file in files]
    return np.stack(
        [h.pixel_array * float(h.RescaleSlope) + float(h.RescaleIntercept) for h in headers]
    ), headers


@pytest.mark.parametrize("windows", [("brain",), ("brain", "subdural", "bone"), ("bone",), ("10:20", WIDE)])
def test_the_way_back_returns_hu_within_a_grey_step_where_a_window_lets_through(tmp_path, windows):
    exam = made()
    chosen = look(*windows)
    hu, headers = hu_of(write_series(write_pictures(exam, tmp_path / "p", chosen), tmp_path / "d"))
    for level, width in chosen.windows.values():
        inside = (exam.volume > level - width / 2 + width / 255) & (
            exam.volume < level + width / 2 - width / 255
        )
        assert inside.any()
        assert np.abs(hu - exam.volume)[inside].max() <= width / 255
    outside = exam.volume < min(level - width / 2 for level, width in chosen.windows.values())
    if outside.any():
        assert np.ptp(hu[outside]) <= 1  # black is black: what a window cut off does not come back
    assert [float(v) for v in headers[0].PixelSpacing] == list(exam.geometry.spacing)
    positions = np.array([[float(v) for v in h.ImagePositionPatient] for h in headers])
    assert np.abs(positions - exam.geometry.positions).max() < 1e-4


def test_ichor_reads_the_series_as_the_exam_it_was(tmp_path):
    exam = made()
    back = read(write_series(write_pictures(exam, tmp_path / "p", look("brain", WIDE)), tmp_path / "d"))
    assert isinstance(back, Exam) and back.volume.shape == exam.volume.shape
    assert abs(back.geometry.tilt_degrees - exam.geometry.tilt_degrees) < 1e-3
    assert np.abs(back.volume.astype(int) - exam.volume).max() <= 4096 / 255


def test_the_real_exam_there_and_back(shared_data, tmp_path):
    source = shared_data / "cq500" / "CQ500-CT-0"
    exam = read(source)
    chosen = look("brain", "subdural", "bone", rgb=True)
    assert convert(jobs_of([source]), tmp_path / "p", chosen, quiet, 1) == []
    (folder,) = picture_folders([tmp_path / "p"])
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == exam.n_slices
    with Image.open(pictures[30]) as picture:
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture)[..., 1], SUBDURAL.to_grey(exam.volume[30]))
    back = read(write_series(folder, tmp_path / "d"))
    difference = np.abs(back.volume.astype(int) - exam.volume)
    for window in (BRAIN, SUBDURAL, BONE):
        inside = (exam.volume > window.low) & (exam.volume < window.high)
        assert difference[inside].max() <= window.width / 255
    assert difference[(exam.volume > BRAIN.low) & (exam.volume < BRAIN.high)].max() == 0
    assert np.abs(back.geometry.positions - exam.geometry.positions).max() < 1e-3
    assert abs(back.geometry.tilt_degrees - 8.5) < 0.01


@given(st.integers(-1024, 3071), st.floats(20, 4000), st.floats(-200, 1000))
def test_one_window_there_and_back(hu, width, level):
    window = Window(level, width)
    grey = window.to_grey(np.full((1, 1), hu))
    back = merge_windows({"w": grey}, {"w": window})[0, 0]
    clipped = min(max(hu, window.low), window.high)
    assert abs(back - clipped) <= width / 255 / 2 + 0.5 + 1e-3


def test_each_pixel_comes_from_the_narrowest_window_that_shows_it():
    hu = np.array([[-900, -30, 40, 79, 150, 1000]])
    windows = {"bone": BONE, "brain": BRAIN, "subdural": SUBDURAL}
    greys = {name: window.to_grey(hu) for name, window in windows.items()}
    back = merge_windows(greys, windows)[0]
    assert back[2:4].tolist() == [40, 79] and abs(back[4] - 150) <= 1 and abs(back[5] - 1000) <= 4
    assert back[0] == -500  # below every window


def test_secondary_captures_hold_the_greys_and_no_hu(tmp_path):
    folder = write_pictures(made(), tmp_path / "p", look("brain", "subdural", "bone", rgb=True))
    files = sorted(write_series(folder, tmp_path / "d", "sc").glob("*.dcm"))
    header = pydicom.dcmread(files[3])
    assert header.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage and "RescaleSlope" not in header
    with Image.open(folder / "0004.png") as picture:
        assert np.array_equal(header.pixel_array, np.asarray(picture))


def test_resizing_keeps_the_picture_where_it_is(tmp_path):
    exam = made(rows=48, columns=40)
    folder = write_pictures(exam, tmp_path, look("brain", size=(24, 80)))
    record = json.loads((folder / EXAM_FILE).read_text())
    assert record["spacing"] == [8.0, 2.25]
    middle = exam.geometry.voxel_to_patient([2, 23.5, 19.5])
    spacing, first = record["spacing"], np.array(record["slices"][2]["position"])
    rows, columns = np.array(record["column_direction"]), np.array(record["row_direction"])
    assert np.allclose(first + 11.5 * spacing[0] * rows + 39.5 * spacing[1] * columns, middle)
    with Image.open(folder / "0003.png") as picture:
        assert picture.size == (80, 24)


def test_shrinking_averages_hu_before_the_window_not_greys_after_it():
    plane = np.tile(np.array([[-1000, 1080]], np.int16), (8, 4))
    assert abs(resize(plane, (4, 4)).mean() - 40) < 60
    assert BRAIN.to_grey(resize(np.full((8, 8), 40, np.int16), (4, 4))).tolist() == [[128] * 4] * 4


def test_nothing_of_the_patient_is_written(tmp_path, study):
    for file in study.glob("*.dcm"):
        data = pydicom.dcmread(file)
        data.PatientName, data.PatientID, data.StudyDate = "Doe^Jane", "PID-4711", "20200102"
        data.save_as(file)
    out = tmp_path / "out"
    assert convert(jobs_of([study]), out, look("brain"), quiet, 1) == []
    for path in out.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in ("Doe", "4711", "20200102", study.name):
            assert secret.encode() not in content and secret not in path.name
    uid = read(study).source.series_uid
    assert (out / hashed_uid(uid)).is_dir()
    asked = tmp_path / "asked"
    convert(jobs_of([study]), asked, look("brain", original_names=True), quiet, 1)
    names = {path.stem for path in (asked / uid).glob("*.png")}
    assert names == set(read(study).source.sop_instance_uids)


def test_each_file_on_its_own_comes_back_as_one_series(tmp_path, study):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for k, file in enumerate(sorted(study.glob("*.dcm"))):
        shutil.copy(file, mixed / f"{(k * 5) % 12}.dcm")  # in no order
    jobs = jobs_of([mixed], each_file=True)
    assert len(jobs) == 12
    out = tmp_path / "out"
    assert convert(jobs, out, look("brain", WIDE, each_file=True), quiet, 1) == []
    (folder,) = picture_folders([out])
    assert len(list(folder.glob("*.png"))) == 24 and not (folder / EXAM_FILE).exists()
    back, exam = read(write_series(folder, tmp_path / "d")), read(study)
    assert np.array_equal(back.volume, exam.volume)


# -- many --------------------------------------------------------------------------------------------------


def studies(tmp_path, n):
    for seed in range(n):
        folder = write_pictures(made(seed=seed), tmp_path / "p", look(WIDE))
        write_series(folder, tmp_path / "in" / f"patient{seed}")
    return tmp_path / "in"


def test_a_bad_input_is_told_and_the_others_are_there(tmp_path):
    source = studies(tmp_path, 3)
    (source / "bad").mkdir()
    (source / "bad" / "x.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"junk")
    (source / "text.txt").write_text("a listing")
    told = []
    jobs = jobs_of([source])
    assert [job.path.parent.name for job in jobs[1:]] == ["patient0", "patient1", "patient2"]
    errors = convert(jobs, tmp_path / "out", look("brain"), lambda *a: told.append(a), 2)
    assert len(errors) == 1 and "/bad" in str(errors[0])
    assert len(picture_folders([tmp_path / "out"])) == 3
    assert [count for count, _, _ in told] == [1, 2, 3, 4] and told[-1][1] == 4
    again = []
    assert len(convert(jobs, tmp_path / "out", look("brain"), lambda *a: again.append(a), 1)) == 1
    assert again[0] == (3, 4, "3 were done before") and len(again) == 2
    with pytest.raises(UsageError, match="pictures of another look"):
        convert(jobs, tmp_path / "out", look("bone"), quiet, 1)


def test_a_changed_input_is_done_again(tmp_path):
    source = studies(tmp_path, 1)
    (file,) = jobs_of([sorted(source.rglob("*.dcm"))[0]])
    before = file.key
    os.utime(file.path, ns=(1, 1))
    assert file.key != before and Job(file.path, "another name").key == file.key


def test_a_decoder_that_takes_its_process_down(tmp_path):
    source = studies(tmp_path, 4)
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from ichor.datasets import converting, rendering\n"
        "first = converting._convert_one\n"
        "def die(job, output, look):\n"
        "    if 'patient1' in job.name:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return first(job, output, look)\n"
        "converting._convert_one = die\n"
        "if __name__ == '__main__':\n"
        "    style = rendering.PictureStyle(dict([rendering.parse_window('brain')]))\n"
        "    jobs = converting.jobs_of([Path(sys.argv[1])])\n"
        "    for error in converting.convert(jobs, Path(sys.argv[2]), style, lambda *a: None, 2):\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, program, source, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and "patient1" in done.stdout and "ended its process" in done.stdout
    assert len(picture_folders([tmp_path / "out"])) == 3


def test_a_kill_loses_nothing(tmp_path):
    source = studies(tmp_path, 4)
    command = [
        sys.executable,
        "-m",
        "ichor.cli",
        "data",
        "convert",
        source,
        "-o",
        tmp_path / "out",
        "--processes",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal, until = tmp_path / "out" / "done.jsonl", time.monotonic() + 60
    while (not journal.exists() or '"done"' not in journal.read_text()) and time.monotonic() < until:
        time.sleep(0.005)
    process.kill()
    process.wait()
    with journal.open("a") as file:
        file.write('{"done": "torn')
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"4 of 4 converted, in {tmp_path / 'out'}\n")
    folders = picture_folders([tmp_path / "out"])
    assert len(folders) == 4
    for folder in folders:
        for picture in folder.glob("*.png"):
            with Image.open(picture) as image:
                image.load()


# -- refusals ----------------------------------------------------------------------------------------------


def test_windows_by_name_and_by_numbers():
    assert parse_window("bone") == ("bone", (400, 1800)) and parse_window("-5.5:80") == (
        "l-5.5w80",
        (-5.5, 80.0),
    )
    for text in ("bones", "40", "40:0", "40:-1", "nan:80", "a:b"):
        with pytest.raises(UsageError, match="expected brain, subdural, bone, wide, or LEVEL:WIDTH"):
            parse_window(text)


def test_looks_that_cannot_be():
    with pytest.raises(UsageError, match="found 2 windows; expected three"):
        look("brain", "bone", rgb=True)
    with pytest.raises(UsageError, match="too small or large"):
        look("brain", size=(0, 5))


def test_pictures_without_a_record(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    exam = made()
    for k, plane in enumerate(exam.volume):
        Image.fromarray(BRAIN.to_grey(plane)).save(folder / f"s{k:02d}.png")
    with pytest.raises(UsageError, match=r"found no exam\.json.*--window, --spacing and --step"):
        write_series(folder, tmp_path / "d")
    hu, headers = hu_of(write_series(folder, tmp_path / "d", assumed=AssumedGeometry(BRAIN, 4.0, 5.0)))
    inside = (exam.volume > 0) & (exam.volume < 80)
    assert np.array_equal(hu[inside], exam.volume[inside])
    assert [float(h.ImagePositionPatient[2]) for h in headers] == [5.0 * k for k in range(12)]


def test_a_broken_record_or_a_lost_picture(tmp_path):
    folder = write_pictures(made(), tmp_path, look("brain"))
    (folder / "0002.png").unlink()
    with pytest.raises(UsageError, match=r"1 pictures missing, first 0002\.png"):
        write_series(folder, tmp_path / "d")
    Image.new("L", (40, 48)).save(folder / "0002.png")
    (folder / "0003.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"0003\.png: found no picture"):
        write_series(folder, tmp_path / "d")
    record = json.loads((folder / EXAM_FILE).read_text())
    record["slices"][0]["files"]["brain"] = "../../secret.png"
    (folder / EXAM_FILE).write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"first \.\./\.\./secret\.png"):
        write_series(folder, tmp_path / "d")
    (folder / EXAM_FILE).write_text("{}")
    with pytest.raises(UsageError, match="found no record of pictures"):
        write_series(folder, tmp_path / "d")


def test_a_picture_is_no_exam(tmp_path):
    Image.fromarray(BRAIN.to_grey(made().volume[3])).save(tmp_path / "a.png")
    (error,) = convert(jobs_of([tmp_path / "a.png"]), tmp_path / "out", look("brain"), quiet, 1)
    assert "a.png" in str(error)
    with pytest.raises(UsageError, match="found no such file or folder"):
        jobs_of([tmp_path / "none"])
