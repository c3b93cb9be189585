// AdaIN of planes that no block and no cluster can hold: moments of slices, then the affine of each
// plane, then the result. What is read the second time comes from L2 where the launcher takes few
// enough planes at once; the slices are small, so that all multiprocessors have several.
#include "adain_pixels.cuh"
#include "adain_planes.cuh"

namespace mien {

// What a slice leaves behind; float64, so that one kind of number serves all planes.
struct Partial {
    double mean, squares;
};

template <int V, class T>
__device__ void plane_slice_moments(const Planes<T> &p, int plane, int part, int slice, Partial *out) {
    const PlaneSlice<T, V> s = p.template slice<V>(plane, part * slice, slice, slice);
    const Moments<float> m = s.template moments<float>(true, shared_memory());
    Partial found{static_cast<double>(s.pivot) + m.mean, m.squares};
    if (!(m.squares <= largest)) {
        const Moments<double> exact = s.template moments<double>(false, shared_memory());
        found = {s.pivot + exact.mean, exact.squares};
    }
    if (thread_index() == 0) *out = found;
}

// out: that of the sample's channel 0, [C, slices].
template <int V, class T>
__device__ void pixel_slice_moments(const Pixels<T> &p, int sample, int of_tile, int part, int slice,
                                    int slices, Partial *out) {
    const int channel = of_tile * tile + threadIdx.x * V;
    const PixelSlice<T, V> s = p.template slice<V>(sample, channel, part * slice, slice, true);
    TileSums<float> *sums = tile_sums<float>();
    s.find_moments(true, sums);
    const bool exact = !holds(sums);
    if (exact) s.find_moments(false, tile_sums<double>());
    const int i = thread_index();  // a lane of warp 0 a channel
    if (i >= least(tile, p.c - of_tile * tile)) return;
    const double pivot = tile_facts()->pivot[i];
    Partial &to = out[static_cast<long long>(of_tile * tile + i) * slices + part];
    if (exact)
        to = {pivot + tile_sums<double>()->moments[i].mean, tile_sums<double>()->moments[i].squares};
    else
        to = {pivot + sums->moments[i].mean, sums->moments[i].squares};
}

template <int V, class T>
__device__ void pixel_slice_result(const Pixels<T> &p, int sample, int of_tile, int part, int slice,
                                   const Affine *affine, float slope) {
    const int channel = of_tile * tile + threadIdx.x * V;
    const PixelSlice<T, V> s = p.template slice<V>(sample, channel, part * slice, slice, false);
    Affine f[V];
    if (s.idle) return;
#pragma unroll
    for (int j = 0; j < V; ++j) f[j] = affine[static_cast<long long>(sample) * p.c + channel + j];
    s.template write<from_memory>(p.result(sample, channel), f, slope, p.w, p.up);
}

}  // namespace mien

using namespace mien;

// A warp a plane.
//
//     grid    (planes + 3) / 4
//     block   128 threads
extern "C" __global__ void __launch_bounds__(128) adain_affine(
    const Partial *partial,                // [planes, slices]
    const float *gamma, const float *beta, // [planes]
    Affine *affine,                        // [planes]
    int planes, int pixels, int slice, int slices) {
    const int plane = blockIdx.x * 4 + threadIdx.x / warp_size;
    if (plane >= planes) return;
    const Partial *of = partial + static_cast<long long>(plane) * slices;
    const Moments<double> m = merged<double>(
        slices, pixels, [&](int r) { return static_cast<double>(least(slice, pixels - r * slice)); },
        [&](int r) { return Moments<double>{of[r].mean, of[r].squares}; });
    if (threadIdx.x % warp_size == 0)
        affine[plane] = affine_from(m, 0.0f, static_cast<double>(pixels), gamma[plane], beta[plane]);
}

// first: the number of the first plane or sample of this launch.
//
//     grid    planes * slices, or samples * tiles * slices
//     block   as in adain_nchw.cu and adain_nhwc.cu
//     shared  as there, of `slice` pixels; for results none
#define ADAIN_TWO_PASS(SUFFIX, T)                                                                  \
    extern "C" __global__ void __launch_bounds__(plane_threads, 2) adain_nchw_moments_##SUFFIX(    \
        const T *x, const float *noise, const float *strength, Partial *partial, int c, int h,     \
        int w, int noise_step, float slope_before, int slice, int slices, int first) {             \
        const Planes<T> p{x, nullptr, noise, strength, c, h, w, noise_step, slope_before, 1};      \
        const int plane = first + blockIdx.x / slices, part = blockIdx.x % slices;                 \
        Partial *out = partial + static_cast<long long>(plane) * slices + part;                    \
        if (p.takes_packs())                                                                       \
            plane_slice_moments<wide<T>>(p, plane, part, slice, out);                              \
        else                                                                                       \
            plane_slice_moments<1>(p, plane, part, slice, out);                                    \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(plane_threads, 2) adain_nchw_result_##SUFFIX(     \
        const T *x, const Affine *affine, const float *noise, const float *strength, T *y, int c,  \
        int h, int w, int noise_step, float slope_before, float slope, int up, int slice,          \
        int slices, int first) {                                                                   \
        const Planes<T> p{x, y, noise, strength, c, h, w, noise_step, slope_before, up};           \
        const int plane = first + blockIdx.x / slices, begin = blockIdx.x % slices * slice;        \
        if (p.takes_packs())                                                                       \
            p.template slice<wide<T>>(plane, begin, slice, 0)                                      \
                .template write<from_memory>(p.result(plane), affine[plane], slope, w, up);        \
        else                                                                                       \
            p.template slice<1>(plane, begin, slice, 0)                                            \
                .template write<from_memory>(p.result(plane), affine[plane], slope, w, up);        \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(tile_threads) adain_nhwc_moments_##SUFFIX(        \
        const T *x, const float *noise, const float *strength, Partial *partial, int c, int h,     \
        int w, int noise_step, float slope_before, int slice, int slices, int first) {             \
        const Pixels<T> p{x, nullptr, noise, strength, c, h, w, noise_step, slope_before, 1};      \
        const int part = blockIdx.x % slices, of_tile = blockIdx.x / slices % p.tiles();           \
        const int sample = first + blockIdx.x / slices / p.tiles();                                \
        Partial *out = partial + static_cast<long long>(sample) * c * slices;                      \
        if (p.takes_packs())                                                                       \
            pixel_slice_moments<wide<T>>(p, sample, of_tile, part, slice, slices, out);            \
        else                                                                                       \
            pixel_slice_moments<1>(p, sample, of_tile, part, slice, slices, out);                  \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(tile_threads) adain_nhwc_result_##SUFFIX(         \
        const T *x, const Affine *affine, const float *noise, const float *strength, T *y, int c,  \
        int h, int w, int noise_step, float slope_before, float slope, int up, int slice,          \
        int slices, int first) {                                                                   \
        const Pixels<T> p{x, y, noise, strength, c, h, w, noise_step, slope_before, up};           \
        const int part = blockIdx.x % slices, of_tile = blockIdx.x / slices % p.tiles();           \
        const int sample = first + blockIdx.x / slices / p.tiles();                                \
        if (p.takes_packs())                                                                       \
            pixel_slice_result<wide<T>>(p, sample, of_tile, part, slice, affine, slope);           \
        else                                                                                       \
            pixel_slice_result<1>(p, sample, of_tile, part, slice, affine, slope);                 \
    }

ADAIN_TWO_PASS(f32, float)
ADAIN_TWO_PASS(f16, Half)
ADAIN_TWO_PASS(bf16, Bfloat)
