"""Bringing studies in: a zip, a folder, a drop; progress, pause, cancel, resuming; the same again; what is refused."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

for extra in ("fastapi", "httpx", "playwright"):
    pytest.importorskip(extra, reason="needs the extras 'serve' and 'test-serve'")

from ichor.cli.demo import demo_exam
from serving.pages.looking import Looker
from serving.served import Served, exam, listed, until


@pytest.fixture
def page(look: Callable[..., Looker], serve: Callable[..., Served]) -> Iterator[tuple[Looker, Served]]:
    served = serve()
    yield look(served.url), served


def choose(looker: Looker, kind: str, *paths: Path) -> None:
    looker.page.locator(f"[data-input={kind}]").set_input_files(
        [str(p) for p in paths] if len(paths) > 1 else str(paths[0])
    )


def test_a_zip_comes_in_and_is_read_without_a_reload(page: tuple[Looker, Served], tmp_path: Path) -> None:
    looker, _ = page
    looker.page.evaluate("window.same = true")
    looker.page.evaluate(
        """() => { window.seen = new Set(); new MutationObserver(() => {
          for (const bar of document.querySelectorAll('.transfer progress')) window.seen.add('progress');
          for (const row of document.querySelectorAll('tr[data-state]')) window.seen.add(row.dataset.state);
        }).observe(document.body, { childList: true, subtree: true, attributes: true }) }"""
    )
    choose(looker, "files", Path(demo_exam()))
    looker.wait_states(1)
    seen = set(looker.page.evaluate("[...window.seen]"))
    assert {"progress", "ready"} <= seen and seen & {"queued", "reading", "detecting"}
    row = looker.page.locator("tr[data-state=ready]")
    assert "Suspected" in row.inner_text() and "intraparenchymal" in row.inner_text()
    row.locator("a.open").click()
    looker.drawn()
    assert "Hemorrhage suspected" in looker.page.locator(".panel").inner_text()
    assert looker.page.evaluate("window.same") is True
    # The same again is recognised, and not assessed twice.
    looker.page.keyboard.press("Escape")
    other = tmp_path / "renamed.zip"
    other.write_bytes(Path(demo_exam()).read_bytes())
    choose(looker, "files", other)
    told = looker.page.locator(".duplicate")
    told.wait_for()
    assert "was here already" in told.inner_text()
    assert looker.page.locator("tr[data-state]").count() == 1
    told.get_by_role("link").click()
    looker.drawn()


def test_a_folder_comes_in(page: tuple[Looker, Served], demo_folder: Path) -> None:
    looker, _ = page
    choose(looker, "folder", demo_folder)
    looker.wait_states(1, ("ready",))
    assert "30 slices" in looker.page.locator("tr[data-state]").inner_text()


def test_several_are_dropped_and_wait_their_turn(page: tuple[Looker, Served]) -> None:
    looker, _ = page
    files = [(f"{k}.nii", base64.b64encode(exam(k)).decode()) for k in range(3)]
    transfer = looker.page.evaluate_handle(
        """files => { const transfer = new DataTransfer();
          for (const [name, content] of files) transfer.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
          return transfer }""",
        files,
    )
    looker.page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    looker.page.get_by_text("Drop to add").wait_for()
    looker.page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    looker.wait_states(3, ("ready",))


def test_pause_resume_and_cancel(page: tuple[Looker, Served], tmp_path: Path) -> None:
    looker, served = page
    looker.page.route(
        "**/uploads/*/files/*", lambda route: (looker.page.wait_for_timeout(150), route.continue_())
    )
    folder = tmp_path / "many"
    folder.mkdir()
    with zipfile.ZipFile(demo_exam()) as archive:
        archive.extractall(folder)
    choose(looker, "folder", folder)
    upload = looker.page.locator(".transfer")
    upload.get_by_role("button", name="Pause").click()
    looker.page.get_by_text("Paused at").wait_for()
    sent = int(looker.page.locator(".transfer progress").evaluate("p => p.value"))
    assert sent < int(looker.page.locator(".transfer progress").evaluate("p => p.max"))
    looker.page.wait_for_timeout(600)
    assert (
        int(looker.page.locator(".transfer progress").evaluate("p => p.value")) <= sent + 600_000
    )  # what was on its way
    upload.get_by_role("button", name="Resume").click()
    looker.wait_states(1, ("ready",))
    choose(looker, "folder", folder)
    upload = looker.page.locator(".transfer.sending")
    upload.get_by_role("button", name="Cancel").click()
    upload.wait_for(state="detached")
    until(
        lambda: not any((served.state / "uploads").iterdir()),
        "the cancelled upload to be gone from the disk",
        20,
    )


def test_an_upload_goes_on_after_a_reload(page: tuple[Looker, Served], demo_folder: Path) -> None:
    looker, _ = page
    sent: list[str] = []
    held = {"on": True}

    def pass_some(route: object) -> None:
        address = route.request.url  # type: ignore[attr-defined]
        if held["on"] and len(sent) >= 12:
            route.abort()  # type: ignore[attr-defined]
            return
        sent.append(address.rpartition("/files/")[2])
        route.continue_()  # type: ignore[attr-defined]

    looker.page.route("**/uploads/*/files/*", pass_some)
    choose(looker, "folder", demo_folder)
    looker.page.wait_for_function("() => document.querySelector('.transfer progress')?.value > 0")
    until(lambda: (looker.page.wait_for_timeout(50) or True) and len(sent) >= 12, "some files", 20)
    looker.page.wait_for_timeout(500)
    before = list(sent)
    held["on"] = False
    looker.page.reload()
    looker.page.get_by_text("Interrupted at").wait_for()
    # Nothing of what files are called is kept in the browser.
    names = [p.name for p in demo_folder.rglob("*") if p.is_file()]
    stored = looker.page.evaluate("JSON.stringify(localStorage)")
    assert not any(name in stored for name in names)
    looker.page.locator("[data-input=resume-folder]").set_input_files(str(demo_folder))
    looker.wait_states(1, ("ready",))
    again = [name for name in sent[len(before) :] if name.endswith("offset=0") and name in before[:8]]
    assert not again
    assert "30 slices" in looker.page.locator("tr[data-state]").inner_text()


def bomb() -> bytes:
    """A zip that unpacks to a thousand times its size."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("slice.dcm", b"\0" * 300_000_000)
    return stream.getvalue()


def test_wrong_files_and_bombs_are_refused_with_a_plain_word(
    page: tuple[Looker, Served], tmp_path: Path
) -> None:
    looker, served = page
    (tmp_path / "letter.txt").write_text("Dear colleague")
    (tmp_path / "bomb.zip").write_bytes(bomb())
    (tmp_path / "empty.zip").write_bytes(b"")
    choose(looker, "files", tmp_path / "letter.txt")
    choose(looker, "files", tmp_path / "bomb.zip")
    looker.wait_states(2, ("refused",))
    reasons = looker.page.locator(".reason").all_inner_texts()
    assert len(reasons) == 2 and all(len(r) > 30 for r in reasons)
    assert any("archive_ratio" in r for r in reasons)
    choose(looker, "files", tmp_path / "empty.zip")
    looker.page.get_by_text("found nothing in it (0 bytes)").wait_for()
    with served.client() as client:
        assert {s["state"] for s in listed(client)} == {"refused"}
    looker.page.locator("tr[data-state=refused] a.open").first.click()
    looker.page.get_by_role("heading", name="Not assessed").wait_for()
