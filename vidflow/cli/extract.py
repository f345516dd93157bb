"""``vidflow extract``: the group of tools that make other files of videos."""

import typer

from vidflow.cli.lazy_group import lazy_group

# Subcommand -> function in vidflow.cli.<module>.
COMMANDS: dict[str, str] = {
    "frames": "extract_frames:frames",
    "flow": "extract_flow:flow",
    "pose": "extract_pose:pose",
    "audio": "extract_audio:audio",
    "mel": "extract_mel:mel",
}

app = typer.Typer(
    name="extract",
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    add_completion=False,
    help="Make frames, optical flow, skeletons, sound or mel features of a folder of videos.",
)


@app.callback()
def _root() -> None:
    pass
