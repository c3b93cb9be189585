"""Every error that leaves a public call.

    MienError
    ├── ModelError              a checkpoint or a bundle
    │   ├── UnsafeFile          it asks for code to be run, or is of a kind that can
    │   ├── CorruptFile         truncated, damaged, or not what its name says
    │   ├── ArchMismatch        a network of another shape or kind
    │   ├── NonFiniteWeights    NaN or infinity in a tensor
    │   ├── LimitExceeded       larger than a file of this kind can honestly be
    │   └── HashMismatch        not the bytes that the manifest promises
    ├── EngineError             who executes a graph
    │   ├── BackendUnavailable  not installed, or its device is not there
    │   ├── BuildFailed         it opened the backend, but refuses the graph
    │   ├── NotBuilt            it runs plans, and has none of this graph for this machine
    │   ├── Untrusted           a plan that others could have written, or that is damaged
    │   ├── Busy                another process builds the same plan, and takes too long
    │   └── ParityFailed        it runs, but does not agree with the reference
    ├── InputError              what a caller hands in
    │   ├── DecodeError         not a picture that can be read
    │   ├── TooLarge            more pixels than allowed
    │   ├── TruncatedImage      the file ends before the picture does
    │   ├── UnsupportedFormat   a format that is not on the list
    │   ├── NoFace              no face was found
    │   └── AmbiguousFace       several, and no rule to choose by
    ├── RunError                during a run
    │   ├── NotFinite           NaN or infinity in a result
    │   ├── DeviceOutOfMemory   the GPU has less memory than the run needs
    │   ├── DeviceLost          the GPU failed; only a new process can use it again
    │   ├── StreamLost          a camera is gone, and was not found again
    │   └── Cancelled           the caller stopped it; what was done is kept
    └── MissingDependency       an optional package is not installed

Each carries `hint`, the remedy, which is printed after the message, and `code`, its name.
"""

from __future__ import annotations


class MienError(Exception):
    """Root of the tree. `str(error)` is one line: what is wrong, and what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}. {hint}" if hint else message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        return type(self).__name__


class ModelError(MienError):
    """A checkpoint or a bundle cannot be used."""


class UnsafeFile(ModelError):
    """The file asks for code to be run, or is of a kind that can."""


class CorruptFile(ModelError):
    """The file is truncated, damaged, or not what its name says."""


class ArchMismatch(ModelError):
    """The file holds a network of another shape or kind."""


class NonFiniteWeights(ModelError):
    """A tensor of the file holds NaN or infinity."""


class LimitExceeded(ModelError):
    """The file wants more memory than a file of its kind honestly can."""


class HashMismatch(ModelError):
    """The file is not the one that its manifest promises."""


class EngineError(MienError):
    """A graph cannot be executed."""


class BackendUnavailable(EngineError):
    """The backend is not installed, or its device is not there."""


class BuildFailed(EngineError):
    """The backend refuses the graph."""


class NotBuilt(EngineError):
    """There is no accepted plan of the graph for this machine."""


class Untrusted(EngineError):
    """A plan that others could have written, or that is damaged. Loading one can run its code."""


class Busy(EngineError):
    """Another process builds the same plan, and takes longer than was waited."""


class ParityFailed(EngineError):
    """The backend runs the graph, but outside its tolerance."""


class InputError(MienError):
    """What the caller handed in cannot be used."""


class DecodeError(InputError):
    """The file is not a picture that can be read."""


class TooLarge(InputError):
    """The picture has more pixels than allowed."""


class TruncatedImage(InputError):
    """The file ends before the picture does."""


class UnsupportedFormat(InputError):
    """The format is not on the list of those that are read."""


class NoFace(InputError):
    """No face was found."""


class AmbiguousFace(InputError):
    """Several faces were found, and no rule to choose by was given."""


class RunError(MienError):
    """Something went wrong while a graph ran."""


class NotFinite(RunError):
    """A result holds NaN or infinity."""


class DeviceOutOfMemory(RunError):
    """The GPU has less memory than the run needs."""


class DeviceLost(RunError):
    """The GPU failed. Only a new process can use it again."""


class StreamLost(RunError):
    """A camera is gone, and was not found again."""


class Cancelled(RunError):
    """The caller stopped the run. What was done is kept."""


class MissingDependency(MienError):
    """An optional package is not installed."""
