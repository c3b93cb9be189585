"""Tasks in processes of this machine, each with a Studio of its own."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from mien.scale.plan import Plan, Result, Task, killed
from mien.scale.worker import Worker

_worker: Worker | None = None  # of this process


def in_processes(plan: Plan, tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Yield results as they come; with one worker in this process.

    Where a process is killed, those tasks that were under way are done again, one at a time: the
    one that kills its process again is to blame, and failed.
    """
    if workers == 1:
        worker = Worker(plan)
        try:
            yield from map(worker, tasks)
        finally:
            worker.close()
        return
    fresh, suspects = deque(tasks), deque[Task]()
    while fresh or suspects:
        queue, width = (suspects, 1) if suspects else (fresh, workers)
        running: dict[Future[Result], Task] = {}
        try:
            # A fork would copy locks and threads of the engines; a spawned process has none.
            with ProcessPoolExecutor(
                width, multiprocessing.get_context("spawn"), _begin, (plan,)
            ) as pool:
                yield from _done(pool, queue, running, width)
        except BrokenProcessPool:
            if width == 1:
                yield from (killed(task, 2) for task in running.values())
            else:
                suspects.extend(running.values())


def _done(
    pool: ProcessPoolExecutor, queue: deque[Task], running: dict[Future[Result], Task], width: int
) -> Iterator[Result]:
    while queue or running:
        while queue and len(running) < width:
            running[pool.submit(_work, queue[0])] = queue[0]
            queue.popleft()
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            result = future.result()
            del running[future]
            yield result


def _begin(plan: Plan) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to act upon
    _worker = Worker(plan)


def _work(task: Task) -> Result:
    assert _worker is not None
    return _worker(task)
