"""Which model assesses: listed with what its card states, chosen by whoever may, kept with each result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from starlette.testclient import TestClient

from ichor.detecting import load_bundle
from ichor.errors import BundleError, UsageError
from ichor.jobs.bundles import BundleChoice
from ichor.serving.app import create_app
from ichor.serving.settings import Settings
from serving.served import Served, done, exam, submit

TOKEN = "a-token-of-twenty-five-signs"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is not calibrated."""
    home = tmp_path_factory.mktemp("secret-place") / "raw"
    shutil.copytree(load_bundle("fast").folder, home)
    content = json.loads((home / "bundle.json").read_text())
    for key in ("thresholds", "slice_thresholds", "picture_thresholds", "operating_points", "calibration"):
        content.pop(key, None)
    content.pop("uncertain_band", None)
    (home / "bundle.json").write_text(json.dumps(content | {"name": "raw"}))
    return home


def by_name(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in answer["items"]}


def test_the_chosen_bundle_assesses_what_comes_after(serve: Callable[..., Served], raw: Path) -> None:
    options = ("--bundle", "default", "--bundle", "fast", "--bundle", str(raw), "--bundle", "default+fast")
    served = serve(*options)
    with served.client() as client:
        answer = client.get("/bundles")
        listed = by_name(answer.json())
        assert list(listed) == ["default", "fast", "raw", "default+fast"]
        assert "secret-place" not in answer.text
        assert [name for name, one in listed.items() if one["chosen"]] == ["default"]
        assert listed["default"]["measured"]
        assert listed["default"]["trained_on"] == [m.name for m in load_bundle().manifest.trained_on]
        assert [name for name, one in listed.items() if one["reason"]] == ["raw"]
        assert "Not calibrated" in listed["raw"]["reason"]
        assert not listed["raw"]["calibrated"]
        assert listed["default+fast"]["measured"] == []

        first = done(client, submit(client, ("a.nii", exam(1)))["studies"][0]["id"])
        refused = client.put("/bundles/chosen", json={"sha256": listed["raw"]["sha256"]})
        assert (refused.status_code, refused.json()["code"]) == (409, "not_choosable")
        assert client.put("/bundles/chosen", json={"sha256": "0" * 64}).status_code == 404
        chosen = client.put("/bundles/chosen", json={"sha256": listed["default+fast"]["sha256"]})
        assert chosen.status_code == 200
        assert by_name(chosen.json())["default+fast"]["chosen"]
        # The same exam: by another model it is no duplicate.
        again = done(client, submit(client, ("a.nii", exam(1)))["studies"][0]["id"])
        made = [client.get(f"/studies/{study['id']}/findings").json()["bundle"] for study in (first, again)]
        assert [one["name"] for one in made] == ["default", "default+fast"]
        assert [one["sha256"] for one in made] == [
            listed[name]["sha256"] for name in ("default", "default+fast")
        ]
        assert again["duplicate_of"] is None
        assert client.get("/model").json()["bundle"]["name"] == "default+fast"
    assert served.stop() == 0
    with serve(*options, state=served.state).client() as client:  # the choice outlives the server
        assert by_name(client.get("/bundles").json())["default+fast"]["chosen"]


def test_whoever_has_not_logged_in_sees_and_chooses_nothing(tmp_path: Path) -> None:
    app = create_app(Settings(state=tmp_path / "state", token=TOKEN))
    client = TestClient(app, base_url="http://localhost")
    shown = {"Authorization": f"Bearer {TOKEN}"}
    # Without --bundle: what is installed, the default first.
    listed = client.get("/api/v1/bundles", headers=shown).json()
    assert list(by_name(listed)) == ["default", "fast", "open"]
    fast = {"sha256": by_name(listed)["fast"]["sha256"]}
    assert client.get("/api/v1/bundles").status_code == 401
    assert client.put("/api/v1/bundles/chosen", json=fast).status_code == 401
    assert by_name(client.get("/api/v1/bundles", headers=shown).json())["default"]["chosen"]
    elsewhere = shown | {"Origin": "http://evil.example"}
    assert client.put("/api/v1/bundles/chosen", json=fast, headers=elsewhere).status_code == 403
    assert client.put("/api/v1/bundles/chosen", json=fast, headers=shown).status_code == 200
    app.state.server.database.close()


def test_what_is_named_must_be_there_and_one_must_be_calibrated(tmp_path: Path, raw: Path) -> None:
    with pytest.raises(UsageError, match="expected one with thresholds"):
        BundleChoice([str(raw)], tmp_path)
    with pytest.raises(BundleError, match="nowhere"):
        BundleChoice(["default", "nowhere"], tmp_path)
    choice = BundleChoice([str(raw), "fast"], tmp_path)  # the first that may be chosen
    assert choice.chosen.name == "fast"
    (tmp_path / "bundle.json").write_text('{"bundle": "gone"}')
    assert choice.chosen.name == "fast"
