"""The calls that mirror the commands: what is missing is named; one process of all does what is done once."""

import subprocess
import sys

import pytest

CODE = """
import sys
sys.modules["{library}"] = None
import ichor
try:
    {call}
except ichor.UsageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("library", "call"), [("torch", "ichor.train()"), ("sklearn", "ichor.evaluate('predictions.csv')")]
)
def test_without_the_extra_the_calls_name_it(library, call):
    code = CODE.format(library=library, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"found no {library}" in done.stdout and "expected the extra 'train'" in done.stdout


def test_a_loaded_recipe_takes_no_settings():
    pytest.importorskip("torch", reason="needs the extra 'train'")
    import ichor
    from ichor.training.recipe import load_recipe

    with pytest.raises(ichor.UsageError, match="found a loaded recipe, and a data set or settings"):
        ichor.train(load_recipe("default"), settings=["epochs=3"])


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"RANK": "1", "LOCAL_RANK": "0"}, False),  # torchrun: the first of the second machine
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
    ],
)
def test_one_process_of_all_machines_is_the_first(monkeypatch, environment, first):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from ichor.training.ranks import is_first_process, wait_for_all

    for name in ("RANK", "GROUP_RANK", "NODE_RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first
    wait_for_all()  # of one process, returns
