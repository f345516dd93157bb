"""Training and test entry points, and the configs."""

if __name__ != "vidflow.experiments":
    raise ImportError(f"{__name__!r} is the folder's name; import it as 'vidflow.experiments'")
