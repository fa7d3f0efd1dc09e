"""The reader's verdict, several people at once, and a server that dies while they look."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

for extra in ("fastapi", "httpx", "playwright"):
    pytest.importorskip(extra, reason="needs the extras 'serve' and 'test-serve'")

from serving.pages.looking import Looker
from serving.served import Served, done, exam, submit

N = 10


def one_exam(served: Served, name: str = "bleed", number: int = 0) -> str:
    with served.client() as client:
        study: str = submit(client, ("a.nii", exam(number)), alias=name)["studies"][0]["id"]
        done(client, study)
    return study


def test_a_verdict_is_kept_over_a_restart_and_exported(
    serve: Callable[..., Served], look: Callable[..., Looker]
) -> None:
    first = serve()
    one_exam(first)
    looker = look(first.url)
    looker.open("bleed")
    looker.drawn()
    page = looker.page
    page.get_by_role("button", name="Save verdict").click()
    page.get_by_text("Choose agree or disagree.").wait_for()
    page.get_by_role("radio", name="Disagree").check()
    for box in (
        "Any hemorrhage",
        "Epidural",
        "Intraparenchymal",
        "Intraventricular",
        "Subarachnoid",
        "Subdural",
    ):
        page.get_by_role("checkbox", name=box).set_checked(box in ("Any hemorrhage", "Subdural"))
    page.get_by_role("textbox", name="Note").fill("Rim along the tentorium, <b>thin</b>")
    page.get_by_label("Reader").fill("Dr. A")
    page.get_by_role("button", name="Save verdict").click()
    page.locator(".saved-verdict").wait_for()
    assert first.stop() == 0

    second = serve(state=first.state)
    again = look(second.url)
    again.open("bleed")
    said = again.page.locator(".saved-verdict")
    said.wait_for()
    assert "Disagrees: subdural" in said.inner_text()
    assert "<b>thin</b>" in said.inner_text()
    assert "Read by Dr. A" in again.page.locator(".study-head").inner_text()
    again.page.goto(f"{second.url}/#/")
    again.page.get_by_text("Export verdicts").click()
    with again.page.expect_download() as download:
        again.page.get_by_role("link", name="As a table (CSV)").click()
    (row,) = csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8")))
    assert row["reader"] == "Dr. A" and row["verdict"] == "disagree"
    again.open("bleed")
    again.page.get_by_role("button", name="Take back").click()
    again.page.get_by_role("button", name="Save verdict").wait_for()
    with second.client() as client:
        assert client.get("/studies").json()["items"][0]["read_by"] is None


def test_two_people_at_once_see_each_other(serve: Callable[..., Served], look: Callable[..., Looker]) -> None:
    served = serve()
    one_exam(served)
    one, other = look(served.url), look(served.url)
    one.open("bleed")
    one.drawn()
    other.page.get_by_role("link", name="bleed", exact=True).wait_for()
    assert "raised" in (other.page.locator("tr[data-state]").get_attribute("class") or "")
    one.page.get_by_role("radio", name="Agree", exact=True).check()
    one.page.get_by_label("Reader").fill("A")
    one.page.get_by_role("button", name="Save verdict").click()
    other.page.locator("td.c-read", has_text="A").wait_for()  # without a reload
    assert "raised" not in (other.page.locator("tr[data-state]").get_attribute("class") or "")
    # What one sends, the other sees; what one deletes is gone for both, open pages too.
    one_exam(served, "second", 1)
    other.page.get_by_role("link", name="second", exact=True).wait_for()
    row = other.page.locator("tr[data-state]", has=other.page.get_by_role("link", name="bleed", exact=True))
    row.get_by_role("button", name="Delete bleed").click()
    row.get_by_role("button", name="Delete for good").click()
    one.page.get_by_role("heading", name="Worklist").wait_for()
    one.page.get_by_role("link", name="second", exact=True).wait_for()
    assert one.page.get_by_role("link", name="bleed", exact=True).count() == 0


def test_a_page_stays_true_while_the_server_is_killed(
    serve: Callable[..., Served], look: Callable[..., Looker]
) -> None:
    first = serve("--port", str(free_port()))
    looker = look(first.url)
    with first.client() as client:
        for k in range(N):
            submit(client, (f"{k}.nii", exam(k)), alias=f"study {k}")
    looker.wait_states(2, ("ready",))
    looker.page.evaluate("window.same = true")
    first.kill_worker()
    first.kill()
    looker.page.get_by_text("not connected").wait_for()
    second = serve("--port", first.url.rpartition(":")[2], state=first.state)
    assert second.url == first.url
    looker.wait_states(N, ("ready",), 120)
    assert looker.page.evaluate("window.same") is True
    names = looker.page.locator("a.open").all_inner_texts()
    assert sorted(names) == sorted(f"study {k}" for k in range(N))


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_login_is_asked_for_where_the_server_is_guarded(
    serve: Callable[..., Served], look: Callable[..., Looker], tmp_path: object
) -> None:
    from pathlib import Path

    token = Path(str(tmp_path)) / "token"
    token.write_text("correct-horse-battery\n")
    served = serve("--token-file", str(token))
    looker = look(served.url)
    looker.page.get_by_label("Token").fill("wrong-horse-battery!")
    looker.page.get_by_role("button", name="Log in").click()
    looker.page.get_by_text("Found no such token").wait_for()
    looker.page.get_by_label("Token").fill("correct-horse-battery")
    looker.page.get_by_role("button", name="Log in").click()
    looker.page.get_by_role("heading", name="Worklist").wait_for()
    looker.page.get_by_text("live", exact=True).wait_for()
    assert looker.page.evaluate("document.cookie") == ""
    looker.page.get_by_role("button", name="Log out").click()
    looker.page.get_by_label("Token").wait_for()
