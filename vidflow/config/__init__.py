"""TOML configs: pydantic models (one file per section), loading, inheritance and overrides."""
