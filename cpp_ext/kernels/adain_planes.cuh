// AdaIN of [N, C, H, W], as far as a block sees it: a slice of one plane, which lies in one piece.
#pragma once
#include "adain.cuh"

namespace mien {

constexpr int plane_threads = 512;  // of a block, at most

// Thread t takes the packs t, t + threads, ...: neighbouring threads read neighbouring memory.
template <class T, int V> struct PlaneSlice {
    const T *x;          // [count], of the plane from `begin` on
    const float *noise;  // [count] or null
    T *kept;             // shared [keep]: what of x was read once and stays
    float strength, slope_before, pivot;
    int begin, count;    // numbers of the plane
    int keep;            // so many of count; the rest is read again from memory

    __device__ float before(T raw, int i) const {
        float h = number(raw);
        if (noise) h = fmaf(noise[i], strength, h);
        return leaky(h, slope_before);
    }

    __device__ Pack<T, V> read(int i) const { return i < keep ? load<V>(kept + i) : load<V>(x + i); }

    // use(index, numbers h) for each of the thread's packs. first_time: they are read and kept.
    template <int in_flight, class Use> __device__ void each(bool first_time, Use use) const {
        const int first = thread_index() * V, stride = thread_count() * V;
#pragma unroll 1
        for (int base = first; base < count; base += in_flight * stride) {
            Pack<T, V> packs[in_flight];
#pragma unroll
            for (int k = 0; k < in_flight; ++k) {
                const int i = base + k * stride;
                if (i < count) packs[k] = first_time ? load<V>(x + i) : read(i);
            }
#pragma unroll
            for (int k = 0; k < in_flight; ++k) {
                const int i = base + k * stride;
                if (i >= count) break;
                if (first_time && i < keep) store(kept + i, packs[k]);
                Pack<float, V> h;
#pragma unroll
                for (int j = 0; j < V; ++j) h.v[j] = before(packs[k].v[j], i + j);
                use(i, h);
            }
        }
    }

    template <class F> __device__ F mean_off_pivot(bool first_time, void *scratch) const {
        Two<F> sum{0, 0};
        const auto add = [&](int, const Pack<float, V> &h) {
#pragma unroll
            for (int j = 0; j < V; ++j) sum.a += static_cast<F>(h.v[j]) - pivot;
        };
        if (first_time)
            each<from_memory>(true, add);
        else
            each<from_shared>(false, add);
        return block_sum(sum, scratch).a / count;
    }

    template <class F> __device__ Moments<F> moments(bool first_time, void *scratch) const {
        const F mean = mean_off_pivot<F>(first_time, scratch);
        Two<F> off{0, 0};  // from that mean, whose own rounding the first of them takes out
        each<from_shared>(false, [&](int, const Pack<float, V> &h) {
#pragma unroll
            for (int j = 0; j < V; ++j) {
                const F d = (static_cast<F>(h.v[j]) - pivot) - mean;
                off.a += d;
                off.b += d * d;
            }
        });
        off = block_sum(off, scratch);
        const F rest = off.a / count;
        return {mean + rest, off.b - off.a * rest};
    }

    // y: of the whole plane [H, W], or [2 H, 2 W] where up is 2.
    template <int in_flight>
    __device__ void write(T *y, const Affine &f, float slope, int w, int up) const {
        each<in_flight>(false, [&](int i, const Pack<float, V> &h) {
            Pack<T, V> out;
#pragma unroll
            for (int j = 0; j < V; ++j) out.v[j] = stored<T>(applied(f, h.v[j], slope));
            if (up == 1) {
                store(y + begin + i, out);
                return;
            }
            const int row = (begin + i) / w, column = (begin + i) % w;  // V divides w
            T *above = y + 4LL * row * w + 2 * column, *below = above + 2 * w;
            Pack<T, V> twice[2];
#pragma unroll
            for (int j = 0; j < 2 * V; ++j) twice[j / V].v[j % V] = out.v[j / 2];
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                store(above + j * V, twice[j]);
                store(below + j * V, twice[j]);
            }
        });
    }
};

// What the host tells every kernel of this layout.
template <class T> struct Planes {
    const T *x;             // [N, C, H, W]
    T *y;                   // the same, H and W times up
    const float *noise;     // [N, H, W], [1, H, W] or null
    const float *strength;  // [C] or null
    int c, h, w;
    int noise_step;         // from one sample's noise to the next: H * W, or 0 where it is shared
    float slope_before;     // leaky ReLU in front of the statistics; 1 is none
    int up;                 // 1 or 2

    __device__ int pixels() const { return h * w; }

    // Packs of 16 bytes must neither cross the end of a plane or of a row that is repeated.
    __device__ bool takes_packs() const {
        constexpr int v = wide<T>;
        return pixels() % v == 0 && (up == 1 || w % v == 0) && is_aligned(x) && is_aligned(y)
            && is_aligned(noise);
    }

    template <int V> __device__ PlaneSlice<T, V> slice(int plane, int begin, int size, int keep) const {
        const T *from = x + static_cast<long long>(plane) * pixels();
        const float *rain = noise ? noise + static_cast<long long>(plane / c) * noise_step : nullptr;
        const int count = least(size, pixels() - begin);
        PlaneSlice<T, V> s{from, rain, reinterpret_cast<T *>(shared_memory() + scratch_bytes),
                           noise ? strength[plane % c] : 0, slope_before, 0, begin, count,
                           least(keep, count)};
        s.pivot = s.before(from[0], 0);
        s.x += begin;
        if (rain) s.noise += begin;
        return s;
    }

    __device__ T *result(int plane) const {
        return y + static_cast<long long>(plane) * pixels() * up * up;
    }
};

}  // namespace mien
