"""What a run tells about its decoders: how they were chosen, and what the GPU has left to the CPU."""

from collections import Counter
from collections.abc import Callable

from accelerate import Accelerator

from vidflow.engine.journal import Journal
from vidflow.engine.processes import from_all
from vidflow.pipelines.loader import Loader
from vidflow.pipelines.turns import TurnLoader

# Reasons named on the line for people; the log has all.
_NUM_SHOWN = 4


class DecoderAccount:
    """One run's account. All methods are called by every process at the same moment.

    Args:
        tell: prints a line for people, on the first process.
    """

    def __init__(self, accelerator: Accelerator, *, tell: Callable[[str], None]) -> None:
        self._accelerator, self._tell = accelerator, tell

    def chosen(self, use: str, loader: Loader | TurnLoader, journal: Journal | None, *, step: int) -> None:
        """Tell what was measured where ``decode`` is "auto"; processes may have chosen differently.

        Args:
            use: of the loader, such as "training".
            journal: None where nothing is written down.
        """
        notes = from_all(self._accelerator, loader.decode_note)
        for note in dict.fromkeys(filter(None, notes)):
            ranks = [rank for rank, other in enumerate(notes) if other == note]
            if journal is not None:
                journal.write("decode", step, {"use": use, "ranks": ranks, "reason": note})
        if first := next(filter(None, notes), ""):
            self._tell(f"{use}: {first}")

    def end_epoch(
        self, use: str, loader: Loader | TurnLoader, journal: Journal | None, *, epoch: int, step: int
    ) -> None:
        """Tell which samples the GPU was meant to decode and the CPU has decoded, since the last call.

        Args:
            epoch: counted from 1.
        """
        counts: Counter[str] = sum(from_all(self._accelerator, loader.take_decoded_on_cpu()), Counter())
        if not counts:
            return
        reasons = dict(counts.most_common())
        if journal is not None:
            journal.write("decoded_on_cpu", step, {"use": use, "epoch": epoch, "counts": reasons})
        shown = ", ".join(f"{count} {reason}" for reason, count in list(reasons.items())[:_NUM_SHOWN])
        more = f", and {len(reasons) - _NUM_SHOWN} more reasons" if len(reasons) > _NUM_SHOWN else ""
        when = f"epoch {epoch}, {use}" if journal is not None else use
        self._tell(f"{when}: {counts.total()} samples were decoded on the CPU: {shown}{more}")
