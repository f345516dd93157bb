"""Offline: read sources, probe or transcode, write tar shards and the manifest."""

if __name__ != "vidflow.shards":
    raise ImportError(f"{__name__!r} is the folder's name; import it as 'vidflow.shards'")
