"""What a batch is: the same for the same step, whoever draws it; never of a held-out patient; balanced as asked."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from ichor.datasets.labelled import UNKNOWN  # noqa: E402
from ichor.training.augment import Chance, move, paste, shade  # noqa: E402
from ichor.training.plain import PlainSampler, label_weights  # noqa: E402
from ichor.training.recipe import AugmentationRecipe  # noqa: E402
from training.made import made_store, recipe_of, sampler_of  # noqa: E402

KINDS = ("map", "slices", "exams")


def chance(n, seed=0):
    return Chance([[seed, k] for k in range(n)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_the_same_for_the_same_step(kind):
    recipe = recipe_of(kind)
    a, b = (sampler_of(recipe).batch(3, range(4)) for _ in range(2))
    other = sampler_of(recipe).batch(4, range(4))
    assert torch.equal(a.hu, b.hu) and torch.equal(a.blood, b.blood)
    assert not torch.equal(a.hu, other.hu)
    assert a.hu.shape[1:] == (3, 96, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_share_a_batch_see_together_what_one_would(kind):
    recipe = recipe_of(kind)
    whole = sampler_of(recipe).batch(5, range(4))
    parts = [sampler_of(recipe).batch(5, slots) for slots in (range(2), range(2, 4))]
    assert torch.equal(whole.hu, torch.cat([p.hu for p in parts]))
    assert torch.equal(whole.labels.nan_to_num(9), torch.cat([p.labels for p in parts]).nan_to_num(9))


def test_another_seed_gives_another_batch():
    a, b = (sampler_of(recipe_of("slices", seed=s)).batch(0, range(4)) for s in (1, 2))
    assert not torch.equal(a.hu, b.hu)


def test_held_out_patients_are_never_drawn():
    sampler = sampler_of(recipe_of("map"), hold_out=["made-0", "made-1"])
    drawn = np.concatenate([sampler.target.positive, sampler.target.negative, sampler.target.donors])
    assert not np.isin(sampler.target.store.exam[drawn], [0, 1]).any()
    assert np.isin(sampler.target.store.exam[drawn], [2, 3]).any()
    plain = sampler_of(recipe_of("exams"), hold_out=["made-0", "made-1"])
    assert set(plain.store.exam[plain.slices]) == set(range(2, 10))


def test_an_epoch_as_it_comes_holds_every_slice_once():
    recipe = recipe_of("slices", sampling={"kind": "plain"}, batch_size=6, epoch_steps=None)
    sampler = PlainSampler(recipe, made_store(), set(made_store().patients))
    assert sampler.epoch_steps == 10
    rng = np.random.default_rng(0)
    for epoch in range(2):
        drawn = [sampler._draw(10 * epoch + i, slot, rng) for i in range(10) for slot in range(6)]
        assert sorted(drawn) == list(range(60))


def test_oversampling_draws_each_class_as_often():
    store = made_store()
    store.labels[:] = 0
    store.labels[:3, [0, 1]] = 1  # a rare subtype
    store.labels[12:30, [0, 4]] = 1
    sampler = PlainSampler(recipe_of("slices"), store, set(store.patients))
    labels = torch.cat([sampler.batch(step, range(4)).labels for step in range(150)])
    epidural, subarachnoid, none = (
        labels[:, 1].mean(),
        labels[:, 4].mean(),
        (labels[:, 0] == 0).float().mean(),
    )
    assert [float(v) for v in (epidural, subarachnoid, none)] == pytest.approx([1 / 3] * 3, abs=0.06)


def test_weights_of_rare_labels():
    labels = np.zeros((100, 6), np.float32)
    labels[:20, 0] = 1
    labels[:2, 1] = 1
    labels[:50, 2] = np.nan
    labels[50:60, 2] = 1
    assert label_weights(labels) == pytest.approx([4, 10, 4, 1, 1, 1])


def test_a_sequence_is_an_exam_in_order_padded_with_the_unknown():
    recipe = recipe_of("exams", sampling={"kind": "plain", "length": 9})
    store = made_store()
    sampler = PlainSampler(recipe, store, set(store.patients))
    batch = sampler.batch(0, range(2))
    assert batch.length == 6 and batch.hu.shape[0] == 12  # no exam is longer than 6
    index, label = sampler._cut_or_pad(np.arange(4), store.labels[:4], np.random.default_rng(0))
    assert index.tolist() == [0, 1, 2, 3, -1, -1]
    assert np.isnan(label[4:]).all() and not np.isnan(label[:4]).any()


def test_move_without_change_only_crops():
    nothing = AugmentationRecipe(rotation_degrees=0, scale=0, stretch=0, shear=0, shift=0, flip=0)
    store = made_store()
    hu, blood = torch.from_numpy(store.hu[:4, None].repeat(3, 1)).float(), torch.from_numpy(store.blood[:4])
    moved, marks, _ = move(hu, blood, (96, 64), nothing, chance(4))
    assert torch.allclose(moved, hu[:, :, 8:-8, 8:-8], atol=0.01)
    assert torch.equal(marks, blood[:, 8:-8, 8:-8])
    flipped = nothing.model_copy(update={"flip": 1.0, "flip_vertical": 1.0})
    moved, marks, _ = move(hu, blood, (96, 64), flipped, chance(4))
    assert torch.allclose(moved, hu[:, :, 8:-8, 8:-8].flip(2, 3), atol=0.01)
    assert torch.equal(marks, blood[:, 8:-8, 8:-8].flip(1, 2))


def test_a_small_field_of_view_ends_at_one_edge_and_spares_the_bleed():
    still = {"rotation_degrees": 0, "scale": 0, "stretch": 0, "shear": 0, "shift": 0, "flip": 0}
    hu = torch.full((64, 3, 112, 80), 30.0)
    blood = torch.zeros(64, 112, 80, dtype=torch.uint8)
    blood[32:, 8:16, 8:72] = 2  # at the upper edge of what is left after the border
    moved, marks, _ = move(hu, blood, (96, 64), AugmentationRecipe(crop=1.0, **still), chance(64))
    cut = moved[:, 0] < -900
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert (((moved[:, 0] - 30).abs() < 0.01) | cut).all()
    share = cut.float().mean(dim=(1, 2))
    assert (share[:32] > 0).float().mean() > 0.8 and share.max() < 0.21
    assert torch.equal(cut, cut.all(dim=1, keepdim=True) | cut.all(dim=2, keepdim=True))  # a straight strip
    kept = (marks[32:] > 0).sum(dim=(1, 2)) / (blood[32:, 8:-8, 8:-8] > 0).sum(dim=(1, 2))
    assert kept.min() >= 0.7 and not (marks[cut] > 0).any()


def test_marks_move_with_the_pixels():
    store = made_store()
    hu, blood = torch.from_numpy(store.hu[:6, None].repeat(3, 1)).float(), torch.from_numpy(store.blood[:6])
    moved, marks, _ = move(hu, blood, (96, 64), AugmentationRecipe(), chance(6))
    inside = moved[:, 1][marks == 2]
    assert len(inside) > 100
    assert (inside > 50).float().mean() > 0.85  # blood lies where the mark says


def test_the_slices_of_an_exam_move_together():
    batch = sampler_of(recipe_of("exams", augmentation={"noise_hu": 0, "lone": 0})).batch(0, range(1))
    skull = batch.hu[:, 1] > 300
    assert all(torch.equal(skull[0], other) for other in skull[1:])


def test_paste_puts_blood_only_into_brain():
    store = made_store()
    normal = torch.from_numpy(store.hu[6:9, None].repeat(3, 1)).float()
    donor_hu = torch.from_numpy(store.hu[:3, None].repeat(3, 1)).float()
    donor_blood = torch.from_numpy(store.blood[:3, None].repeat(3, 1))
    mixed, marks, done = paste(normal, donor_hu, donor_blood, chance(3))
    assert done.all()
    assert (mixed[:, 1][marks == 2]).median() > 55
    assert torch.equal(mixed[normal > 500], normal[normal > 500])
    outside = torch.full_like(normal, -1000.0)
    same, marks, done = paste(outside, donor_hu, donor_blood, chance(3))
    assert not done.any() and not marks.any() and torch.equal(same, outside)


def test_doubtful_blood_is_no_donor():
    store = made_store()
    store.blood[store.blood > 0] = UNKNOWN
    sampler = sampler_of(recipe_of("map"))
    assert len(sampler.target.donors)
    from ichor.training.sampling import MixedSampler

    assert not len(MixedSampler(recipe_of("map"), (store, set(store.patients)), []).target.donors)


def test_slices_of_other_sets_are_drawn_by_their_weights_and_only_what_they_hold():
    from ichor.training.sampling import MixedSampler

    target, one, other = made_store(), made_store("one", 1, (0.0, 80.0)), made_store("other", 2)
    other.labels[:] = 0  # a set without any bleed
    other.blood[:] = 0
    recipe = recipe_of(
        "map", extra=["one", "other"], sampling={"kind": "mixed", "weights": {"one": 1, "other": 3}}
    )
    pairs = [(store, set(store.patients)) for store in (one, other)]
    sampler = MixedSampler(recipe, (target, set(target.patients)), pairs)
    rng = np.random.default_rng(0)
    drawn = [sampler._one_of_extra("extra_negative", rng).store.name for _ in range(400)]
    assert drawn.count("other") / 400 == pytest.approx(0.75, abs=0.08)
    assert {sampler._one_of_extra("extra_positive", rng).store.name for _ in range(20)} == {"one"}
    sampler.batch(0, range(4))
    with pytest.raises(ValueError, match="found nothere; expected names that extra has"):
        recipe_of("map", sampling={"kind": "mixed", "weights": {"nothere": 1}})


PLAIN = {"hu_gain": 0, "hu_offset": 0, "noise_hu": 0, "blur": 0, "clip": 0, "lone": 0}


def test_a_source_in_a_window_stays_in_it_and_its_air_is_its_lower_end():
    hu = torch.linspace(-200, 300, 96 * 64).reshape(1, 1, 96, 64).repeat(2, 3, 1, 1)
    limits = torch.tensor([[-1024.0, 3071.0], [15.0, 55.0]])
    shaded = shade(hu, limits, AugmentationRecipe(**PLAIN | {"noise_hu": 5}), chance(2))
    assert shaded[0].min() < -190 and shaded[0].max() > 290
    assert shaded[1].min() == 15 and shaded[1].max() == 55


def test_a_slice_shown_as_a_picture_is_in_a_window_that_may_be_another_and_be_taken_wrongly():
    hu = torch.linspace(-1000, 1000, 96 * 64).reshape(1, 1, 96, 64).repeat(400, 3, 1, 1)
    limits = torch.tensor([[-1024.0, 3071.0]]).repeat(400, 1)

    def ends(**changes):
        shaded = shade(hu, limits, AugmentationRecipe(**PLAIN | {"clip": 1} | changes), chance(400))
        return shaded.amin(dim=(1, 2, 3)), shaded.amax(dim=(1, 2, 3))

    low, high = ends()
    assert (low == 0).all() and (high == 80).all()
    low, high = ends(other_window=0.5)
    other = (low != 0) | (high != 80)
    assert 0.4 < other.float().mean() < 0.6
    width = (high - low)[other]
    assert width.min() >= 60 and width.max() <= 300
    low, high = ends(window_error=0.1, window_error_hu=6.0)
    assert torch.log((high - low) / 80).std() == pytest.approx(0.09, abs=0.02)
    assert ((high + low) / 2).std() == pytest.approx(5.3, abs=1)
