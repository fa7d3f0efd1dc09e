"""Training: what a batch is, that a killed run goes on as if nothing had been, that a recipe is read strictly."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN  # noqa: E402
from ichor.datasets.store import Store  # noqa: E402
from ichor.errors import UsageError  # noqa: E402
from ichor.preparing import Preparation  # noqa: E402
from ichor.training.augment import move, paste  # noqa: E402
from ichor.training.loop import channels_of, fit  # noqa: E402
from ichor.training.losses import map_targets, slice_loss  # noqa: E402
from ichor.training.recipe import AugmentationRecipe, Recipe, load_recipe, recipe_names  # noqa: E402
from ichor.training.sampling import Sampler  # noqa: E402

SMALL = Preparation(rows=96, columns=64)


def small_store(name="made", seed=0, hu_range=(-900.0, 2300.0)):
    """Ten exams of six slices: an ellipse of brain in a ring of bone, in half of them a disk of blood."""
    rng = np.random.default_rng(seed)
    n, exams, rows, columns = 60, 10, 112, 80
    yy, xx = np.mgrid[:rows, :columns]
    radius = np.hypot((yy - rows / 2) / 40, (xx - columns / 2) / 30)
    hu = np.where(radius < 0.9, 35, np.where(radius < 1, 900, -1000)).astype(np.int16)
    hu = np.repeat(hu[None], n, 0) + rng.normal(0, 3, (n, rows, columns)).astype(np.int16)
    blood = np.zeros(hu.shape, np.uint8)
    labels = np.zeros((n, 6), np.float32)
    exam = np.repeat(np.arange(exams), 6)
    for i in np.flatnonzero(exam % 2 == 0):
        disk = np.hypot(yy - rows / 2 - rng.integers(-15, 15), xx - columns / 2 - rng.integers(-10, 10)) < 6
        blood[i][disk] = 2
        hu[i][disk] = 65
        labels[i, [0, 2]] = 1
    return Store(name, hu, blood, labels, exam, tuple(f"{name}-{k}" for k in range(exams)), hu_range)


def small_recipe(**changes):
    return Recipe(
        name="small",
        description="for a test",
        preparation=SMALL,
        border=8,
        batch_size=6,
        steps=4,
        warmup_steps=1,
        checkpoint_steps=2,
        model={"pretrained": False},
        **changes,
    )


def sampler_of(recipe, hold_out=()):
    target, extra = small_store(), small_store("other", 1, (0.0, 80.0))
    return Sampler(recipe, (target, set(target.patients) - set(hold_out)), [(extra, set(extra.patients))])


def test_a_batch_is_the_same_for_the_same_step():
    a, b, other = (
        sampler_of(small_recipe()).batch(3),
        sampler_of(small_recipe()).batch(3),
        sampler_of(small_recipe()).batch(4),
    )
    assert torch.equal(a.hu, b.hu) and torch.equal(a.blood, b.blood)
    assert not torch.equal(a.hu, other.hu)
    assert a.hu.shape == (6, 3, 96, 64)


def test_held_out_patients_are_never_drawn():
    sampler = sampler_of(small_recipe(), hold_out=["made-0", "made-1"])
    drawn = np.concatenate([sampler.target.positive, sampler.target.negative, sampler.target.donors])
    assert not np.isin(sampler.target.store.exam[drawn], [0, 1]).any()
    assert np.isin(sampler.target.store.exam[drawn], [2, 3]).any()


def test_move_without_change_only_crops():
    nothing = AugmentationRecipe(rotation_degrees=0, scale=0, stretch=0, shear=0, shift=0)
    store = small_store()
    hu, blood = torch.from_numpy(store.hu[:4, None].repeat(3, 1)).float(), torch.from_numpy(store.blood[:4])
    moved, marks = move(hu, blood, (96, 64), nothing, torch.Generator().manual_seed(0))
    cropped, expected = hu[:, :, 8:-8, 8:-8], blood[:, 8:-8, 8:-8]
    for k in range(4):
        mirrored = not torch.allclose(moved[k], cropped[k], atol=0.01)
        want = cropped[k].flip(2) if mirrored else cropped[k]
        assert torch.allclose(moved[k], want, atol=0.01)
        assert torch.equal(marks[k], expected[k].flip(1) if mirrored else expected[k])


def test_marks_move_with_the_pixels():
    store = small_store()
    hu, blood = torch.from_numpy(store.hu[:6, None].repeat(3, 1)).float(), torch.from_numpy(store.blood[:6])
    moved, marks = move(hu, blood, (96, 64), AugmentationRecipe(), torch.Generator().manual_seed(1))
    inside = moved[:, 1][marks == 2]
    assert len(inside) > 100
    assert (inside > 50).float().mean() > 0.85  # blood lies where the mark says


def test_paste_puts_blood_only_into_brain():
    store = small_store()
    normal = torch.from_numpy(store.hu[6:9, None].repeat(3, 1)).float()
    donor_hu = torch.from_numpy(store.hu[:3, None].repeat(3, 1)).float()
    donor_blood = torch.from_numpy(store.blood[:3, None].repeat(3, 1))
    mixed, marks, done = paste(normal, donor_hu, donor_blood, torch.Generator().manual_seed(0))
    assert done.all()
    assert (mixed[:, 1][marks == 2]).median() > 55
    assert torch.equal(mixed[normal > 500], normal[normal > 500])
    outside = torch.full_like(normal, -1000.0)
    same, marks, done = paste(outside, donor_hu, donor_blood, torch.Generator().manual_seed(0))
    assert not done.any() and not marks.any() and torch.equal(same, outside)


def test_unknown_pixels_and_labels_do_not_count():
    blood = torch.tensor([[[0, 2], [UNKNOWN, ANY_SUBTYPE]]], dtype=torch.uint8)
    labels = torch.tensor([[1.0, 0, 1, float("nan"), 0, 0]])
    targets, weights = map_targets(blood, labels)
    assert targets[0, 0].tolist() == [[0, 1], [0, 1]]
    assert weights[0, 0].tolist() == [[1, 1], [0, 1]]
    assert targets[0, 2].tolist() == [[0, 1], [0, 0]]
    assert weights[0, 2].tolist() == [[1, 1], [0, 0]]
    assert weights[0, 3].sum() == 0
    loss = slice_loss(torch.zeros(1, 6), labels)
    assert loss.item() == pytest.approx(np.log(2))


def test_training_sees_what_detection_sees():
    rng = np.random.default_rng(0)
    hu = rng.normal(40, 60, (5, 12, 10)).astype(np.float32)
    whole = Preparation().stack(hu, 5.0 * np.arange(5))
    near = np.stack([np.maximum(np.arange(5) - 1, 0), np.arange(5), np.minimum(np.arange(5) + 1, 4)], axis=1)
    batch = channels_of(torch.from_numpy(hu[near]), Preparation())
    assert np.allclose(batch.numpy(), whole, atol=1e-6)


def test_a_killed_run_ends_like_one_that_was_not(tmp_path):
    from safetensors.torch import load_file

    recipe = small_recipe()
    whole = load_file(fit(recipe, sampler_of(recipe), tmp_path / "whole", None, lambda *_: None))

    class Killed(Exception):
        pass

    class Dying(Sampler):
        def batch(self, step):
            if step == 3:
                raise Killed
            return super().batch(step)

    dying = sampler_of(recipe)
    dying.__class__ = Dying
    with pytest.raises(Killed):
        fit(recipe, dying, tmp_path / "killed", None, lambda *_: None)
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    resumed = load_file(fit(recipe, sampler_of(recipe), tmp_path / "killed", None, lambda *_: None))
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.allclose(value.float(), resumed[name].float(), atol=1e-5), name


def test_the_recipes_of_the_package_are_valid():
    assert "default" in recipe_names()
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_an_unknown_key_names_the_nearest(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x\ndescription: y\naugmentation:\n  rotation_degree: 3\n")
    with pytest.raises(UsageError, match=r"augmentation\.rotation_degree.*did you mean 'rotation_degrees'"):
        load_recipe(str(path))


def test_a_missing_recipe_names_the_known(tmp_path):
    with pytest.raises(UsageError, match="default"):
        load_recipe(str(tmp_path / "none.yaml"))
