// What every kernel stands on: storage types, wide loads, shared memory, sums over a block.
//
// No header of CUDA is included, so that NVRTC compiles these files where no toolkit is installed.
// What is particular to the GPU is in `ptx.cuh`; g++ gets it from `emulate/`, and the rest as it is.
#pragma once
#ifdef MIEN_EMULATED
#include "emulate/cuda.hpp"
#else
#include "ptx.cuh"
#endif

namespace mien {

constexpr int warp_size = 32;
constexpr unsigned every_lane = 0xffffffffu;
constexpr float largest = 3.40282347e38f;  // float

struct Half {
    unsigned short bits;  // IEEE binary16
};

struct Bfloat {
    unsigned short bits;  // the upper half of a float
};

__device__ inline float number(float x) { return x; }
__device__ inline float number(Half x) { return float_from_half(x.bits); }
__device__ inline float number(Bfloat x) { return float_from_bits(static_cast<unsigned>(x.bits) << 16); }

// Rounded to nearest, ties to even; beyond the range infinity.
template <class T> __device__ T stored(float x);
template <> __device__ inline float stored<float>(float x) { return x; }
template <> __device__ inline Half stored<Half>(float x) { return {half_from_float(x)}; }
template <> __device__ inline Bfloat stored<Bfloat>(float x) { return {bfloat_from_float(x)}; }

// V numbers that are read or written by one instruction: 16 bytes, or one number.
template <class T, int V> struct alignas(V == 1 ? sizeof(T) : 16) Pack {
    T v[V];
};
template <class T> constexpr int wide = 16 / sizeof(T);  // numbers in 16 bytes

template <int V, class T> __device__ Pack<T, V> load(const T *p) {
    return *reinterpret_cast<const Pack<T, V> *>(p);
}
template <int V, class T> __device__ void store(T *p, const Pack<T, V> &pack) {
    *reinterpret_cast<Pack<T, V> *>(p) = pack;
}

__device__ inline bool is_aligned(const void *p) {
    return reinterpret_cast<unsigned long long>(p) % 16 == 0;
}

__device__ inline int least(int a, int b) { return a < b ? a : b; }

__device__ inline int thread_index() { return threadIdx.x + blockDim.x * threadIdx.y; }
__device__ inline int thread_count() { return blockDim.x * blockDim.y; }

// Two sums that go the same way: one exchange serves both, and their latencies overlap.
template <class F> struct Two {
    F a, b;
};

// The sum over the lanes that differ in the bits step .. 16 of their number; in each of them.
template <class F> __device__ Two<F> warp_sum(Two<F> x, int step = 1) {
    for (; step < warp_size; step *= 2) {
        x.a += __shfl_xor_sync(every_lane, x.a, step);
        x.b += __shfl_xor_sync(every_lane, x.b, step);
    }
    return x;
}

// The sum over a block of whole warps, in every thread, in an order that does not depend on timing.
// scratch: shared, one pair a warp, aligned for double.
template <class F> __device__ Two<F> block_sum(Two<F> x, void *scratch) {
    Two<F> *partial = static_cast<Two<F> *>(scratch);
    const int warp = thread_index() / warp_size, lane = thread_index() % warp_size;
    x = warp_sum(x);
    __syncthreads();  // of the last sum, partials may still be read
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    // Every warp adds up all partials: cheaper than one warp that does, and a third barrier.
    x = lane < thread_count() / warp_size ? partial[lane] : Two<F>{0, 0};
    return warp_sum(x);
}

}  // namespace mien
