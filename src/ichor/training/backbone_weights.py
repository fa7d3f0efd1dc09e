"""Whether the ImageNet weights that a recipe starts from can be had: known before any data is prepared."""

from __future__ import annotations

import functools
import urllib.error
import urllib.request

from ichor.errors import UsageError
from ichor.models import ModelSpec

__all__ = ["check_backbone_weights"]

_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm asks its hub for, in this order."""
_PATIENCE_S = 10.0


def check_backbone_weights(spec: ModelSpec) -> None:
    """See that timm's weights of a backbone lie in the cache, or that its hub answers; one question, not retried.

    Parameters
    ----------
    spec
        Of a network whose weights are to come from the hub.

    Raises
    ------
    UsageError
        Where the weights are not there and the hub cannot be reached.
    """
    if spec.pretrained:
        _check(spec.backbone)


@functools.cache
def _check(backbone: str) -> None:
    import timm
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

    if not timm.is_model(backbone):
        return  # a plain network, or a name that building it refuses
    settings = timm.get_pretrained_cfg(backbone)
    if settings is None or not settings.hf_hub_id:
        return
    names = [settings.hf_hub_filename] if settings.hf_hub_filename else list(_FILES)
    if any(isinstance(try_to_load_from_cache(settings.hf_hub_id, name), str) for name in names):
        return
    if constants.HF_HUB_OFFLINE:
        raise _not_there(backbone, settings.hf_hub_id, "the environment sets HF_HUB_OFFLINE")
    request = urllib.request.Request(
        hf_hub_url(settings.hf_hub_id, names[0], endpoint=constants.ENDPOINT), method="HEAD"
    )
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S):
            return
    except urllib.error.HTTPError:
        return  # it answers; what it says of the file, timm tells
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        why = getattr(reason, "strerror", None) or type(reason).__name__
        raise _not_there(backbone, settings.hf_hub_id, why) from None


def _not_there(backbone: str, repository: str, why: str) -> UsageError:
    return UsageError(
        f"backbone {backbone}: found neither its ImageNet weights ({repository}) in timm's cache nor its hub "
        f"({why}); expected one; give them as a file with --weights FILE.safetensors, train from random ones with "
        "--weights none, or begin once with a network (docs/how-to/train.md)"
    )
