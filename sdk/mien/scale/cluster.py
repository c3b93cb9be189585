"""Tasks on Ray Data: actors that each hold one Studio, on one machine or on many."""

from __future__ import annotations

import contextlib
import logging
import math
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mien.errors import MissingDependency, RunError
from mien.scale.plan import Plan, Result, Task, killed
from mien.scale.store import address_of
from mien.scale.worker import Worker

STORE_BYTES = 200 << 20  # of Ray's shared memory, where it is started here: tasks are small
TRIES = 3  # of a task whose actor dies each time
TASKS_A_BLOCK = 16  # at most: what a killed actor has to go through again


@dataclass(frozen=True)
class Cluster:
    """Where the actors are.

    address: of a running Ray, such as "auto"; None starts one on this machine, and ends it.
    cpus, gpus: of each actor; 0.25 GPUs put four on one.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0


class Actor:
    """What Ray makes of a worker: batches of pickled tasks in, pickled results out.

    Both are made by this program, on this cluster; nothing from elsewhere is unpickled.
    """

    def __init__(self, plan: Plan) -> None:
        self._worker = Worker(plan)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = [self._done(pickle.loads(task)) for task in batch["task"]]
        return {"result": [pickle.dumps(result) for result in results]}

    def _done(self, task: Task) -> Result:
        """Do a task; Ray itself would try one that kills its actor for ever."""
        store = self._worker.store
        key = address_of({"kind": task.kind, "name": task.item.name, "number": task.number})
        if store.begin(key) >= TRIES:
            store.end(key)
            return killed(task, TRIES)
        result = self._worker(task)
        store.end(key)
        return result


def on_ray(plan: Plan, tasks: Sequence[Task], workers: int, cluster: Cluster) -> Iterator[Result]:
    """Yield results as they come.

    An actor that dies is started again by Ray, and its tasks are done again: what they had put into
    the store already is found there. A task that does not survive three tries is failed.

    Raises MissingDependency without ray[data]. RunError where Ray gives up.
    """
    ray = _ray()
    blocks = max(min(len(tasks), 2 * workers), -(-len(tasks) // TASKS_A_BLOCK))
    rows = [{"task": pickle.dumps(task)} for task in tasks]
    try:
        results = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            Actor,
            fn_constructor_args=(plan,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
        )
        for row in results.iter_rows():
            yield pickle.loads(row["result"])
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[-1]
        raise RunError(
            f"Ray gave up: {first}",
            hint="What is done is kept; the same command goes on from there",
        ) from error


@contextlib.contextmanager
def started(cluster: Cluster, workers: int) -> Iterator[None]:
    """Have a Ray to work on, for as long as the block lasts. One that runs already is left so.

    Raises MissingDependency. RunError where none is at the address.
    """
    ray = _ray()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"address": cluster.address}
    if cluster.address is None:
        cores = math.ceil(workers * cluster.cpus) + 1  # one for Ray's own
        options = {"num_cpus": cores, "object_store_memory": STORE_BYTES,
                   "include_dashboard": False}  # fmt: skip
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunError(
            f"no Ray at {cluster.address}: {' '.join(str(error).split())}",
            hint="Start one: ray start --head, or leave --address out",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependency(
            "many machines need Ray",
            hint="Type: pip install 'mien[scale]', or work on this one: local=True, --local",
        ) from error
    return ray
