// AdaIN of [N, H, W, C] in one launch: every number is read once and written once.
//
// A block takes 32 channels of a sample, or a cluster of 2, 4 or 8 blocks takes them together
// (sm_90 and later), each some of the pixels. Blocks are of 256 threads: each holds the sums of up
// to eight channels, which takes up to 126 registers (nvcc 13, sm_90), so that two blocks share the
// register file of a multiprocessor, as the launcher's choice of slices lets them share its memory.
//
//     grid    N * tiles * K, in clusters of K, which the launch asks for; tiles of 32 channels
//     block   (32 / V, rows): V channels a thread, which is 16 bytes of them, or one
//     shared  the tile's sums, and `slice` pixels of 32 channels
#include "adain_pixels.cuh"

namespace mien {

// Replaces each block's moments by those of the cluster's pixels together.
template <class F> __device__ void across_cluster(TileSums<F> *sums, int pixels, int slice) {
    cluster_barrier();
    Moments<F> all{0, 0};
    const int channel = thread_index();
    if (channel < tile) {
        const F *shown = &sums->moments[channel].mean;
#pragma unroll 1
        for (int r = 0; r < cluster_size(); ++r)
            all.mean += least(slice, pixels - r * slice) * cluster_read(shown, r);
        all.mean /= pixels;
#pragma unroll 1
        for (int r = 0; r < cluster_size(); ++r) {
            const F apart = cluster_read(shown, r) - all.mean;
            all.squares += cluster_read(shown + 1, r)
                         + least(slice, pixels - r * slice) * apart * apart;
        }
    }
    cluster_barrier();  // no block writes there again, or ends, while another reads
    if (channel < tile) sums->moments[channel] = all;
    __syncthreads();
}

template <class F, class S>
__device__ TileSums<F> *tile_moments(const S &s, bool first_time, int pixels, int slice) {
    TileSums<F> *sums = tile_sums<F>();
    s.find_moments(first_time, sums);
    if (cluster_size() > 1) across_cluster(sums, pixels, slice);
    return sums;
}

// A lane of warp 0 a channel; gamma and beta begin with the tile's first.
template <class F>
__device__ void find_affines(const TileSums<F> *sums, int pixels, int channels, const float *gamma,
                             const float *beta) {
    const int i = thread_index();
    if (i < least(tile, channels))
        tile_facts()->affine[i] = affine_from(sums->moments[i], tile_facts()->pivot[i],
                                              static_cast<F>(pixels), gamma[i], beta[i]);
}

template <int V, class T>
__device__ void one_tile(const Pixels<T> &p, const float *gamma, const float *beta, float slope,
                         int slice) {
    const int number = blockIdx.x / cluster_size(), sample = number / p.tiles(), pixels = p.pixels();
    const int first = number % p.tiles() * tile;  // channel
    const PixelSlice<T, V> s = p.template slice<V>(sample, first + threadIdx.x * V,
                                                   cluster_rank() * slice, slice, true);
    gamma += static_cast<long long>(sample) * p.c + first;
    beta += static_cast<long long>(sample) * p.c + first;
    const TileSums<float> *sums = tile_moments<float>(s, true, pixels, slice);
    if (holds(sums))  // the same in all threads of a cluster
        find_affines(sums, pixels, p.c - first, gamma, beta);
    else
        find_affines(tile_moments<double>(s, false, pixels, slice), pixels, p.c - first, gamma,
                     beta);
    __syncthreads();
    Affine f[V];
#pragma unroll
    for (int j = 0; j < V; ++j) f[j] = tile_facts()->affine[s.column() * V + j];
    s.template write<from_shared>(p.result(sample, first + s.column() * V), f, slope, p.w, p.up);
}

template <class T>
__device__ void tiles(const Pixels<T> &p, const float *gamma, const float *beta, float slope, int slice) {
    if (p.takes_packs())
        one_tile<wide<T>>(p, gamma, beta, slope, slice);
    else
        one_tile<1>(p, gamma, beta, slope, slice);
}

}  // namespace mien

using namespace mien;

// slice: pixels that a block takes.
#define ADAIN_NHWC(NAME, T)                                                                        \
    extern "C" __global__ void __launch_bounds__(tile_threads) NAME(                               \
        const T *x, const float *gamma, const float *beta, const float *noise,                     \
        const float *strength, T *y, int c, int h, int w, int noise_step, float slope_before,      \
        float slope, int up, int slice) {                                                          \
        tiles(Pixels<T>{x, y, noise, strength, c, h, w, noise_step, slope_before, up}, gamma,      \
              beta, slope, slice);                                                                 \
    }

ADAIN_NHWC(adain_nhwc_f32, float)
ADAIN_NHWC(adain_nhwc_f16, Half)
ADAIN_NHWC(adain_nhwc_bf16, Bfloat)
