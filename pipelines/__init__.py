"""Online: epoch planning, plans, executors, batches."""

if __name__ != "vidflow.pipelines":
    raise ImportError(f"{__name__!r} is the folder's name; import it as 'vidflow.pipelines'")
