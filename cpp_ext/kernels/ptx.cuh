// What only a GPU has, as its instructions. `emulate/cuda.hpp` gives the same functions to g++.
#pragma once

namespace mien {

__device__ inline float float_from_bits(unsigned bits) { return __uint_as_float(bits); }

__device__ inline float float_from_half(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

__device__ inline unsigned short half_from_float(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

__device__ inline unsigned short bfloat_from_float(float x) {  // from sm_80 on
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// The block's dynamic shared memory, as many bytes as the launch asks for.
__device__ inline unsigned char *shared_memory() {
    extern __shared__ __align__(16) unsigned char memory[];
    return memory;
}

// Clusters of blocks, from sm_90 on, read each other's shared memory. On older devices a block is a
// cluster of its own, and the compiler takes out what is for more.
#if __CUDA_ARCH__ >= 900

__device__ inline int cluster_size() {
    unsigned blocks;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
    return static_cast<int>(blocks);
}

__device__ inline int cluster_rank() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return static_cast<int>(rank);
}

// All threads of all blocks of the cluster; what was written to shared memory before is seen after.
__device__ inline void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.aligned;\n"
                 "barrier.cluster.wait.aligned;" ::: "memory");
}

// What stands at the address of `mine` in the shared memory of another block of the cluster.
__device__ inline float cluster_read(const float *mine, int rank) {
    unsigned there;
    float value;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(there)
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(mine))), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(there) : "memory");
    return value;
}

__device__ inline double cluster_read(const double *mine, int rank) {
    unsigned there;
    double value;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(there)
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(mine))), "r"(rank));
    asm volatile("ld.shared::cluster.f64 %0, [%1];" : "=d"(value) : "r"(there) : "memory");
    return value;
}

#else

__device__ inline int cluster_size() { return 1; }
__device__ inline int cluster_rank() { return 0; }
__device__ inline void cluster_barrier() {}
template <class T> __device__ T cluster_read(const T *mine, int) { return *mine; }

#endif

}  // namespace mien
