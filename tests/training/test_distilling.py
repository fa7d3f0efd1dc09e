"""A network learns from a teacher on exams without labels: what it is given, what it learns, what may not reach it."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnx", reason="needs the extra 'train'")

import nibabel  # noqa: E402

from ichor.cli import run  # noqa: E402
from ichor.detecting import Detector, load_bundle  # noqa: E402
from ichor.errors import UsageError  # noqa: E402
from ichor.preparing import prepare  # noqa: E402
from ichor.reading import read  # noqa: E402
from ichor.training.augment import Chance, move  # noqa: E402
from ichor.training.distilling import DistilSampler, TaughtSlices, taught_slices  # noqa: E402
from ichor.training.families.family import LossSettings  # noqa: E402
from ichor.training.fitting import FitData, Start, fit, load_model  # noqa: E402
from ichor.training.hardware import Hardware  # noqa: E402
from ichor.training.losses import slice_loss  # noqa: E402
from ichor.training.plain import PlainSampler  # noqa: E402
from ichor.training.recipe import AugmentationRecipe  # noqa: E402
from ichor.training.run_data import RunData  # noqa: E402
from ichor.training.run_folder import RunFolder  # noqa: E402
from ichor.training.sampling import Batch  # noqa: E402
from ichor.training.teachers import open_teacher  # noqa: E402
from training.made import made_store, recipe_of, sampler_of  # noqa: E402
from training.test_calibrating import DESCRIPTION, SLICES, head_hu, save_graph  # noqa: E402

RECIPE = """
name: taught
description: a small network for a test
n_folds: 2
border: 0
preparation: {rows: 64, columns: 64}
model: {kind: classifier, backbone: cnn-8-16, pretrained: false, pooling: avgmax}
sampling: {kind: plain}
batch_size: 4
epochs: 1
epoch_steps: 2
optimiser: {warmup_steps: 0}
"""
MAPPED = RECIPE.replace(
    "{kind: classifier, backbone: cnn-8-16, pretrained: false, pooling: avgmax}", "{kind: map}"
)
MAPPED = MAPPED.replace("epoch_steps: 2", "epoch_steps: 1").replace(
    "{kind: map}", "{kind: map, pretrained: false}"
)


def save(hu, path):
    affine = np.diag([2.0, 2.0, 6.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu.transpose(2, 1, 0)[::-1, ::-1], affine), path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Eight labelled exams; four studies without labels, one of them a labelled patient's; and a teacher."""
    home = tmp_path_factory.mktemp("taught")
    rng = np.random.default_rng(3)
    with (home / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "slice", "any", "patient"])
        for k in range(8):
            save(head_hu(rng, 8 if k % 2 else 0), home / f"{k}.nii")
            for index in range(SLICES):
                rows.writerow([f"{k}.nii", index, int(bool(k % 2) and index in (2, 3)), f"person-{k}"])
    studies = home / "studies"
    studies.mkdir()
    for k, name in enumerate(("Doe John", "second", "third")):
        save(head_hu(rng, 9 if k else 0), studies / f"{name}.nii")
    shutil.copy(home / "1.nii", studies / "again.nii")
    (studies / "notes.txt").write_text("no image")
    (home / "given").mkdir()
    save_graph(home / "given" / "model.onnx")
    (home / "given" / "model.yaml").write_text(DESCRIPTION)
    assert run(["bundle", "import", str(home / "given"), "-o", str(home / "teacher")]) == 0
    (home / "taught.yaml").write_text(RECIPE)
    (home / "mapped.yaml").write_text(MAPPED)
    return home


def train(home, recipe, output, *more):
    arguments = ["train", str(home / recipe), "--dataset", f"csv:{home / 'labels.csv'}", "-o", str(output)]
    return run([*arguments, "--weights", "none", "--workers", "0", "--accelerator", "cpu", *map(str, more)])


@pytest.fixture(scope="module")
def taught(home):
    """A whole run whose teacher is a bundle of another kind and grid."""
    more = ("--teacher", home / "teacher", "--unlabelled", home / "studies")
    assert train(home, "taught.yaml", home / "run", *more) == 0
    return home / "run"


@pytest.fixture(scope="module")
def mapped(home):
    """The folds of a run of map models."""
    assert train(home, "mapped.yaml", home / "teachers", "--parts", "folds") == 0
    return home / "teachers"


def test_soft_targets_are_what_the_bundle_detects(home, taught, capfd):
    data = RunData(RunFolder.open(taught), home)
    found = taught_slices(data, "all")
    detector = Detector(home / "teacher", device="cpu", engine="onnxruntime")
    store = found.store
    assert len(store.patients) == 4
    for path in (home / "studies").glob("*.nii"):
        number = store.patients.index(hashlib.sha256(path.name.encode()).hexdigest()[:12])
        expected = [one.probabilities.any for one in detector.detect(read(path)).slices]
        np.testing.assert_allclose(store.labels[store.exam == number, 0], expected, atol=1e-4)
    assert np.ptp(store.labels[:, 0]) > 1e-3
    np.testing.assert_array_equal(store.labels[:, 0], store.labels[:, 2])
    assert np.isnan(store.labels[:, [1, 3, 4, 5]]).all()  # labels that the teacher does not know
    assert found.folder is None and not any("Doe" in name for name in store.patients)
    shown = capfd.readouterr().err
    assert "Doe" not in shown


def test_an_exam_of_a_held_out_patient_teaches_nothing_under_another_name(home, taught):
    data = RunData(RunFolder.open(taught), home)
    fold = data.folds["1.nii"]
    drawn = {part: taught_slices(data, part).patients for part in ("fold-0", "fold-1", "all")}
    assert len(drawn["all"]) == len(drawn[f"fold-{1 - fold}"]) == 4 and len(drawn[f"fold-{fold}"]) == 3
    facts = json.loads((taught / "teacher.json").read_text())
    assert facts["parts"][f"fold-{fold}"]["held_out"] == 1 and facts["parts"]["all"]["held_out"] == 0


def test_the_bundle_says_from_what_it_learned(home, taught, capfd):
    manifest = load_bundle(taught / "bundle").manifest
    row = next(one for one in manifest.trained_on if one.name == "studies")
    assert row.exams == 4 and "Without labels, by what the teacher own gave" in row.note
    assert any("its errors may be handed on" in line for line in manifest.limits)
    more = ("--teacher", home / "teacher", "--unlabelled", home / "studies")
    assert train(home, "taught.yaml", taught, *more, "--set", "distil.share=0.5") == 2
    assert "found another recipe than the one asked for" in capfd.readouterr().err


def test_each_fold_has_the_network_of_its_own_fold_for_a_teacher(home, mapped):
    output = home / "students"
    more = ("--teacher", mapped, "--unlabelled", f"csv:{home / 'labels.csv'}", "--parts", "fold-0")
    assert train(home, "mapped.yaml", output, *more) == 0
    data = RunData(RunFolder.open(output), home)
    facts = json.loads((output / "teacher.json").read_text())
    assert facts["parts"]["fold-0"]["sha256"] != open_teacher(data, "fold-1").facts.sha256
    # The labelled set itself, its labels hidden: who is held out is not among those that teach.
    found = taught_slices(data, "fold-0")
    assert found.patients == {p for p, fold in data.folds.items() if fold == 1}
    number = found.store.patients.index("3.nii")
    exam = data.target.load("3.nii").exam
    recipe = data.folder.recipe
    network = load_model(recipe, mapped / "fold-0" / "weights.safetensors")
    maps = recipe.family.predict(network, prepare(exam, recipe.preparation).stack).maps
    index = np.flatnonzero(found.store.exam == number)
    given = found.maps(index)[:, 0].numpy()
    own = 1 / (1 + np.exp(-maps[:, 0]))
    inside = given[:, 8:-8, 8:-8], own[:, 8:-8, 8:-8]
    assert np.abs(inside[0] - inside[1]).mean() < 0.02 and given.shape == own.shape

    assert train(home, "mapped.yaml", home / "other", *more, "--set", "seed=7") == 2


def test_what_would_leak_or_lacks_is_refused(home, taught, capfd):
    def refused(*more):
        output = home / f"refused-{len(list(home.iterdir()))}"  # a folder holds one run
        assert train(home, "taught.yaml", output, *more, "--parts", "fold-0") == 2
        return capfd.readouterr().err

    leaking = home / "leaking"
    shutil.copytree(home / "teacher", leaking)
    content = json.loads((leaking / "bundle.json").read_text())
    content["trained_on"] = [{"name": "CSV", "licence": "own"}]
    (leaking / "bundle.json").write_text(json.dumps(content))
    studies = ("--unlabelled", home / "studies")
    assert "found a bundle that learned from csv, on whose held-out patients" in refused(
        "--teacher", leaking, *studies
    )
    other = refused("--teacher", taught, *studies, "--set", "n_folds=3")
    assert "deals the patients of csv to other folds" in other
    assert "give --teacher BUNDLE, too" in refused(*studies)
    assert "give --unlabelled DATA, too" in refused("--teacher", leaking)
    pictures = ("--teacher", home / "teacher", "--unlabelled", "nothing-of-this-name")
    assert "found no such data set" in refused(*pictures)


def soft_targets_of(folder, label, high=0.97, low=0.03):
    """Slices without labels, of which a teacher knows one label: high where a made set bleeds, low elsewhere."""
    store = made_store("without", 4)
    labels = np.full_like(store.labels, np.nan)
    labels[:, label] = np.where(store.labels[:, 0] == 1, high, low)
    labels[:, 0] = np.where(store.labels[:, 0] == 1, 0.97, 0.03)
    for number in range(len(store.patients)):
        blood = (store.blood[store.exam == number] == 2).astype(np.uint8) * 255
        halved = blood[:, ::2, ::2]
        maps = np.zeros((len(blood), 6, *halved.shape[1:]), np.uint8)
        maps[:, 0] = maps[:, label] = halved
        np.save(folder / f"{number:06}.maps.npy", maps)
    return TaughtSlices(replace(store, labels=labels), set(store.patients), folder)


@pytest.mark.parametrize("kind", ["map", "slices", "exams"])
def test_a_batch_holds_both_and_the_rest_is_as_without_a_teacher(tmp_path, kind):
    recipe = recipe_of(kind, batch_size=8, distil={"share": 0.25})
    taught = soft_targets_of(tmp_path, 2)
    base = sampler_of(recipe)
    sampler = DistilSampler(recipe, base, taught)
    batch = sampler.batch(3, range(8))
    length = batch.length or 1
    assert batch.taught == 2 * length and len(batch.labels) == 8 * length
    assert batch.maps.shape == (batch.taught, 6, 48, 32)
    # In two processes, together the same; the labelled ones are those that the other sampler draws.
    halves = [sampler.batch(3, slots) for slots in (range(4), range(4, 8))]
    assert sum(half.taught for half in halves) == batch.taught
    whole = base.batch(3, range(8))
    drawn = {hu.numpy().tobytes() for hu in whole.hu}
    assert all(hu.numpy().tobytes() in drawn for hu in batch.hu[: -batch.taught])
    assert not any(hu.numpy().tobytes() in drawn for hu in batch.hu[-batch.taught :])


def test_a_teachers_map_moves_with_its_slice():
    rng = np.random.default_rng(0)
    blood = torch.zeros(6, 112, 80, dtype=torch.uint8)
    for k in range(6):
        row, column = rng.integers(40, 70), rng.integers(25, 50)
        blood[k, row : row + 12, column : column + 12] = 2
    maps = torch.zeros(6, 6, 56, 40)
    maps[:, 0] = torch.nn.functional.avg_pool2d((blood > 0).float()[:, None], 2)[:, 0]
    moved = move(
        torch.zeros(6, 3, 112, 80),
        blood,
        (96, 64),
        AugmentationRecipe(),
        Chance([[1, k] for k in range(6)]),
        maps,
    )
    marks = torch.nn.functional.avg_pool2d((moved.blood > 0).float()[:, None], 2)[:, 0]
    assert moved.maps.shape == (6, 6, 48, 32) and marks.sum() > 100
    # One is drawn pixel by pixel, the other smoothly: they differ along edges alone.
    assert np.corrcoef(marks.flatten(), moved.maps[:, 0].flatten())[0, 1] > 0.9
    assert not moved.maps[:, 1:].any()


@pytest.mark.parametrize(("high", "low"), [(0.97, 0.03), (0.03, 0.97)])
def test_a_label_that_only_the_teacher_knows_is_learned(tmp_path, high, low):
    """Whatever it says of it: the other way round, too, which no label and no chance would give."""
    still = dict.fromkeys(AugmentationRecipe.model_fields, 0.0)
    recipe = recipe_of(
        "slices",
        epochs=6,
        epoch_steps=20,
        batch_size=8,
        average_decay=0.0,
        sampling={"kind": "plain"},
        augmentation=still,
        optimiser={"warmup_steps": 1, "learning_rate": 0.01},
        model={"kind": "classifier", "backbone": "cnn-8-16-16", "pretrained": False, "pooling": "max"},
        distil={"share": 0.5, "slice_weight": 1.0},
    )
    store = made_store()
    labels = store.labels.copy()
    labels[:, 2] = np.nan  # known to the teacher alone
    own = PlainSampler(recipe, replace(store, labels=labels), set(store.patients))
    (tmp_path / "maps").mkdir()
    sampler = DistilSampler(recipe, own, soft_targets_of(tmp_path / "maps", 2, high, low))
    hardware = Hardware("cpu", precision="32", workers=0)
    fit(recipe, FitData(sampler), tmp_path / "run", Start(), lambda *_: None, hardware)
    network = load_model(recipe, tmp_path / "run" / "weights.safetensors")
    hu = store.hu[store.neighbours(np.arange(60), 12.0)][..., 8:-8, 8:-8].astype(np.float32)
    stack = np.concatenate([recipe.preparation.stack(hu[k : k + 1, 1], np.zeros(1)) for k in range(60)])
    found = recipe.family.predict(network, stack).slices[:, 2]
    bled = store.labels[:, 0] == 1
    apart = float(found[bled].mean() - found[~bled].mean())
    assert apart * np.sign(high - low) > 1.5


class Answering(torch.nn.Module):
    """Gives the same whatever it is shown."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, stack):
        slices = torch.zeros(len(stack), 6)
        return self.maps, slices, slices


@pytest.mark.parametrize("small", [False, True])
def test_maps_are_learned_from_the_teachers_where_it_knows_a_label(small):
    recipe = recipe_of("map", distil={"share": 0.5}, small_scale=1.0)
    soft = torch.rand(2, 6, 48, 32, generator=torch.Generator().manual_seed(0)) * 0.3
    labels = torch.zeros(4, 6)
    labels[2:, 5] = torch.nan
    hu, blood = torch.zeros(4, 3, 96, 64), torch.zeros(4, 96, 64, dtype=torch.uint8)
    batch = Batch(hu, blood, labels, taught=2, maps=soft)
    settings = LossSettings(recipe, slice_loss, slice_loss, lambda given: given, small)

    def loss(shift, label):
        maps = torch.full((4, 6, 48, 32), -6.0)
        maps[2:] = torch.logit(soft.clamp(1e-3))
        maps[2:, label] += shift
        return float(recipe.family.losses(Answering(maps), batch, settings).loss)

    assert loss(0, 0) < min(loss(-3, 0), loss(3, 0))
    assert loss(0, 5) == loss(3, 5)


def test_slices_without_labels_have_no_cached_features():
    with pytest.raises(ValueError, match="no cached_features"):
        frozen = {"kind": "classifier", "pretrained": False, "backbone": "cnn-8-16-16", "frozen": [""]}
        recipe_of("slices", model=frozen, cached_features={"views": 1}, distil={})


def test_a_set_of_pictures_is_no_set_of_exams(home):
    from PIL import Image

    for name in ("normal", "hemorrhage"):
        (home / "pictures" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(home / "pictures" / name / "a.png")
    from ichor.datasets.unlabelled import open_unlabelled

    with pytest.raises(UsageError, match="found pictures; expected exams"):
        open_unlabelled(f"folder:{home / 'pictures'}", home)
