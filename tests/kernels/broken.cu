// Kernels that are wrong on purpose: the tests of the emulation prove that it finds them out.
#include "device.cuh"

using namespace mien;

// Right as long as thread 0 goes first.
extern "C" __global__ void no_barrier_behind_a_write(int *out) {
    int *shared = reinterpret_cast<int *>(shared_memory());
    if (threadIdx.x == 0) shared[0] = 7;
    out[threadIdx.x] = shared[0];
}

// Right as long as thread 0 goes last.
extern "C" __global__ void no_barrier_in_front_of_a_write(int *out) {
    int *shared = reinterpret_cast<int *>(shared_memory());
    if (threadIdx.x == 0) shared[0] = 7;
    __syncthreads();
    out[threadIdx.x] = shared[0];
    if (threadIdx.x == 0) shared[0] = 8;
}

// A sum as in device.cuh, without the barrier that keeps two of them apart.
extern "C" __global__ void two_sums_without_a_barrier_between(int *out) {
    int *partial = reinterpret_cast<int *>(shared_memory());
    int total = 0;
    for (int round = 1; round <= 2; ++round) {
        if (threadIdx.x % warp_size == 0) partial[threadIdx.x / warp_size] = round;
        __syncthreads();
        total = 0;
        for (unsigned i = 0; i < blockDim.x / warp_size; ++i) total += partial[i];
        out[threadIdx.x + (round - 1) * blockDim.x] = total;
    }
}

extern "C" __global__ void a_barrier_that_some_never_reach(int *out) {
    if (threadIdx.x < 5) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void shared_memory_beyond_its_end(int *out) {
    int *shared = reinterpret_cast<int *>(shared_memory());
    shared[threadIdx.x] = 1;
    out[threadIdx.x] = 1;
}

extern "C" __global__ void an_array_beyond_its_end(int *out) { out[threadIdx.x + 1] = 1; }

// Right: blocks of a cluster read each other's shared memory, and wait before they end.
extern "C" __global__ void ranks_of_a_cluster(int *out) {
    float *shared = reinterpret_cast<float *>(shared_memory());
    if (threadIdx.x == 0) shared[0] = static_cast<float>(cluster_rank() + 1);
    cluster_barrier();
    float all = 0;
    for (int r = 0; r < 4; ++r) all = 10 * all + cluster_read(shared, r);
    cluster_barrier();
    out[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<int>(all);
}
