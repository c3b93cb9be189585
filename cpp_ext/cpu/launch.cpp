#include "launch.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "pool.hpp"

namespace mien {

namespace {

constexpr i64 worth_sharing = 1 << 16;  // numbers; waking threads costs tens of microseconds
constexpr i64 worth_streaming = 12 << 20;  // bytes; less is found in a cache by who reads it next
constexpr i64 chunk_pixels = 256;       // channels last: as many as float32 sums well

int threads_for(i64 numbers, int threads) { return numbers < worth_sharing ? 1 : threads; }

}  // namespace

void launch(const Kernels &kernels, Adain a, int threads) {
    const i64 numbers = a.n * a.c * a.pixels(), size = a.half ? 2 : 4;
    a.stream = numbers * a.up * a.up * size >= worth_streaming;
    threads = threads_for(numbers * a.up * a.up, threads);
    if (!a.channels_last) {
        share(a.n * a.c, threads, [&](int, i64 b, i64 e) { kernels.adain_planes(a, b, e); });
        return;
    }
    a.chunk = std::min(chunk_pixels, a.pixels());
    a.chunks = (a.pixels() + a.chunk - 1) / a.chunk;
    std::vector<double> moments(a.n * a.chunks * 2 * a.c);
    std::vector<float> affine(a.n * 3 * a.c);
    a.moments = moments.data();
    a.affine = affine.data();
    share(a.n * a.chunks, threads, [&](int, i64 b, i64 e) { kernels.adain_moments(a, b, e); });
    kernels.adain_affines(a, 0, a.n);
    share(a.n * a.chunks, threads, [&](int, i64 b, i64 e) { kernels.adain_apply(a, b, e); });
}

void launch(const Kernels &kernels, const Mix &m, i64 n, int threads) {
    threads = threads_for(n * m.layers * m.width, threads);
    share(n * m.layers, threads, [&](int, i64 b, i64 e) { kernels.mix(m, b, e); });
}

void launch_floats_from_pixels(const Kernels &kernels, const Resize &r, i64 n, int threads) {
    const i64 rows = n * r.rows.size;
    threads = threads_for(rows * r.columns.size * 3, threads);
    std::vector<float> scratch(threads * 3 * r.w);
    share(rows, threads, [&](int slot, i64 b, i64 e) {
        kernels.floats_from_pixels(r, b, e, scratch.data() + slot * 3 * r.w);
    });
}

bool launch_pixels_from_floats(const Kernels &kernels, const Resize &r, i64 n, int threads) {
    const i64 rows = n * r.rows.size, each = r.w + r.columns.size;
    threads = threads_for(rows * r.columns.size * 3, threads);
    std::vector<float> scratch(threads * each);
    std::atomic<bool> finite{true};
    share(rows, threads, [&](int slot, i64 b, i64 e) {
        if (!kernels.pixels_from_floats(r, b, e, scratch.data() + slot * each)) finite = false;
    });
    return finite;
}

void launch(const Kernels &kernels, const Warp &w, int threads) {
    threads = threads_for(w.out_h * w.out_w * 3, threads);
    share(w.out_h, threads, [&](int, i64 b, i64 e) { kernels.warp(w, b, e); });
}

}  // namespace mien
