"""Read every file of a folder, watched by the interpreter; print what happened as JSON.

    python read_all.py FOLDER

Runs in a process of its own. An audit hook notes every call, import and run code that the reading
causes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mien_engines.errors import MienError
from mien_export.checkpoints import read_state_dict, read_stylegan2

HARMFUL = ("os.system", "subprocess.Popen", "exec", "compile", "pickle.find_class", "marshal.loads")
HARMFUL_FAMILIES = ("socket.", "ctypes.", "shutil.", "os.", "import")


def main() -> None:
    folder = Path(sys.argv[1])
    files = sorted(folder.iterdir())
    watching, events = False, []

    def note(event: str, args: tuple[object, ...]) -> None:
        if watching and (event in HARMFUL or event.startswith(HARMFUL_FAMILIES)):
            events.append(f"{event} {args[:1]!r}"[:200])

    for reader in (read_stylegan2, read_state_dict):  # what is imported late, before the watch
        for path in files[:5]:
            try:
                reader(path)
            except MienError:
                pass
    sys.addaudithook(note)
    before, pace = peak_kib(), seconds_of_a_million()
    results = []
    for path in files:
        for reader in (read_stylegan2, read_state_dict):
            began = time.process_time()
            watching = True
            try:
                reader(path)
                outcome = "read"
            except MienError as error:
                outcome = type(error).__name__
            finally:
                watching = False
            results.append((path.name, outcome, time.process_time() - began))
    grown = peak_kib() - before
    pace = max(pace, seconds_of_a_million())
    print(json.dumps({"results": results, "events": events, "grown_kib": grown, "pace": pace}))


def peak_kib() -> int:
    """The most memory of this program; getrusage's begins at that of the one that started it."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def seconds_of_a_million() -> float:
    """Seconds of the processor that a million steps of Python take: how slow the machine is now."""
    began = time.process_time()
    for _ in range(1_000_000):
        pass
    return time.process_time() - began


if __name__ == "__main__":
    main()
