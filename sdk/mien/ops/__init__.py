"""Operations with a definition in NumPy and a compiled twin that agrees with it.

One module each: `adain`, `mix`, `pixels`, `warp`. Every function takes impl="auto", "ref" or
"native": auto is the compiled twin where it is built (`mien doctor` says), else the definition.
`adam` and `paste` are definitions alone, of kernels in `mien_engines.kernels`, which has CUDA twins
of all the others too.
"""
