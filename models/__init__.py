"""The model library: layers, backbones, heads, task models and their variants."""

if __name__ != "vidflow.models":
    raise ImportError(f"{__name__!r} is the folder's name; import it as 'vidflow.models'")

# Each family enters its variants into MODELS when it is imported.
from vidflow.models import tsm, tsn
from vidflow.models.registry import MODELS, build_model

__all__ = ["MODELS", "build_model", "tsm", "tsn"]
