// AdaIN of [N, C, H, W] in one launch: a plane is read once and written once.
//
// A block takes a plane, or a cluster of 2, 4 or 8 blocks takes one together (sm_90 and later): each
// keeps its slice of it in shared memory, and they exchange two numbers. Shared memory bounds how
// many blocks a multiprocessor holds, so the launcher asks for slices that leave room for two: one
// loads while the other reduces. The launch bounds see to it that registers leave room for two as
// well: 64 a thread at most, of which nvcc 13 takes 61 on sm_90.
//
//     grid    planes * K, in clusters of K, which the launch asks for
//     block   whole warps, at most 512 threads
//     shared  512 bytes, and `keep` numbers of x
#include "adain_planes.cuh"

namespace mien {

// The moments of the plane from those of the cluster's slices.
template <class F>
__device__ Moments<F> across_cluster(const Moments<F> &mine, int pixels, int slice, void *scratch) {
    F *shown = static_cast<F *>(scratch);  // block_sum's, which all threads have left below
    __syncthreads();
    if (thread_index() == 0) {
        shown[0] = mine.mean;
        shown[1] = mine.squares;
    }
    cluster_barrier();
    const Moments<F> all = merged<F>(
        cluster_size(), static_cast<F>(pixels),
        [&](int r) { return static_cast<F>(least(slice, pixels - r * slice)); },
        [&](int r) { return Moments<F>{cluster_read(shown, r), cluster_read(shown + 1, r)}; });
    cluster_barrier();  // no block writes there again, or ends, while another reads
    return all;
}

template <class F, class S>
__device__ Moments<F> plane_moments(const S &s, bool first_time, int pixels, int slice) {
    const Moments<F> m = s.template moments<F>(first_time, shared_memory());
    return cluster_size() == 1 ? m : across_cluster(m, pixels, slice, shared_memory());
}

template <int V, class T, class G>
__device__ void one_plane(const Planes<T> &p, const G *gamma, const G *beta, float slope, int slice,
                          int keep) {
    const int plane = blockIdx.x / cluster_size(), pixels = p.pixels();
    const PlaneSlice<T, V> s = p.template slice<V>(plane, cluster_rank() * slice, slice, keep);
    const float g = number(gamma[plane]), b = number(beta[plane]);
    const Moments<float> m = plane_moments<float>(s, true, pixels, slice);
    Affine f;
    if (m.squares <= largest)  // the same in all threads of a cluster
        f = affine_from(m, s.pivot, static_cast<float>(pixels), g, b);
    else
        f = affine_from(plane_moments<double>(s, false, pixels, slice), s.pivot,
                        static_cast<double>(pixels), g, b);
    s.template write<from_shared>(p.result(plane), f, slope, p.w, p.up);
}

template <class T, class G>
__device__ void planes(const Planes<T> &p, const G *gamma, const G *beta, float slope, int slice,
                       int keep) {
    if (p.takes_packs())
        one_plane<wide<T>>(p, gamma, beta, slope, slice, keep);
    else
        one_plane<1>(p, gamma, beta, slope, slice, keep);
}

}  // namespace mien

using namespace mien;

// slice: pixels of a plane that a block takes. keep: how many of them its shared memory holds.
#define ADAIN_NCHW(NAME, T)                                                                        \
    extern "C" __global__ void __launch_bounds__(plane_threads, 2) NAME(                           \
        const T *x, const float *gamma, const float *beta, const float *noise,                     \
        const float *strength, T *y, int c, int h, int w, int noise_step, float slope_before,      \
        float slope, int up, int slice, int keep) {                                                \
        planes(Planes<T>{x, y, noise, strength, c, h, w, noise_step, slope_before, up}, gamma,     \
               beta, slope, slice, keep);                                                          \
    }

ADAIN_NCHW(adain_nchw_f32, float)
ADAIN_NCHW(adain_nchw_f16, Half)
ADAIN_NCHW(adain_nchw_bf16, Bfloat)

// One block a plane, for TensorRT, which launches one kernel a node and calls it with inputs, these
// two numbers, and the output. What shared memory does not hold is read again.
#define ADAIN_PLUGIN(NAME, T)                                                                      \
    extern "C" __global__ void __launch_bounds__(plane_threads, 2)                                 \
        NAME(const T *x, const T *gamma, const T *beta, int pixels, int keep, T *y) {              \
        planes(Planes<T>{x, y, nullptr, nullptr, 1, 1, pixels, 0, 1.0f, 1}, gamma, beta, 1.0f,     \
               pixels, keep);                                                                      \
    }

ADAIN_PLUGIN(adain_plugin_f32, float)
ADAIN_PLUGIN(adain_plugin_f16, Half)
ADAIN_PLUGIN(adain_plugin_bf16, Bfloat)
