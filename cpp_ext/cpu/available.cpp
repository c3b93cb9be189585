// Which instruction sets this machine has: asked once, at run time.
#include "kernels.hpp"

namespace mien {

namespace {

struct Listing {
    const Kernels *found[4] = {};

    Listing() {
        int count = 0;
#ifdef MIEN_X86
        // The compiler's run time asks cpuid, and the operating system whether it saves the
        // registers. Every processor with AVX2 also has F16C, which cannot be asked for by name
        // in all compilers.
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            found[count++] = &avx512::kernels;
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            found[count++] = &avx2::kernels;
#endif
        found[count] = &generic::kernels;
    }
};

}  // namespace

const Kernels *const *available() {
    static const Listing listing;
    return listing.found;
}

}  // namespace mien
