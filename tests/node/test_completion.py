"""A study is complete sooner where its scanner says that it is done."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("highdicom", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from ichor.node.completion import Completion
from ichor.node.config import parse_config
from ichor.node.spool import Spool
from ichor.reading.limits import Limits
from node.peers import CANARY, LEFT_BY_PYNETDICOM, ReceiverProcess, begin_step, end_step, send, study

pytestmark = [*LEFT_BY_PYNETDICOM, pytest.mark.filterwarnings("ignore:Invalid value for VR UI")]


def test_a_study_is_complete_once_its_step_is_and_every_image_of_it_is_here(
    receiver: Callable[..., ReceiverProcess],
) -> None:
    one = receiver()
    spool = Spool(one.root, Limits())
    completion = Completion(parse_config({"completion": {"quiet_seconds": 3600}}, "the test"), spool)

    def due() -> list[str]:
        return list(completion.due(time.time()).values())

    datasets = study(1)
    assert begin_step(one.port, "1.2.3", datasets[0]) == 0x0000
    assert begin_step(one.port, "1.2.3", datasets[0]) == 0x0111
    assert begin_step(one.port, "../3", datasets[0]) == 0x0117
    assert end_step(one.port, "1.2.4", datasets) == 0x0112
    assert set(send(one.port, datasets[:5])) == {0}
    assert due() == []
    assert end_step(one.port, "1.2.3", datasets) == 0x0000
    assert due() == []  # the scanner is done, its last image is not here
    assert end_step(one.port, "1.2.3", datasets) == 0x0110
    assert send(one.port, datasets[5:]) == [0]
    assert due() == ["mpps"]
    # It was taken: what comes later waits for its quiet time, each slice of it is no study of its own.
    (name,) = completion.due(time.time())
    spool.begin(name)
    completion.taken(name)
    spool.end(name)
    late = study(1, step=3)[-1]
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = late.SOPInstanceUID + ".9"
    assert send(one.port, [late]) == [0]
    assert due() == []
    # Another step of the same study; it says so once it is completed, and nothing where it was broken off.
    for uid, state, expected in (("1.2.5", "COMPLETED", ["mpps"]), ("1.2.6", "DISCONTINUED", [])):
        assert begin_step(one.port, uid, datasets[0]) == 0
        assert due() == []
        assert end_step(one.port, uid, [late], state=state) == 0
        assert due() == expected
    # What is kept of steps names nobody.
    kept = "".join(path.read_text() for path in spool.steps.iterdir())
    assert CANARY not in kept and "1.2.826" not in kept
    assert [e["outcome"] for e in one.audit("step")].count(0) == 6
