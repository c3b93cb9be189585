// AdaIN of [N, H, W, C], in chunks of pixels: moments of each chunk, their sum, then the result.
//
// Chunks are cut by shape alone, so that the number of threads changes no bit.
#include "adain.hpp"
#include "kernels.hpp"

namespace mien::MIEN_ISA {

namespace {

// What is normalised: a sample, or leaky(sample + strength * noise).
template <class T, bool before> struct Sample {
    const T *x;             // [H * W, C]
    const float *noise;     // [H * W] or null
    const float *strength;  // [C]
    i64 c;
    float slope;

    template <class V> V at(i64 pixel, i64 channel) const {
        V value = V::load(x + pixel * c + channel);
        if (before) {
            if (noise) value = fma(V(noise[pixel]), V::load(strength + channel), value);
            value = leaky(value, V(slope));
        }
        return value;
    }
};

template <class T, bool before> Sample<T, before> sample_of(const Adain &a, i64 n) {
    return {static_cast<const T *>(a.x) + n * a.pixels() * a.c,
            a.noise ? a.noise + n * a.noise_step : nullptr, a.strength, a.c, a.slope_before};
}

struct Chunk {
    i64 sample, begin, end;  // pixels
};

Chunk chunk_of(const Adain &a, i64 index) {
    const i64 begin = index % a.chunks * a.chunk, end = begin + a.chunk;
    return {index / a.chunks, begin, end < a.pixels() ? end : a.pixels()};
}

template <class S> Moments exact_moments(const S &s, i64 channel, const Chunk &k) {
    ExactMoments exact(s.template at<One>(k.begin, channel).v);
    for (i64 p = k.begin; p < k.end; ++p) exact.add(s.template at<One>(p, channel).v);
    return exact.moments(k.end - k.begin);
}

// Float32 sums of `ways` times V::lanes channels over pixels, about a pivot of each channel.
template <class V, int ways> struct Sums {
    V pivot[ways], sum[ways], squares[ways];

    template <class S> void take(const S &s, i64 channel, i64 begin, i64 end) {
        for (int w = 0; w < ways; ++w) sum[w] = squares[w] = V(0.0f);
        for (i64 pixel = begin; pixel < end; ++pixel)
            for (int w = 0; w < ways; ++w) {
                const V d = s.template at<V>(pixel, channel + w * V::lanes) - pivot[w];
                sum[w] = sum[w] + d;
                squares[w] = fma(d, d, squares[w]);
            }
    }
};

// A chunk's moments of some channels, to means [C] and squares [C]. The pivot is the mean of the
// chunk's beginning: then its squares are at most 9 times those about the mean.
template <class V, int ways, class S>
void add_up(const S &s, i64 channel, const Chunk &k, double *means, double *squares) {
    const i64 count = k.end - k.begin, beginning = (count + 7) / 8;
    Sums<V, ways> sums;
    for (int w = 0; w < ways; ++w)
        sums.pivot[w] = s.template at<V>(k.begin, channel + w * V::lanes);
    sums.take(s, channel, k.begin, k.begin + beginning);
    const V part(1.0f / static_cast<float>(beginning));
    for (int w = 0; w < ways; ++w) sums.pivot[w] = sums.pivot[w] + sums.sum[w] * part;
    sums.take(s, channel, k.begin, k.end);
    for (int w = 0; w < ways; ++w) {
        float pivot[V::lanes], sum[V::lanes], square[V::lanes];
        sums.pivot[w].store(pivot);
        sums.sum[w].store(sum);
        sums.squares[w].store(square);
        for (i64 lane = 0; lane < V::lanes; ++lane) {
            const i64 c = channel + w * V::lanes + lane;
            Moments m = moments_from(pivot[lane], sum[lane], square[lane], count);
            if (!(m.squares <= largest)) m = exact_moments(s, c, k);
            means[c] = m.mean;
            squares[c] = m.squares;
        }
    }
}

template <class T, bool before> void all_moments(const Adain &a, i64 begin, i64 end) {
    constexpr i64 step = Lanes::lanes;
    for (i64 index = begin; index < end; ++index) {
        const Chunk k = chunk_of(a, index);
        const auto s = sample_of<T, before>(a, k.sample);
        double *means = a.moments + index * 2 * a.c, *squares = means + a.c;
        i64 channel = 0;
        for (; channel + 4 * step <= a.c; channel += 4 * step)
            add_up<Lanes, 4>(s, channel, k, means, squares);
        for (; channel + step <= a.c; channel += step)
            add_up<Lanes, 1>(s, channel, k, means, squares);
        for (; channel < a.c; ++channel) add_up<One, 1>(s, channel, k, means, squares);
    }
}

Moments merged(const Adain &a, i64 sample, i64 channel) {
    Moments m;
    for (i64 index = sample * a.chunks; index < (sample + 1) * a.chunks; ++index) {
        const Chunk k = chunk_of(a, index);
        const double *at = a.moments + index * 2 * a.c + channel;
        m.merge({static_cast<double>(k.end - k.begin), at[0], at[a.c]});
    }
    return m;
}

template <class V, class S>
V result(const S &s, i64 pixel, i64 channel, const float *affine, float slope) {
    const float *f = affine + channel;
    return normalised(s.template at<V>(pixel, channel), V::load(f), V::load(f + s.c),
                      V::load(f + 2 * s.c), V(slope));
}

// y [2 H, 2 W, C] where up is 2: a pixel's two places in each of two rows.
template <class T, class S>
void write_pixel(const Adain &a, const S &s, i64 pixel, const float *affine, T *y, bool stream) {
    constexpr i64 step = Lanes::lanes;
    const i64 row = pixel / a.w, column = pixel % a.w, width = a.up * a.w;
    T *to[4];
    for (int i = 0; i < a.up * a.up; ++i)
        to[i] = y + ((a.up * row + i / a.up) * width + a.up * column + i % a.up) * a.c;
    i64 channel = 0;
    for (; channel + step <= a.c; channel += step) {
        const Lanes value = result<Lanes>(s, pixel, channel, affine, a.slope);
        for (int i = 0; i < a.up * a.up; ++i)
            stream ? value.stream(to[i] + channel) : value.store(to[i] + channel);
    }
    for (; channel < a.c; ++channel) {
        const One value = result<One>(s, pixel, channel, affine, a.slope);
        for (int i = 0; i < a.up * a.up; ++i) value.store(to[i] + channel);
    }
}

template <class T, bool before> void apply(const Adain &a, i64 begin, i64 end) {
    const i64 bytes = Lanes::lanes * sizeof(T);
    const bool aligned = reinterpret_cast<std::uintptr_t>(a.y) % bytes == 0 &&
                         a.c * static_cast<i64>(sizeof(T)) % bytes == 0;
    for (i64 index = begin; index < end; ++index) {
        const Chunk k = chunk_of(a, index);
        const auto s = sample_of<T, before>(a, k.sample);
        const float *affine = a.affine + k.sample * 3 * a.c;
        T *y = static_cast<T *>(a.y) + k.sample * a.pixels() * a.up * a.up * a.c;
        for (i64 pixel = k.begin; pixel < k.end; ++pixel)
            write_pixel(a, s, pixel, affine, y, a.stream && aligned);
    }
    finish_streaming();
}

}  // namespace

void adain_moments(const Adain &a, i64 begin, i64 end) {
    const bool before = a.noise || a.slope_before != 1;
    if (a.half)
        before ? all_moments<Half, true>(a, begin, end) : all_moments<Half, false>(a, begin, end);
    else
        before ? all_moments<float, true>(a, begin, end) : all_moments<float, false>(a, begin, end);
}

void adain_affines(const Adain &a, i64 begin, i64 end) {
    for (i64 n = begin; n < end; ++n)
        for (i64 c = 0; c < a.c; ++c) {
            const Affine f =
                affine_from(merged(a, n, c), a.gamma[n * a.c + c], a.beta[n * a.c + c]);
            float *to = a.affine + n * 3 * a.c + c;
            to[0] = f.half_mean;
            to[a.c] = f.scale;
            to[2 * a.c] = f.shift;
        }
}

void adain_apply(const Adain &a, i64 begin, i64 end) {
    const bool before = a.noise || a.slope_before != 1;
    if (a.half)
        before ? apply<Half, true>(a, begin, end) : apply<Half, false>(a, begin, end);
    else
        before ? apply<float, true>(a, begin, end) : apply<float, false>(a, begin, end);
}

}  // namespace mien::MIEN_ISA
