// The kernels of one instruction set. Each does a range of its work: planes, rows or chunks.
#pragma once
#include "params.hpp"

namespace mien {

struct Kernels {
    const char *isa;
    void (*adain_planes)(const Adain &, i64 begin, i64 end);   // of N * C planes
    void (*adain_moments)(const Adain &, i64 begin, i64 end);  // of N * chunks
    void (*adain_affines)(const Adain &, i64 begin, i64 end);  // of N
    void (*adain_apply)(const Adain &, i64 begin, i64 end);    // of N * chunks
    void (*mix)(const Mix &, i64 begin, i64 end);              // of N * L rows
    // of N * rows; scratch [3 * w], [w + columns.size]. The latter tells whether all was finite.
    void (*floats_from_pixels)(const Resize &, i64 begin, i64 end, float *scratch);
    bool (*pixels_from_floats)(const Resize &, i64 begin, i64 end, float *scratch);
    void (*warp)(const Warp &, i64 begin, i64 end);            // of out_h rows
};

// Every file of kernels is compiled once for each set, in a namespace of that name.
namespace generic { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }

// Those that this machine runs, best first; null ends the list.
const Kernels *const *available();

}  // namespace mien
