// AdaIN of [N, H, W, C], as far as a block sees it: 32 channels of some pixels of one sample.
//
// Threads lie as [rows, columns]: a column is a pack of V channels, 32 / V columns are the 32
// channels, and row r takes the pixels r, r + rows, ... A warp reads 64 bytes (16-bit numbers) or
// 128 bytes (float) in one piece from each pixel: two or four sectors of 32 bytes, none in part.
#pragma once
#include "adain.cuh"

namespace mien {

constexpr int tile = 32;           // channels of a block: one a lane when columns are added up
constexpr int tile_threads = 256;  // of a block, at most

// In shared memory, in front of the pixels: what a block knows of each of its channels.
template <class F> struct TileSums {
    Two<F> partial[tile_threads / warp_size][tile];  // of each warp
    F mean[tile];
    Moments<F> moments[tile];
};
struct TileFacts {
    float pivot[tile];
    Affine affine[tile];
};
constexpr int tile_bytes = sizeof(TileFacts) + sizeof(TileSums<double>);

__device__ inline TileFacts *tile_facts() { return reinterpret_cast<TileFacts *>(shared_memory()); }
template <class F> __device__ TileSums<F> *tile_sums() {
    return reinterpret_cast<TileSums<F> *>(shared_memory() + sizeof(TileFacts));
}

template <class T, int V> struct PixelSlice {
    const T *x;          // [count, C], from this thread's first channel on
    const float *noise;  // [count] or null
    T *kept;             // shared [count or 0, 32]
    float strength[V], pivot[V];
    float slope_before;
    int c, begin, count;  // pixels
    bool keeps, idle;     // idle: this thread's channels lie beyond the last

    static constexpr int columns = tile / V;

    __device__ int column() const { return threadIdx.x; }

    __device__ Pack<float, V> before(const Pack<T, V> &raw, int i) const {
        Pack<float, V> h;
        const float drop = noise ? noise[i] : 0;
#pragma unroll
        for (int j = 0; j < V; ++j) h.v[j] = leaky(fmaf(drop, strength[j], number(raw.v[j])), slope_before);
        return h;
    }

    // use(pixel, numbers h) for each of the thread's packs. first_time: they are read, and kept.
    template <int in_flight, class Use> __device__ void each(bool first_time, Use use) const {
        if (idle) return;
        const int rows = blockDim.y;
#pragma unroll 1
        for (int base = threadIdx.y; base < count; base += in_flight * rows) {
            Pack<T, V> packs[in_flight];
#pragma unroll
            for (int k = 0; k < in_flight; ++k) {
                const int i = base + k * rows;
                if (i >= count) break;
                if (!first_time && keeps)
                    packs[k] = load<V>(kept + i * tile + column() * V);
                else
                    packs[k] = load<V>(x + static_cast<long long>(i) * c);
            }
#pragma unroll
            for (int k = 0; k < in_flight; ++k) {
                const int i = base + k * rows;
                if (i >= count) break;
                if (first_time && keeps) store(kept + i * tile + column() * V, packs[k]);
                use(i, before(packs[k], i));
            }
        }
    }

    // finish(channel, its sums over all rows), once for each of the 32, by the lanes of warp 0; what
    // it writes to shared memory is seen by all threads afterwards.
    template <class F, class Finish>
    __device__ void add_rows(const Two<F> (&of)[V], TileSums<F> *sums, Finish finish) const {
        const int warp = thread_index() / warp_size, lane = thread_index() % warp_size;
        __syncthreads();  // what finish wrote the last time may still be read
#pragma unroll
        for (int j = 0; j < V; ++j) {
            const Two<F> all = warp_sum(of[j], columns);
            if (lane < columns) sums->partial[warp][lane * V + j] = all;
        }
        __syncthreads();
        if (warp == 0) {
            Two<F> all{0, 0};
#pragma unroll 1
            for (int k = 0; k < thread_count() / warp_size; ++k) {
                all.a += sums->partial[k][lane].a;
                all.b += sums->partial[k][lane].b;
            }
            finish(lane, all);
        }
        __syncthreads();
    }

    template <class F> __device__ void find_means(bool first_time, TileSums<F> *sums) const {
        if (threadIdx.y == 0) {
#pragma unroll
            for (int j = 0; j < V; ++j) tile_facts()->pivot[column() * V + j] = pivot[j];
        }
        Two<F> sum[V] = {};
        const auto add = [&](int, const Pack<float, V> &h) {
#pragma unroll
            for (int j = 0; j < V; ++j) sum[j].a += static_cast<F>(h.v[j]) - pivot[j];
        };
        if (first_time)
            each<from_memory>(true, add);
        else
            each<from_shared>(false, add);
        add_rows(sum, sums, [&](int i, const Two<F> &all) { sums->mean[i] = all.a / count; });
    }

    // Leaves the moments of each channel in `sums`.
    template <class F> __device__ void find_moments(bool first_time, TileSums<F> *sums) const {
        find_means(first_time, sums);
        F mean[V];
        Two<F> off[V] = {};
#pragma unroll
        for (int j = 0; j < V; ++j) mean[j] = sums->mean[column() * V + j];
        each<from_shared>(false, [&](int, const Pack<float, V> &h) {
#pragma unroll
            for (int j = 0; j < V; ++j) {
                const F d = (static_cast<F>(h.v[j]) - pivot[j]) - mean[j];
                off[j].a += d;
                off[j].b += d * d;
            }
        });
        add_rows(off, sums, [&](int i, const Two<F> &all) {
            const F rest = all.a / count;
            sums->moments[i] = {sums->mean[i] + rest, all.b - all.a * rest};
        });
    }

    // y: of the whole sample [H, W, C] from this thread's first channel on, or [2 H, 2 W, C].
    template <int in_flight>
    __device__ void write(T *y, const Affine (&f)[V], float slope, int w, int up) const {
        each<in_flight>(false, [&](int i, const Pack<float, V> &h) {
            Pack<T, V> out;
#pragma unroll
            for (int j = 0; j < V; ++j) out.v[j] = stored<T>(applied(f[j], h.v[j], slope));
            const int pixel = begin + i;
            if (up == 1) {
                store(y + static_cast<long long>(pixel) * c, out);
                return;
            }
            const long long line = 2LL * w * c, row = pixel / w, column = pixel % w;
            T *above = y + 2 * row * line + 2 * column * c, *below = above + line;
            store(above, out);
            store(above + c, out);
            store(below, out);
            store(below + c, out);
        });
    }
};

// What the host tells every kernel of this layout.
template <class T> struct Pixels {
    const T *x;             // [N, H, W, C]
    T *y;                   // the same, H and W times up
    const float *noise;     // [N, H, W], [1, H, W] or null
    const float *strength;  // [C] or null
    int c, h, w;
    int noise_step;         // from one sample's noise to the next: H * W, or 0 where it is shared
    float slope_before;     // leaky ReLU in front of the statistics; 1 is none
    int up;                 // 1 or 2

    __device__ int pixels() const { return h * w; }
    __device__ int tiles() const { return (c + tile - 1) / tile; }

    // The launcher's columns say what a thread takes; see mien_engines/kernels/normalise.py.
    __device__ bool takes_packs() const { return static_cast<int>(blockDim.x) * wide<T> == tile; }

    template <int V>
    __device__ PixelSlice<T, V> slice(int sample, int channel, int begin, int size, bool keeps) const {
        const T *from = x + static_cast<long long>(sample) * pixels() * c + channel;
        const float *rain = noise ? noise + static_cast<long long>(sample) * noise_step : nullptr;
        PixelSlice<T, V> s;
        s.noise = rain;
        s.kept = reinterpret_cast<T *>(shared_memory() + tile_bytes);
        s.slope_before = slope_before;
        s.c = c;
        s.begin = begin;
        s.count = least(size, pixels() - begin);
        s.keeps = keeps;
        s.idle = channel >= c;
#pragma unroll
        for (int j = 0; j < V; ++j) {
            s.strength[j] = noise && !s.idle ? strength[channel + j] : 0;
            s.pivot[j] = 0;
        }
        if (!s.idle) {
            const Pack<float, V> first = s.before(load<V>(from), 0);
#pragma unroll
            for (int j = 0; j < V; ++j) s.pivot[j] = first.v[j];
        }
        s.x = from + static_cast<long long>(begin) * c;
        if (rain) s.noise += begin;
        return s;
    }

    __device__ T *result(int sample, int channel) const {
        return y + static_cast<long long>(sample) * pixels() * up * up * c + channel;
    }
};

// Whether float32 could hold the squares of all 32 channels. Called by whole warps; all agree.
__device__ inline bool holds(const TileSums<float> *sums) {
    const bool mine = sums->moments[thread_index() % warp_size].squares <= largest;
    return warp_sum(Two<float>{mine ? 0.0f : 1.0f, 0}).a == 0;
}

}  // namespace mien
