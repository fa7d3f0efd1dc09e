"""``node.toml`` is strict, and says what is wrong; a dry run says what would be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from ichor.cli import run
from ichor.errors import UsageError
from ichor.node.config import NodeConfig, load_config, parse_config, with_flags
from ichor.node.describing import described
from ichor.node.rules import SeriesFacts, decide

FLAGS = {
    "ae_title": None,
    "host": None,
    "port": None,
    "page_port": None,
    "allow": [],
    "send_to": None,
    "state": None,
}
ARCHIVE = {"name": "pacs", "type": "dicom", "host": "10.1.2.3", "port": 104, "ae_title": "PACS"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lisen": {}}, "lisen: found a key that is not known"),
        ({"listen": {"ae_title": "SEVENTEEN_LETTERS"}}, "listen.ae_title"),
        ({"listen": {"ae_title": "BACK\\SLASH"}}, "listen.ae_title"),
        ({"listen": {"port": 70000}}, "listen.port"),
        ({"peers": [{"ae_title": "A", "addresses": ["somewhere"]}]}, "expected 10.1.2.3 or 10.1.2.0/24"),
        ({"peers": [{"ae_title": "A", "addresses": []}]}, "peers.0.addresses"),
        ({"destinations": [ARCHIVE, ARCHIVE]}, "the destination 'pacs' twice"),
        ({"destinations": [{**ARCHIVE, "kinds": ["gif"]}]}, "kinds"),
        ({"destinations": [{"name": "x", "type": "fax"}]}, "destinations.0"),
        ({"destinations": [{"name": "x", "type": "fhir", "url": "ftp://h"}]}, "url"),
        ({"rules": [{"action": "forward"}]}, "expected `to` with action forward"),
        ({"rules": [{"action": "forward", "to": "pacs"}]}, "expected a destination of type dicom"),
        ({"listen": {"tls": {"certificate": "a.pem", "key": "b", "authority": "c"}}}, "found no file a.pem"),
        ({"bounds": {"pdu_bytes": 1 << 32}}, "bounds.pdu_bytes"),
    ],
)
def test_every_fault_is_named_with_its_place(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_config(values, "node.toml")
    assert words in str(error.value) and str(error.value).startswith("node.toml: ")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = [")
    with pytest.raises(UsageError, match="no TOML"):
        load_config(broken)


def test_the_options_stand_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text('[listen]\nport = 104\nae_title = "A"\n')
    flags = {**FLAGS, "ae_title": "B", "allow": ["PACS@10.1.2.0/24"], "send_to": "PACS@10.1.2.3:104"}
    config = with_flags(path, flags)
    assert (config.listen.port, config.listen.ae_title) == (104, "B")
    assert config.peers[0].comes_from("10.1.2.77") and config.peers[0].comes_from("::ffff:10.1.2.77")
    assert not config.peers[0].comes_from("10.1.3.1") and not config.peers[0].comes_from("no address")
    assert config.kinds == ("seg", "sr", "sc", "ko")
    for name, text in (("allow", ["PACS"]), ("send_to", "PACS@host")):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}"):
            with_flags(None, {**FLAGS, name: text})


def test_by_default_nobody_may_send_and_only_this_machine_is_listened_to() -> None:
    config = NodeConfig()
    assert config.peers == [] and config.listen.host == config.page.host == "127.0.0.1"


def test_a_dry_run_says_what_would_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
    pytest.importorskip("highdicom", reason="needs the extra 'node'")
    pytest.importorskip("sqlmodel", reason="needs the extra 'node'")
    path = tmp_path / "node.toml"
    path.write_text(
        '[[peers]]\nae_title = "CT1"\naddresses = ["10.0.0.1"]\n'
        '[[rules]]\nstation = "CT9*"\naction = "drop"\n[[rules]]\naction = "detect"\n'
        '[[destinations]]\nname = "ris"\ntype = "hl7"\nhost = "h"\nport = 2575\n'
    )
    assert run(["node", "--config", str(path), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert text.strip() == described(load_config(path))
    for words in (
        "Takes studies from CT1 at 10.0.0.1.",
        "Rule 1: drop series with station like CT9*.",
        "Rule 2: assess series with anything.",
        "sends ORU^R01 to h:2575",
    ):
        assert words in text


def test_the_first_rule_that_fits_counts_and_what_is_no_ct_is_never_assessed() -> None:
    config = parse_config(
        {
            "destinations": [ARCHIVE],
            "rules": [
                {"called": "RESEARCH", "action": "forward", "to": "pacs"},
                {"description": "*head*", "body_part": "H?AD", "action": "detect"},
            ],
        },
        "test",
    )
    head = SeriesFacts("ICHOR", "CT1", "CT Head", "HEAD")
    assert decide(config.rules, head).action == "detect"
    assert decide(config.rules, SeriesFacts("RESEARCH")).to == "pacs"
    assert decide(config.rules, SeriesFacts("ICHOR", "CT1", "Chest", "CHEST")).reason == "no_rule"
    report = SeriesFacts("ICHOR", "CT1", "CT Head", "HEAD", is_image=False)
    assert decide(config.rules, report) == decide([], report)
    assert decide([], head).action == "detect"
    own = SeriesFacts("RESEARCH", is_own=True)
    assert decide(config.rules, own).reason == "own_result"
