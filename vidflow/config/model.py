"""[model]: which network."""

from pydantic import Field

from vidflow.schema import Frozen


class ModelConfig(Frozen):
    """A model by name, and what its constructor is given."""

    name: str = Field(min_length=1)
    """Short name of a variant, or an import path "package.module:Name"."""
    num_classes: int | None = Field(default=None, gt=0)
    """None takes the data set's number of classes."""
    load_from: str | None = None
    """Weights to start from; a head of another class count starts fresh."""
    options: dict[str, object] = {}
    """Further arguments of the model's constructor."""
