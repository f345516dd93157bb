"""A process that decodes for another one, which starts it: see ``decode_processes``.

It ends when the socket between them is closed at the other end, so also when the other process is killed.
"""

import pickle
import traceback
from multiprocessing.connection import Connection

from vidflow.errors import VidflowError
from vidflow.pipelines.decode_messages import READY, Job, PixelRoom, put_sources, take_item
from vidflow.pipelines.heap import keep_freed_memory
from vidflow.pipelines.host_resample import use_one_thread
from vidflow.pipelines.shared_bytes import SharedBytes
from vidflow.pipelines.work import prepare_on_host


def main(arguments: list[str]) -> None:
    """Serve until the socket is closed.

    Args:
        arguments: descriptors, of the socket for small messages, and of two ``SharedBytes``, for encoded bytes and for
            pixels.
    """
    connection = Connection(int(arguments[0]))
    encoded, pixels = (SharedBytes(int(fd)) for fd in arguments[1:])
    use_one_thread()
    keep_freed_memory()
    try:
        connection.send_bytes(READY)
        while True:
            job: Job = pickle.loads(connection.recv_bytes())
            room = PixelRoom(pixels)
            try:
                sources = prepare_on_host(take_item(job, encoded), resample=job.resample, allocate=room.allocate)
                answer = pickle.dumps(put_sources(sources, room))
            except Exception as error:  # noqa: BLE001 -- handed over and raised where the sample was asked for
                if not isinstance(error, VidflowError):
                    error.add_note("In a process for decoding:\n" + "".join(traceback.format_exception(error)))
                answer = pickle.dumps(error)
            connection.send_bytes(answer)
    except (EOFError, ConnectionError):
        return
