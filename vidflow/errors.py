"""The errors that are the user's to mend, each class with its exit status.

A message says where (file, key, sample id), what (with the value) and what to do. ``ValueError`` stays for
callers' mistakes and ``assert`` for ours.
"""


class VidflowError(Exception):
    """Base of all errors that the command line prints as one line."""

    exit_status = 1

    def __init__(self, message: str = "", *notes: object) -> None:
        super().__init__(message, *notes)
        self._message = message

    def __str__(self) -> str:
        # Not the arguments: webdataset adds notes of its own to those of every error that passes through it.
        return self._message


class ConfigError(VidflowError):
    """A TOML file, an override or an option that does not fit."""

    exit_status = 2


class DataError(VidflowError):
    """A source, an annotation, a shard or a manifest that cannot be used as it is."""

    exit_status = 3


class DecodeError(DataError):
    """One encoded sample that does not decode to what its manifest row promises."""


class AlteredShardError(DataError):
    """A shard that is not the one that was packed."""


class StorageError(VidflowError):
    """A path or an address that cannot be read or written."""

    exit_status = 4


class EndsEarlyError(StorageError):
    """A file that ends before bytes that should be in it."""


class WeightsError(VidflowError):
    """Weights that do not fit the model, or a file that may not be loaded."""

    exit_status = 5


class MissingExtraError(VidflowError):
    """A package of an optional extra is not installed."""

    exit_status = 6


class NonFiniteLossError(VidflowError):
    """Training met a loss that is not a number or infinite."""

    exit_status = 7


class VerificationError(VidflowError):
    """A packed data set that differs from what its dataset.json says."""

    exit_status = 8


class ExportError(VidflowError):
    """A model that cannot be written for other programs, or whose file gives other scores than itself."""

    exit_status = 9
