// CUDA's words for g++: what the kernels of this folder use of the language and of `ptx.cuh`.
#pragma once
#include <algorithm>
#include <cmath>

#include "threads.hpp"

#define __global__
#define __device__
#define __launch_bounds__(...)

// What the running thread is; set by the machine whenever another goes on.
inline emulation::Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

inline void Machine::go_on(Thread *thread) {
    now = thread;
    threadIdx = thread->index;
    blockIdx = thread->block->index;
    blockDim = launch_.block;
    gridDim = launch_.grid;
    if (_setjmp(main_) != 0) return;  // it waits, or has ended
    if (thread->begun) _longjmp(thread->left, 1);
    thread->begun = true;
    setcontext(&thread->start);
}

inline void Machine::body() {
    machine.kernel_();
    machine.now->ended = true;
    _longjmp(machine.main_, 1);
}

// Arguments as CUDA's driver takes them: a pointer to each.
template <class... P, std::size_t... I>
void call(void (*kernel)(P...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<P *>(arguments[I])...);
}
template <class... P> void call(void (*kernel)(P...), void **arguments) {
    call(kernel, arguments, std::index_sequence_for<P...>{});
}

}  // namespace emulation

inline void __syncthreads() { emulation::machine.wait(emulation::machine.now->block->barrier); }

template <class T> T __shfl_xor_sync(unsigned, T value, int across) {
    static_assert(sizeof(T) <= 8);
    emulation::Thread &thread = *emulation::machine.now;
    emulation::Warp &warp = emulation::machine.warp();
    std::uint64_t *slots = warp.slots[thread.exchanges++ % 2];
    std::memcpy(&slots[thread.lane], &value, sizeof(T));
    emulation::machine.wait(warp.barrier);
    std::memcpy(&value, &slots[thread.lane ^ across], sizeof(T));
    return value;
}

inline void __threadfence() {}  // blocks run one after another

inline unsigned atomicInc(unsigned *at, unsigned last) {
    const unsigned before = *at;
    *at = before >= last ? 0 : before + 1;
    return before;
}

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }

namespace mien {

inline float float_from_bits(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline float float_from_half(unsigned short bits) {
    _Float16 x;
    std::memcpy(&x, &bits, 2);
    return static_cast<float>(x);
}

inline unsigned short half_from_float(float x) {
    const _Float16 half = static_cast<_Float16>(x);
    unsigned short bits;
    std::memcpy(&bits, &half, 2);
    return bits;
}

inline unsigned short bfloat_from_float(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    if (x != x) return 0x7fff;
    return static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline unsigned char *shared_memory() { return emulation::machine.now->block->shared.data(); }

inline int cluster_size() { return static_cast<int>(emulation::machine.launch_.cluster); }

inline int cluster_rank() { return static_cast<int>(emulation::machine.now->block->rank); }

inline void cluster_barrier() { emulation::machine.wait(emulation::machine.cluster_barrier); }

template <class T> T cluster_read(const T *mine, int rank) {
    const auto *bytes = reinterpret_cast<const unsigned char *>(mine);
    T value;
    std::memcpy(&value, emulation::machine.block(rank).shared.data() + (bytes - shared_memory()), sizeof(T));
    return value;
}

}  // namespace mien
