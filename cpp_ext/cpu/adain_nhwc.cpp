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

template <class V, class S> void add_up(const S &s, i64 channel, const Chunk &k, double *sums) {
    Moments<V> moments(s.template at<V>(0, channel));
    for (i64 pixel = k.begin; pixel < k.end; ++pixel) moments.add(s.template at<V>(pixel, channel));
    moments.store(sums + channel, sums + s.c + channel);
}

template <class T, bool before> void all_moments(const Adain &a, i64 begin, i64 end) {
    for (i64 index = begin; index < end; ++index) {
        const Chunk k = chunk_of(a, index);
        const auto s = sample_of<T, before>(a, k.sample);
        double *sums = a.moments + index * 2 * a.c;
        i64 channel = 0;
        for (; channel + Lanes::lanes <= a.c; channel += Lanes::lanes)
            add_up<Lanes>(s, channel, k, sums);
        for (; channel < a.c; ++channel) add_up<One>(s, channel, k, sums);
    }
}

template <class T, bool before> void affines(const Adain &a, i64 begin, i64 end) {
    for (i64 n = begin; n < end; ++n) {
        const auto s = sample_of<T, before>(a, n);
        float *to = a.affine + n * 3 * a.c;
        for (i64 channel = 0; channel < a.c; ++channel) {
            double sum = 0, squares = 0;
            for (i64 chunk = n * a.chunks; chunk < (n + 1) * a.chunks; ++chunk) {
                sum += a.moments[2 * a.c * chunk + channel];
                squares += a.moments[2 * a.c * chunk + a.c + channel];
            }
            const float pivot = s.template at<One>(0, channel).v;
            const Affine f = affine_from(pivot, sum, squares, a.pixels(),
                                         a.gamma[n * a.c + channel], a.beta[n * a.c + channel]);
            to[channel] = f.half_mean;
            to[a.c + channel] = f.scale;
            to[2 * a.c + channel] = f.shift;
        }
    }
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
    const bool before = a.noise || a.slope_before != 1;
    if (a.half)
        before ? affines<Half, true>(a, begin, end) : affines<Half, false>(a, begin, end);
    else
        before ? affines<float, true>(a, begin, end) : affines<float, false>(a, begin, end);
}

void adain_apply(const Adain &a, i64 begin, i64 end) {
    const bool before = a.noise || a.slope_before != 1;
    if (a.half)
        before ? apply<Half, true>(a, begin, end) : apply<Half, false>(a, begin, end);
    else
        before ? apply<float, true>(a, begin, end) : apply<float, false>(a, begin, end);
}

}  // namespace mien::MIEN_ISA
