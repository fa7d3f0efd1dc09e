"""``ichor info``: all that can be asked."""

from __future__ import annotations

import json
from dataclasses import asdict

import onnxruntime

from ichor.cli import run
from ichor.detecting.bundle import load_bundle
from ichor.reading.limits import Limits


def test_json(capfd) -> None:
    assert run(["info", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    bundle = load_bundle()
    assert facts["bundle"]["sha256"] == bundle.sha256
    assert (
        facts["bundle"]["thresholds"]["any"]["probability"] == bundle.manifest.thresholds["any"].probability
    )
    assert facts["providers"] == onnxruntime.get_available_providers()
    assert facts["limits"] == asdict(Limits())
    assert facts["other_bundles"] == {n: load_bundle(n).manifest.licence for n in ("fast", "open")}


def test_a_bundle_beside_it_that_cannot_be_read_is_told(capfd, tmp_path, monkeypatch) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "bundle.json").write_text("{")
    monkeypatch.setenv("ICHOR_BUNDLES", str(tmp_path))
    assert run(["info", "--json"]) == 0
    assert "bundle.json" in json.loads(capfd.readouterr().out)["other_bundles"]["theirs"]


def test_text_is_short_and_the_card_is_asked_for(capfd, monkeypatch) -> None:
    monkeypatch.setenv("ICHOR_LIMIT_SECONDS", "7")
    assert run(["info"]) == 0
    out = capfd.readouterr().out
    bundle = load_bundle()
    for words in (
        bundle.name,
        bundle.version,
        bundle.sha256,
        "CPUExecutionProvider",
        "seconds = 7",
        "file_bytes",
    ):
        assert words in out, words
    assert bundle.card_text not in out
    assert out.count("\n") < 30
    assert run(["info", "--card"]) == 0
    assert bundle.card_text in capfd.readouterr().out


def test_a_bundle_that_is_not_there(capfd) -> None:
    assert run(["info", "--bundle", "nowhere"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "nowhere" in err
    assert err.count("\n") == 1
