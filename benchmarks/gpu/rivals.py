"""The same networks in torch: eager and compiled, in fp32 without TF32 and under autocast to fp16.

Each rival has a network of its own. cuDNN looks for its fastest algorithms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from subjects import Subject

Arrays = Mapping[str, NDArray]


class Rival:
    """A subject's network in torch, with its inputs on the device; a step feeds its state back.

    half: under autocast to float16, with channels last. compiled: by torch.compile, with CUDA's
    graphs where there is CUDA.
    """

    def __init__(self, subject: Subject, device: str, *, half: bool, compiled: bool) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        form = torch.channels_last if half else torch.contiguous_format
        self.module: Any = subject.module().to(device=device, memory_format=form).eval()
        self.subject, self.device, self.compiled = subject, device, compiled
        self.half = half and device == "cuda"
        graph = subject.bundle.graph(subject.graph)
        self.names = [tensor.name for tensor in graph.inputs]
        self.outputs = [tensor.name for tensor in graph.outputs]
        # As mien's, which copies from and to pinned memory.
        self.host = {name: torch.tensor(subject.feeds[name]) for name in self.names}
        if device == "cuda":
            self.host = {name: tensor.pin_memory() for name, tensor in self.host.items()}
        self.reset()
        self._run = self.module
        if compiled:
            how = {"mode": "reduce-overhead"} if device == "cuda" else {"backend": "eager"}
            torch._dynamo.reset()
            torch._dynamo.utils.counters.clear()
            self._run = torch.compile(self.module, **how)

    def reset(self) -> None:
        """Give it its first inputs again."""
        self.given = {name: tensor.to(self.device, copy=True) for name, tensor in self.host.items()}

    def run(self) -> dict[str, torch.Tensor]:
        """Queue one run; what it returns lies on the device."""
        if self.compiled and self.device == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(self.device, torch.float16, enabled=self.half), torch.no_grad():
            found = self._run(*(self.given[name] for name in self.names))
        results = dict(
            zip(self.outputs, found if isinstance(found, tuple) else (found,), strict=True)
        )
        for output, name in self.subject.state.items():
            # CUDA's graphs write where they wrote before; autocast may have made it smaller.
            self.given[name] = results[output].to(self.given[name].dtype, copy=True)
        return results

    def steps(self, count: int) -> None:
        """Run `count` times, and wait once."""
        for _ in range(count):
            self.run()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def with_copies(self) -> Arrays:
        """Run once, arrays of the host in and out."""
        for name, tensor in self.host.items():
            self.given[name].copy_(tensor, non_blocking=True)
        return {name: tensor.cpu().numpy() for name, tensor in self.run().items()}

    def breaks(self) -> dict[str, int]:
        """Into how many graphs torch.compile cut the network, and how often it gave up."""
        counters = torch._dynamo.utils.counters
        return {
            "graphs": int(counters["stats"]["unique_graphs"]),
            "graph_breaks": sum(counters["graph_break"].values()),
        }
