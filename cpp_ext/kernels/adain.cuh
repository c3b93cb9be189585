// The arithmetic that all kernels of AdaIN share.
//
//     h = leaky(x + strength * noise, slope_before)
//     y = leaky(gamma * (h - mean) / sqrt(var + eps) + beta, slope)
//
// Sums are float32. They are taken about the plane's first number (the pivot), and the squares in a
// second pass about the mean that the first one found, from what is kept on the chip. So neither a
// large mean nor an outlier costs digits: the pivot is one of the numbers, hence its distance from
// the mean is at most sqrt(count) deviations. Where a float32 cannot hold a square, the plane is
// taken again in float64; a plane with NaN or infinity ends up there too, and becomes NaN.
#pragma once
#include "device.cuh"

namespace mien {

constexpr float eps = 1e-5f;
constexpr int scratch_bytes = 512;  // of block_sum: 32 pairs of double
// Loads that a thread begins before it uses the first: four of 16 bytes from memory, which hide its
// latency with the 512 threads and more of a multiprocessor; one from shared memory, which is near.
constexpr int from_memory = 4, from_shared = 1;

// Of `count` numbers h. mean: of h - pivot; squares: of h - the mean of h, summed.
template <class F> struct Moments {
    F mean, squares;
};

// y = leaky((h / 2 - half_mean) * scale + shift). Halves, because h - mean may be twice the largest
// float; their difference is exact where the plain one is.
struct Affine {
    float half_mean, scale, shift;
};

__device__ inline float root(float x) { return sqrtf(x); }
__device__ inline double root(double x) { return sqrt(x); }

__device__ inline float leaky(float x, float slope) { return fmaxf(x * slope, x); }  // 0 <= slope <= 1

template <class F>
__device__ Affine affine_from(const Moments<F> &m, float pivot, F count, float gamma, float beta) {
    const F mean = pivot + m.mean;
    const float rounded = static_cast<float>(mean);
    const F rest = (pivot - static_cast<F>(rounded)) + m.mean;  // mean - rounded, to all digits
    const F variance = m.squares < 0 ? F(0) : m.squares / count;  // a comparison that NaN passes by
    const F scale = gamma / root(variance + F(eps));
    return {0.5f * rounded, static_cast<float>(2 * scale), static_cast<float>(beta - rest * scale)};
}

__device__ inline float applied(const Affine &f, float h, float slope) {
    return leaky(fmaf(fmaf(h, 0.5f, -f.half_mean), f.scale, f.shift), slope);
}

// The moments of K slices of a plane, from those of each: slice r has counts(r) numbers, moments
// at(r). Called by whole warps; every lane returns the result.
template <class F, class Count, class At>
__device__ Moments<F> merged(int slices, F count, Count counts, At at) {
    const int lane = thread_index() % warp_size;
    Two<F> sum{0, 0};
    for (int r = lane; r < slices; r += warp_size) sum.a += counts(r) * at(r).mean;
    const F mean = warp_sum(sum).a / count;
    Two<F> squares{0, 0};
    for (int r = lane; r < slices; r += warp_size) {
        const Moments<F> m = at(r);
        const F apart = m.mean - mean;
        squares.a += m.squares + counts(r) * apart * apart;
    }
    return {mean, warp_sum(squares).a};
}

}  // namespace mien
