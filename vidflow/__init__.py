"""vidflow: video understanding, data pipeline first."""

from vidflow.version import __version__

__all__ = ["__version__"]
