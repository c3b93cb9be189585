"""mien's own CUDA kernels, on arrays that are on the GPU already; `mien.ops` defines each.

    from mien_engines import kernels

    kernels.adain(kernels.driver(), x, gamma, beta, out=y, slope=0.2, stream=stream)

x and the others are arrays of torch, CuPy, pycuda or whoever has `__cuda_array_interface__`. Calls
queue work and return; nothing is copied to or from the host. Nothing here imports CUDA before
`driver()` is called. The kernels are in `cpp_ext/kernels`.
"""

from mien_engines.kernels.codes import adam, mix
from mien_engines.kernels.cuda import driver
from mien_engines.kernels.launch import Card, Launch, Memory, Runner
from mien_engines.kernels.normalise import adain
from mien_engines.kernels.pictures import crop, floats_from_pixels, paste, pixels_from_floats

__all__ = [
    "Card",
    "Launch",
    "Memory",
    "Runner",
    "adain",
    "adam",
    "crop",
    "driver",
    "floats_from_pixels",
    "mix",
    "paste",
    "pixels_from_floats",
]
