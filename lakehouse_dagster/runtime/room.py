"""Start a program once there is room on the disk.

A program by itself, of the standard library alone, so that it is quick::

    python -I -S room.py FOLDER MEBIBYTES COMMAND ...

An engine that a full disk stopped is started again by the supervisor at once, and what it does then can be
worse than the stop: Kafka 4.3 takes log segments that it cannot recover for lack of space for damaged ones,
and truncates them.
"""

import os
import shutil
import sys
import time

PAUSE_SECONDS = 1.0
TELL_SECONDS = 30


def free_mebibytes(folder: str) -> int:
    """What an ordinary user may still write below ``folder``."""
    return shutil.disk_usage(folder).free >> 20


def wait_for_room(folder: str, mebibytes: int) -> None:
    """Return when ``mebibytes`` are free; says every 30 s what it waits for."""
    looks = 0
    while (free := free_mebibytes(folder)) < mebibytes:
        if looks % TELL_SECONDS == 0:
            line = f"not started: {free} MiB are free in {folder}, {mebibytes} are needed; free some space\n"
            sys.stdout.write(line)
            sys.stdout.flush()
        looks += 1
        time.sleep(PAUSE_SECONDS)


def main(arguments: list[str]) -> None:
    """Wait, then become the command: process id, signals and output stay the same."""
    folder, mebibytes, *command = arguments
    wait_for_room(folder, int(mebibytes))
    os.execv(command[0], command)  # noqa: S606 - the command is the supervisor's own


if __name__ == "__main__":
    main(sys.argv[1:])
