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
    ("library", "call", "extra"),
    [("torch", "ichor.train()", "train"), ("sklearn", "ichor.evaluate('predictions.csv')", "evaluate")],
)
def test_without_the_extra_the_calls_name_it(library, call, extra):
    code = CODE.format(library=library, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"found no {library}" in done.stdout and f"expected the extra '{extra}'" in done.stdout


def test_evaluating_needs_no_more_than_its_extra(tmp_path):
    """A table is measured where neither torch nor anything else of the extra for training is installed."""
    pytest.importorskip("sklearn", reason="needs the extra 'evaluate'")
    more = [
        "torch",
        "lightning",
        "timm",
        "safetensors",
        "huggingface_hub",
        "onnx",
        "zarr",
        "filelock",
        "pandas",
    ]
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {more!r}:
            raise ImportError(name, name=name)
sys.meta_path.insert(0, Absent())
from ichor.evaluating import compare, failures, groups, out_of_fold, page, predictions, tables
from ichor.datasets.registry import open_dataset
import ichor
try:
    ichor.evaluate("nowhere.csv", dataset="ct-ich")
except ichor.UsageError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "refused: " in done.stdout and "extra" not in done.stdout.split("refused: ")[1]


def test_a_loaded_recipe_takes_no_settings():
    pytest.importorskip("torch", reason="needs the extra 'train'")
    import ichor
    from ichor.training.recipe import load_recipe

    with pytest.raises(ichor.UsageError, match="found a loaded recipe, and a data set or settings"):
        ichor.train(load_recipe("default"), settings=["epochs=3"])


def test_a_recipe_is_named_by_a_path_too(tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    import ichor

    with pytest.raises(ichor.UsageError, match=r"mine\.yaml"):
        ichor.train(tmp_path / "mine.yaml")


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
