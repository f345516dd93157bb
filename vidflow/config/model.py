"""[model]: which network."""

from pydantic import Field, model_validator

from vidflow.schema import Frozen


class ModelConfig(Frozen):
    """A model by name, and what its constructor is given."""

    name: str = Field(min_length=1)
    """Short name of a variant, or an import path "package.module:Name"."""
    num_classes: int | None = Field(default=None, gt=0)
    """None takes the data set's number of classes."""
    load_from: str | None = None
    """Weights to start from; a head of another class count starts fresh."""
    head_rows: str | None = None
    """JSON list: for each class in order, the row of ``load_from``'s classifier that it starts from; None takes a
    classifier of equal shape as it is, and draws another one anew."""
    options: dict[str, object] = {}
    """Further arguments of the model's constructor."""

    @model_validator(mode="after")
    def _rows_are_of_something(self) -> "ModelConfig":
        if self.head_rows is not None and self.load_from is None:
            raise ValueError("head_rows chooses rows of load_from's classifier; give load_from too")
        return self
