"""Sending studies: resumed, several at once, the same again, and what is refused."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx
import nibabel
import numpy as np
from PIL import Image

from ichor.cli.demo import demo_exam
from ichor.reading.limits import Limits
from ichor.serving.upload_plan import PlannedUpload, UploadRefused
from reading import hostile
from serving.served import Served, done, exam, listed, submit, until

SECRET = "Doe_Jane_19610203"


def begin(client: httpx.Client, *files: tuple[str, int]) -> dict[str, Any]:
    answer = client.post("/uploads", json={"files": [{"path": p, "size": n} for p, n in files]})
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(client: httpx.Client, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    """Send as the page does; return the first rows."""
    upload = begin(client, *((p, len(c)) for p, c in files))["id"]
    for k, (_, content) in enumerate(files):
        assert client.put(f"/uploads/{upload}/files/{k}", content=content).status_code == 200
    answer = client.post(f"/uploads/{upload}/complete")
    assert answer.status_code == 202, answer.text
    return answer.json()["studies"]


def demo_files() -> dict[str, bytes]:
    with zipfile.ZipFile(demo_exam()) as archive:
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith("/")}


def picture(seed: int = 0) -> bytes:
    """A slice of the simulated exam as a screenshot."""
    from serving.served import _demo

    grey = np.clip((_demo().volume[14].astype(float)) / 80 * 255, 0, 255).astype(np.uint8)
    grey[0, 0] = seed
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    return stream.getvalue()


def test_parts_are_put_together_and_an_upload_is_resumed(server: Served) -> None:
    content = exam(11)
    with server.client() as client:
        upload = begin(client, ("a.nii", len(content)))
        assert [f["received"] for f in upload["files"]] == [0]
        url = f"/uploads/{upload['id']}/files/0"
        assert client.put(url, content=content[:1000]).json() == {"received": 1000}
        wrong = client.put(url, content=content[:10])
        assert (wrong.status_code, wrong.json()["code"], wrong.json()["received"]) == (
            409,
            "wrong_offset",
            1000,
        )
        assert client.post(f"/uploads/{upload['id']}/complete").json()["code"] == "incomplete"
        told = client.get(f"/uploads/{upload['id']}").json()["files"]
        assert told == [{"index": 0, "path": "a.nii", "size": len(content), "received": 1000}]
        more = client.put(url, params={"offset": 1000}, content=content[1000:] + b"x")
        assert (more.status_code, more.json()["code"]) == (413, "too_large")
        there = client.get(f"/uploads/{upload['id']}").json()["files"][0]["received"]
        last = client.put(url, params={"offset": there}, content=content[there:])
        assert last.json() == {"received": len(content)}
        first = client.post(f"/uploads/{upload['id']}/complete").json()
        again = client.post(f"/uploads/{upload['id']}/complete").json()
        assert [s["id"] for s in first["studies"]] == [s["id"] for s in again["studies"]]
        assert done(client, first["studies"][0]["id"])["state"] == "ready"


def test_a_connection_that_breaks_leaves_what_came(server: Served) -> None:
    content = exam(12)
    half = len(content) // 2

    def broken() -> Any:
        yield content[:half]
        raise ConnectionError

    with server.client() as client:
        upload = begin(client, ("a.nii", len(content)))["id"]
        with pytest.raises(ConnectionError):
            client.put(f"/uploads/{upload}/files/0", content=broken())
        until(
            lambda: client.get(f"/uploads/{upload}").json()["files"][0]["received"] > 0,
            "the half to be there",
        )
        there = client.get(f"/uploads/{upload}").json()["files"][0]["received"]
        assert 0 < there <= half

        def go_on() -> bool:
            answer = client.put(
                f"/uploads/{upload}/files/0", params={"offset": there}, content=content[there:]
            )
            return answer.status_code == 200

        until(go_on, "the first connection to be given up", 10)
        study = client.post(f"/uploads/{upload}/complete").json()["studies"][0]["id"]
        assert done(client, study)["state"] == "ready"


def test_a_cancelled_upload_leaves_nothing(server: Served) -> None:
    with server.client() as client:
        upload = begin(client, ("a.nii", 100))["id"]
        client.put(f"/uploads/{upload}/files/0", content=b"x" * 40)
        assert (server.state / "uploads" / upload).is_dir()
        assert client.delete(f"/uploads/{upload}").status_code == 204
        assert not (server.state / "uploads" / upload).exists()
        assert client.get(f"/uploads/{upload}").status_code == 404
        assert (
            client.put(f"/uploads/{upload}/files/0", params={"offset": 40}, content=b"x").status_code == 404
        )


def test_one_upload_of_several_studies_gives_a_row_each(server: Served) -> None:
    files = [(f"one/{name}", content) for name, content in demo_files().items()]
    files += [("two.nii", exam(21)), ("three.nii", exam(22)), ("wrong.txt", b"no image at all")]
    with server.client() as client:
        before = {s["id"] for s in listed(client)}
        first = send(client, *files)
        assert [row["state"] for row in first] == ["queued"] * 4  # a row an input, from the start
        until(lambda: len({s["id"] for s in listed(client)} - before) == 4, "four rows")
        rows = [done(client, s["id"]) for s in listed(client) if s["id"] not in before]
    assert sorted((r["state"], r["n_slices"] or 0) for r in rows) == [
        ("ready", 6),
        ("ready", 6),
        ("ready", 30),
        ("refused", 0),
    ]
    refused = next(r for r in rows if r["state"] == "refused")
    assert refused["refusal"]["code"] == "no_image"
    assert "neither DICOM, NIfTI nor a picture" in refused["refusal"]["message"]


def test_the_same_study_again_is_recognised_however_it_comes(server: Served) -> None:
    with server.client() as client:
        known = {s["id"] for s in listed(client)}
        first = submit(client, ("exam.zip", demo_exam().read_bytes()))["studies"][0]["id"]
        row = done(client, first)
        original = row["duplicate_of"] or first
        again = send(client, *((f"folder/{n}", c) for n, c in demo_files().items()))[0]["id"]
        second = done(client, again)
        assert second["duplicate_of"] == original
        # The code that it was given stays, whatever it turns out to be.
        assert second["label"] != row["label"]
        assert second["place"] is None
        assert again not in {s["id"] for s in listed(client)}
        assert {again} <= {s["id"] for s in listed(client, duplicates=True)} - known
        assert (
            client.get(f"/studies/{again}/findings").json()
            == client.get(f"/studies/{original}/findings").json()
        )
        assert not (server.state / "studies" / again).exists()


def test_a_picture_and_a_photograph_have_a_page_too(server: Served) -> None:
    with server.client() as client:
        study = submit(client, ("slice.png", picture()))["studies"][0]["id"]
        row = done(client, study)
        assert (row["state"], row["kind"], row["volume_ml"]) == ("ready", "picture", None)
        with Image.open(io.BytesIO(client.get(f"/studies/{study}/picture.png").content)) as shown:
            size = shown.size
        assert client.get(f"/studies/{study}/slices").json()["display"]["shape"] == [1, size[1], size[0]]
        assert client.get(f"/studies/{study}/mask-native.nii.gz").status_code == 404
        assert client.get(f"/studies/{study}/slices/0.png", params={"mask": True}).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "..\\..\\x.dcm", "C:\\x.dcm", "a/../../b.dcm", "\0.dcm", "a/\0"],
)
def test_names_that_leave_their_folder_are_refused(server: Served, name: str) -> None:
    with server.client() as client:
        answer = client.post("/uploads", json={"files": [{"path": name, "size": 1}]})
        assert (answer.status_code, answer.json()["code"]) == (422, "unsafe_path")
        assert name.strip("\0") not in answer.text


@pytest.mark.parametrize("seed", range(40))
def test_whatever_names_say_files_lie_where_the_server_wants(seed: int) -> None:
    rng = random.Random(seed)
    alphabet = [
        "a",
        "/",
        "\\",
        ".",
        "..",
        "é",
        "\0",
        ":",
        "~",
        "%2e",
        "\n",
        "dcm",
        ".zip",
        ".nii.gz",
        " ",
        "C:",
    ]
    names = ["".join(rng.choices(alphabet, k=rng.randint(1, 9))) for _ in range(5)]
    try:
        planned = PlannedUpload.plan([(n, 1) for n in names], Limits())
    except UploadRefused:
        return
    for entry in planned.files:
        folder, _, file = entry.place.partition("/")
        assert folder.isdecimal()
        assert len(folder) == 6
        assert file[:6].isdecimal()
        assert file[6:] in ("", ".dcm", ".zip", ".nii.gz")


def test_files_go_to_inputs_as_a_person_means_them() -> None:
    names = ["s/1", "s/x/2.dcm", "s/b.zip", "c.zip", "d.nii.gz", "e.png", "6", "7.dcm", "__MACOSX/._1", "t/8"]
    planned = PlannedUpload.plan([(n, 1) for n in names], Limits())
    assert len(planned.inputs) == 7  # s, b.zip, c.zip, d, e, loose DICOM, t
    folders = [i for i in planned.inputs if "/" not in i]
    assert len(folders) == 2
    lone = PlannedUpload.plan([("DICOM/IM1", 1)], Limits()).inputs
    assert lone == ("000000/000000",)


def test_the_files_of_a_nifti_pair_stay_together_and_other_archives_are_inputs() -> None:
    names = [
        "a.hdr",
        "b.tar.gz",
        "a.img",
        "c.webp",
        "s/x.hdr.gz",
        "s/x.img.gz",
        "s/y/x.img",
        "d.tgz",
        "s/e.tar",
    ]
    planned = PlannedUpload.plan([(n, 1) for n in names], Limits())
    places = {f.path: f.place for f in planned.files}
    assert places["a.hdr"].removesuffix(".hdr") == places["a.img"].removesuffix(".img")
    assert places["s/x.hdr.gz"].removesuffix(".hdr.gz") == places["s/x.img.gz"].removesuffix(".img.gz")
    assert len(set(places.values())) == len(names)
    assert len(planned.inputs) == 6  # the pair, b, c, s, d, e
    alike = PlannedUpload.plan([("a.hdr", 1), ("a.HDR", 1)], Limits())
    assert len({f.place for f in alike.files}) == 2


def test_a_nifti_pair_is_assessed_as_one_exam(server: Served) -> None:
    volume = nibabel.Nifti1Image.from_bytes(exam(23))
    pair = nibabel.Nifti1Pair(volume.dataobj, volume.affine, volume.header)
    files = {"header": io.BytesIO(), "image": io.BytesIO()}
    pair.to_file_map({name: nibabel.FileHolder(fileobj=stream) for name, stream in files.items()})
    with server.client() as client:
        rows = send(client, ("a.hdr", files["header"].getvalue()), ("a.img", files["image"].getvalue()))
        assert [done(client, row["id"])["state"] for row in rows] == ["ready"]


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ([("a", 2_000_000_001)], "file_bytes"),
        ([(f"{k}", 1_900_000_000) for k in range(5)], "total_bytes"),
        ([(f"{k}", 0) for k in range(20_001)], "files"),
        ([("/".join("a" * 18), 1)], "depth"),
    ],
)
def test_more_than_the_limits_is_refused_before_a_byte_is_sent(
    server: Served, files: list[tuple[str, int]], limit: str
) -> None:
    with server.client() as client:
        answer = client.post("/uploads", json={"files": [{"path": p, "size": n} for p, n in files]})
        assert (answer.status_code, answer.json()["code"]) == (413, "limit_exceeded")
        assert f"({limit})" in answer.json()["message"]


def test_limits_of_the_environment_hold_here_too(serve: Callable[..., Served]) -> None:
    served = serve(ICHOR_LIMIT_FILES="3", ICHOR_LIMIT_VOXELS="1000000")
    with served.client() as client:
        assert client.get("/limits").json()["limits"]["files"] == 3
        assert (
            client.post(
                "/uploads", json={"files": [{"path": str(k), "size": 1} for k in range(4)]}
            ).status_code
            == 413
        )
        row = done(client, submit(client, ("a.nii", exam(1)))["studies"][0]["id"])
        assert (row["state"], row["refusal"]["code"]) == ("refused", "limit_exceeded")


@pytest.mark.parametrize(
    "make", [hostile.bomb, hostile.traversal, hostile.link, hostile.overlapping, hostile.crowded]
)
def test_a_hostile_archive_is_refused_with_a_word_and_the_queue_goes_on(server: Served, make: Any) -> None:
    with server.client() as client:
        row = done(client, submit(client, ("study.zip", make(random.Random(3))))["studies"][0]["id"])
        assert row["state"] == "refused"
        assert row["refusal"]["code"] in ("unsafe_archive", "limit_exceeded", "unreadable")
        assert row["refusal"]["message"].startswith("Found ")
        assert client.get(f"/studies/{row['id']}/findings").json()["code"] == "refused"
    folders = ("uploads", "scratch", "reading")
    left = [p for folder in folders for p in (server.state / folder).rglob("*") if p.is_file()]
    assert {p.name for p in left} <= {"board"}  # of the reader that waits: which file it is at


def test_a_body_that_is_no_form_is_refused(server: Served) -> None:
    with server.client() as client:
        assert client.post("/studies", content=b"x").status_code == 415
        broken = client.post(
            "/studies", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=a"}
        )
        assert broken.status_code in (400, 422)
        assert client.post("/studies", files={"other": ("a", b"x")}).status_code == 422
        assert client.post("/studies", data={"alias": "x"}, files={"a": ("", b"")}).status_code in (400, 422)


def test_names_of_files_and_patients_are_told_nowhere(serve: Callable[..., Served], tmp_path: Path) -> None:
    from reading.phantoms import SECRETS, head_series, write

    folder = tmp_path / "series"
    write(folder, head_series())
    files = [(f"{SECRET}/{SECRET}-{p.name}", p.read_bytes()) for p in sorted(folder.iterdir())]
    served = serve()
    with served.client() as client:
        rows = send(client, *files, (f"{SECRET}.nii", exam(5)), (f"{SECRET}.txt", b"x"))
        until(lambda: len(listed(client)) == 3, "three rows")
        rows = [done(client, s["id"]) for s in listed(client)]
        told = [client.get("/studies").text, httpx.get(f"{served.url}/metrics").text]
        client.get("/studies", params={"q": SECRET})
        for row in rows:
            for what in ("findings", "slices", "report.html"):
                told.append(client.get(f"/studies/{row['id']}/{what}").text)
        until(lambda: not any((served.state / "uploads").iterdir()), "the uploads to be gone")
    kept = b"".join(p.read_bytes() for p in served.state.rglob("*") if p.is_file())
    text = "\n".join([*told, *served.log, str(list(served.state.rglob("*")))])
    for secret in (SECRET, *SECRETS):
        assert secret not in text
        assert secret.encode() not in kept
