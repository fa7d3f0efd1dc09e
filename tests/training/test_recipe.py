"""A recipe is read strictly, and says what is wrong with it."""

import pytest

pytest.importorskip("yaml", reason="needs the extra 'train'")

from ichor.errors import UsageError
from ichor.training.recipe import load_recipe, load_store_grid, recipe_names
from ichor.training.recipe_files import recipe_descriptions

PAPERS = ("sujini-vgg16", "raman-cnn-lstm", "ko-xception-lstm", "kumar-densenet201", "balaji-resnet50")


@pytest.mark.parametrize("dataset", [None, "ct-ich", "head-ct-hemorrhage", "rsna-slices"])
def test_the_recipes_of_the_package_are_valid(dataset):
    assert {"default", *PAPERS} <= set(recipe_names())
    said = recipe_descriptions()
    for name in recipe_names():
        assert said[name] == " ".join(load_recipe(name).description.split()) != ""
        recipe = load_recipe(name, dataset)
        assert recipe.name == name and recipe.target == (dataset or recipe.target)
        assert recipe.target not in (*recipe.extra, *recipe.folded, *recipe.pictures)
        assert name == "open" or name.startswith("default") or recipe.claim is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "augmentation:\n  rotation_degree: 3",
            r"augmentation\.rotation_degree.*did you mean 'rotation_degrees'",
        ),
        ("epoch: 3", r"'epoch'; did you mean 'epochs'"),
        (
            "model: {kind: classifier, backbone: resnet18, head: {unit: [3]}}",
            r"head\.unit'; did you mean 'units'",
        ),
        ("sampling: {kind: plain, balanced: none}", r"balanced'; did you mean 'balance'"),
        ("model: {kind: unet}", "found the kind 'unet'; expected one of map, classifier"),
        ("epochs: none", "epochs: .*found 'none'"),
        ("cached_features: {views: 2}", "needs a classifier whose backbone is frozen"),
        ("model: {kind: classifier, backbone: x}\nsampling: {kind: mixed}", "'mixed' is for the map model"),
    ],
)
def test_a_wrong_key_or_value_is_told(tmp_path, text, says):
    path = tmp_path / "r.yaml"
    path.write_text(f"name: x\ndescription: y\n{text}\n")
    with pytest.raises(UsageError, match=says):
        load_recipe(str(path))


@pytest.mark.parametrize("text", ["- a", "", "a: [", "just words"])
def test_a_file_that_is_no_recipe(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"r\.yaml"):
        load_recipe(str(path))


def test_a_missing_recipe_names_the_nearest_and_the_known(tmp_path):
    with pytest.raises(
        UsageError, match=r"did you mean 'ko-xception-lstm'.*expected a YAML file or one of .*default"
    ):
        load_recipe("ko-xception-lsmt")


def test_settings_go_before_the_data_set_before_the_recipe(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: x\ndescription: y\nepochs: 3\nmodel: {kind: classifier, backbone: resnet18, dropout: 0.1}\n"
        "for_dataset: {other: {epochs: 5, model: {dropout: 0.2}}}\n"
    )
    plain, other = load_recipe(str(path)), load_recipe(str(path), "other")
    assert (plain.epochs, plain.model.dropout, plain.target) == (3, 0.1, "ct-ich")
    assert (other.epochs, other.model.dropout, other.target) == (5, 0.2, "other")
    assert other.model.backbone == "resnet18"
    changed = load_recipe(
        str(path), "other", ["epochs=7", "model.head.kind=gru", "model.head.units=[32, 32]"]
    )
    assert (changed.epochs, changed.model.head.kind, changed.model.head.units) == (7, "gru", (32, 32))
    with pytest.raises(UsageError, match="expected key=value"):
        load_recipe(str(path), None, ["epochs"])


@pytest.mark.parametrize("name", recipe_names())
def test_the_grid_of_prepared_slices_is_known_without_the_model(name):
    recipe = load_recipe(name)
    assert {load_store_grid(name, own) for own in (recipe.target, *recipe.extra)} == {recipe.store_grid}
    other = load_recipe(name, "csv:own.csv")
    assert load_store_grid(name, "csv:own.csv") == other.store_grid
