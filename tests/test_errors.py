"""Refusals are values: more is said of them by making another, and they cross process borders."""

from __future__ import annotations

import pickle

from ichor.errors import RefusedInput
from ichor.notices import notice
from ichor.uids import hashed_uid

REFUSAL = RefusedInput("a.zip:x", "unreadable", found="junk", expected="DICOM", remedy="send it again")
NOTICES = (notice("localizer", "One image left out."), notice("oblique", "12 degrees.", [1, 2]))


def test_more_context_makes_another_refusal_and_leaves_the_first():
    fuller = REFUSAL.with_context(notices=NOTICES, study_uid="1.2", series_uid="1.2.3")
    assert (REFUSAL.notices, REFUSAL.study_uid, REFUSAL.series_uid) == ((), "", "")
    assert (fuller.notices, fuller.study_uid, fuller.series_uid) == (NOTICES, "1.2", "1.2.3")
    assert str(REFUSAL) == "a.zip:x: found junk; expected DICOM; send it again [unreadable]"
    uid = hashed_uid("1.2.3")
    assert str(fuller) == f"a.zip:x: found junk (series {uid}); expected DICOM; send it again [unreadable]"
    assert fuller.sentence == f"Found junk (series {uid}); expected DICOM; send it again."
    again = fuller.with_context(study_uid="1.9")
    assert (again.notices, again.study_uid, again.series_uid) == (NOTICES, "1.9", "1.2.3")


def test_a_refusal_survives_pickling_whole():
    fuller = REFUSAL.with_context(notices=NOTICES, study_uid="1.2", series_uid="1.2.3")
    back = pickle.loads(pickle.dumps(fuller))
    assert isinstance(back, RefusedInput)
    assert vars(back) == vars(fuller)
    assert str(back) == str(fuller)
