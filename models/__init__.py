"""The model library: layers, backbones, heads, task models and their variants."""

if __name__ != "vidflow.models":
    raise ImportError(f"{__name__!r} is the folder's name; import it as 'vidflow.models'")
