"""Slice classifiers: a backbone's features, and a head over one slice or over all of an exam in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichor.detecting.scoring import Prediction
from ichor.models import ClassifierSpec
from ichor.models.classifier import SliceClassifier, channel_weights
from ichor.preparing import Preparation
from ichor.training.families.family import (
    FeatureSource,
    Graph,
    LossSettings,
    ModelFamily,
    StepLoss,
    TrainingSlices,
    device_of,
    in_batches,
)
from ichor.training.plain import PlainSampler
from ichor.training.sampling import Batch, Sampler

if TYPE_CHECKING:
    from ichor.training.features import FrozenFeatures
    from ichor.training.recipe import Recipe

__all__ = ["ClassifierFamily"]


class _FeatureGraph(nn.Module):
    def __init__(self, network: SliceClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, stack: Tensor) -> Tensor:
        return self.network.features(stack)


class _HeadGraph(nn.Module):
    def __init__(self, network: SliceClassifier) -> None:
        super().__init__()
        self.head = network.head

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits


class _FeatureGraphWithMaps(_FeatureGraph):
    """Gives the maps that are pooled as well: what Grad-CAM weighs."""

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        maps = self.network.maps(stack)
        return self.network.pooled(maps), maps


class _HeadGraphWithWeights(_HeadGraph):
    """Gives the weights that Grad-CAM has for the maps as well."""

    def __init__(self, network: SliceClassifier) -> None:
        super().__init__(network)
        self.map_shape, self.pooling = network.map_shape, network.spec.pooling

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        found = self.head.with_gradient(features)
        if found is None:
            raise TypeError(
                f"{type(self.head).__name__}: found no gradient; expected a head over single slices"
            )
        logits, gradient = found
        return logits, channel_weights(gradient, self.map_shape, self.pooling)


class ClassifierFamily(ModelFamily):
    """See :class:`ichor.models.classifier.SliceClassifier`."""

    spec = ClassifierSpec
    abilities = frozenset({"cached_features"})
    pretrained_parts = ("backbone.",)

    def check(self, recipe: Recipe) -> None:
        """Refuse features that are cached while the backbone learns."""
        super().check(recipe)
        if recipe.cached_features and not recipe.model.all_frozen:
            raise ValueError("cached_features needs a classifier whose backbone is frozen ([''])")

    def losses(self, network: nn.Module, batch: Batch, settings: LossSettings) -> StepLoss:
        """Give the loss of the slices, or of whole exams where the head takes them in order."""
        classifier: Any = network
        features = batch.features
        if features is None:
            features = classifier.features(settings.stack(batch.hu))
        length = batch.length or len(features)
        logits: Tensor = classifier.head.padded(features.view(-1, length, features.shape[1])).flatten(0, 1)
        return StepLoss(settings.of_slices(logits.float(), batch), logits)

    def predict(self, network: nn.Module, stack: NDArray[np.float32]) -> Prediction:
        """Predict all slices of an exam, in order."""
        classifier = cast("SliceClassifier", network)
        with torch.inference_mode():
            features = [classifier.features(batch) for batch in in_batches(stack, device_of(network))]
            logits: Tensor = classifier.head(torch.cat(features))
        return Prediction(None, logits.cpu().numpy())

    def sampler(self, recipe: Recipe, slices: TrainingSlices) -> Sampler:
        """Draw slices or exams of the target, or their cached features."""
        views = None if slices.features is None else slices.features.views
        return PlainSampler(recipe, slices.target, slices.patients, views)

    def cached_features(self, recipe: Recipe, source: FeatureSource) -> FrozenFeatures | None:
        """Compute the features of a frozen backbone once, where the recipe asks for it."""
        if recipe.cached_features is None:
            return None
        from ichor.training.features import cache_features

        return cache_features(recipe, source)

    def graphs(self, network: nn.Module, preparation: Preparation) -> list[Graph]:
        """Return two graphs: features slice by slice, and the head over all of an exam.

        Where the head takes each slice by itself they give what Grad-CAM is made of, too. A recurrent head has no
        such map: its logit of a slice depends on the maps of all others.
        """
        classifier = cast("SliceClassifier", network)
        stack = torch.zeros(2, len(preparation.channels), preparation.rows, preparation.columns)
        features = torch.zeros(2, classifier.num_features)
        if classifier.head.sequential:
            return [
                Graph("features", ("stack",), ("features",), _FeatureGraph(classifier), stack),
                Graph("head", ("features",), ("slice",), _HeadGraph(classifier), features),
            ]
        maps, weights = _FeatureGraphWithMaps(classifier), _HeadGraphWithWeights(classifier)
        return [
            Graph("features", ("stack",), ("features", "activations"), maps, stack),
            Graph("head", ("features",), ("slice", "channel_weights"), weights, features),
        ]
