"""Training as a whole: it learns, a killed run ends like one that was not, two processes do as one does."""

import copy
import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("lightning", reason="needs the extra 'train'")

from safetensors.torch import load_file  # noqa: E402

from ichor.errors import UsageError  # noqa: E402
from ichor.training.cross_validation import CrossValidation  # noqa: E402
from ichor.training.fitting import FitData, Start, fit, load_model, load_start  # noqa: E402
from ichor.training.hardware import Hardware  # noqa: E402
from ichor.training.module import depthwise_in_fp32  # noqa: E402
from ichor.training.recipe import AugmentationRecipe, load_recipe  # noqa: E402
from ichor.training.run_folder import RunFolder  # noqa: E402
from ichor.training.sampling import Batch  # noqa: E402
from training.made import made_store, recipe_of, sampler_of  # noqa: E402

PLAIN = Hardware("cpu", precision="32", workers=0)
PROGRAM = Path(__file__).with_name("made.py")


def rows(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same(a, b, tolerance=1e-5):
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.allclose(value.float(), b[name].float(), atol=tolerance), name


def validation(store):
    border = 8
    hu = torch.from_numpy(
        store.hu[store.neighbours(np.arange(60), 12.0)][..., border:-border, border:-border]
    ).float()
    blood = torch.from_numpy(store.blood[..., border:-border, border:-border].copy())
    return [Batch(hu, blood, torch.from_numpy(store.labels))]


def test_a_small_network_learns_to_see_blood(tmp_path):
    recipe = recipe_of(
        "slices",
        epochs=6,
        epoch_steps=10,
        batch_size=8,
        average_decay=0.0,
        sampling={"kind": "plain"},
        augmentation=dict.fromkeys(AugmentationRecipe.model_fields, 0.0),
        optimiser={"warmup_steps": 1, "learning_rate": 0.01},
        model={"kind": "classifier", "backbone": "cnn-8-16-16", "pretrained": False, "pooling": "max"},
    )
    data = FitData(sampler_of(recipe), validation(made_store()))
    fit(recipe, data, tmp_path, Start(), lambda *_: None, PLAIN)
    log = rows(tmp_path)
    assert len(log) == 6 and list(log[0])[:3] == ["step", "epoch", "train_loss"]
    assert float(log[-1]["val_loss"]) < 0.7 * float(log[0]["val_loss"])
    assert float(log[-1]["val_accuracy"]) > 0.9
    assert not (tmp_path / "last.ckpt").exists() and (tmp_path / "run.json").exists()
    assert list((tmp_path / "events").glob("events.*"))
    network = load_model(recipe, tmp_path / "weights.safetensors")
    assert not network.training


@pytest.mark.parametrize("kind", ["map", "exams"])
def test_progress_has_the_time_left(tmp_path, kind):
    calls = []
    recipe = recipe_of(kind)
    fit(recipe, FitData(sampler_of(recipe)), tmp_path, Start(), lambda *args: calls.append(args), PLAIN)
    doing, done = calls[-1]
    assert doing.startswith(f"{tmp_path.name} 10/12: loss ") and doing.endswith(" left") and done == 10 / 12


def test_a_run_killed_at_a_random_step_ends_like_one_that_was_not(tmp_path):
    """With SIGKILL, in the midst of it, twice."""
    command = [sys.executable, str(PROGRAM)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, tmp_path / "whole", "exams", "0"], check=True, env=environment)
    for _ in range(2):
        process = subprocess.Popen(
            [*command, tmp_path / "killed", "exams", "0"], env=environment, stdout=subprocess.PIPE, text=True
        )
        before = len(rows(tmp_path / "killed")) if (tmp_path / "killed" / "log.csv").exists() else 0
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            if (tmp_path / "killed" / "log.csv").exists() and len(rows(tmp_path / "killed")) > before + 1:
                time.sleep(random.uniform(0, 0.1))
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "killed" / "weights.safetensors").exists(), "it ended before it was killed"
    assert (tmp_path / "killed" / "last.ckpt").exists()
    subprocess.run([*command, tmp_path / "killed", "exams", "0"], check=True, env=environment)
    same(
        load_file(tmp_path / "whole" / "weights.safetensors"),
        load_file(tmp_path / "killed" / "weights.safetensors"),
    )
    kept = ("step", "epoch", "train_loss", "train_accuracy")
    a, b = ([[row[k] for k in kept] for row in rows(tmp_path / name)] for name in ("whole", "killed"))
    assert a == b and len(a) == 8


@pytest.mark.parametrize("kind", ["slices", "exams"])
def test_two_processes_do_as_one_does(tmp_path, kind):
    """gloo on the CPU, the same global batch: twenty steps, the same losses within 1e-4."""
    losses = {}
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(
            [sys.executable, str(PROGRAM), folder, kind, str(devices)], check=True, env=environment
        )
        losses[devices] = [float(row["train_loss"]) for row in rows(folder)]
    assert len(losses[1]) == 20 and losses[1][0] != losses[1][-1]
    assert losses[2] == pytest.approx(losses[1], abs=1e-4)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    recipe = recipe_of("slices", batch_size=5)
    with pytest.raises(UsageError, match="batch_size: found 5; expected a multiple of 2"):
        fit(recipe, FitData(sampler_of(recipe)), tmp_path, Start(), lambda *_: None, Hardware("cpu", 2))


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    store = made_store()
    wrong = [Batch(b.hu, b.blood, 1 - b.labels) for b in validation(store)]  # the better it learns, the worse
    recipe = recipe_of("slices", epochs=30, epoch_steps=8, average_decay=0.0, early_stopping={"patience": 2})
    fit(recipe, FitData(sampler_of(recipe), wrong), tmp_path, Start(), lambda *_: None, PLAIN)
    log = rows(tmp_path)
    assert len(log) < 30
    losses = [float(row["val_loss"]) for row in log]
    network = load_model(recipe, tmp_path / "weights.safetensors")
    from ichor.training.losses import slice_loss
    from ichor.training.module import channels_of

    with torch.inference_mode():
        logits = network(channels_of(wrong[0].hu, recipe.preparation))
    assert float(slice_loss(logits, wrong[0].labels)) == pytest.approx(min(losses), rel=1e-3)


def test_the_last_epoch_is_validated_whatever_the_rhythm(tmp_path):
    recipe = recipe_of("slices", epochs=3, epoch_steps=2, batch_size=8, validate_epochs=2)
    data = FitData(sampler_of(recipe), validation(made_store()))
    fit(recipe, data, tmp_path, Start(), lambda *_: None, PLAIN)
    assert [bool(row["val_loss"]) for row in rows(tmp_path)] == [False, True, True]


def test_weights_of_another_network_are_refused(tmp_path):
    from safetensors.torch import save_file

    from ichor.models import build_network

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    network = build_network(recipe_of("slices").model, 4, (96, 64))
    with pytest.raises(UsageError, match="weights of another network"):
        load_start(network, tmp_path / "other.safetensors")


def test_depthwise_convolutions_stay_in_fp32_and_are_copied_whole():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 3, groups=8))
    plain = copy.deepcopy(network)
    depthwise_in_fp32(network)
    copied = copy.deepcopy(network)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(x), plain(x))
    with torch.autocast("cpu", torch.bfloat16):
        pointwise = network[0](x)
        found = network[1](pointwise)
    assert found.dtype == pointwise.dtype == torch.bfloat16
    assert torch.equal(found, plain[1](pointwise.float()).bfloat16())
    with torch.no_grad():
        network[1].weight.zero_()
    assert torch.equal(copied(x), plain(x)), "an averaged copy has weights of its own"


def test_weights_that_cannot_be_had_are_missed_before_the_data(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = RunFolder(tmp_path / "run", load_recipe("kumar-densenet201"))
    run = CrossValidation(folder, tmp_path / "no data here", Start(weights=True))
    with pytest.raises(UsageError, match=r"densenet201.*--weights FILE.safetensors.*--weights none"):
        run.train("fold-0")
