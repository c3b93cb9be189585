// AdaIN of [N, C, H, W]: a plane is read for its moments, and again, from the cache, for the result.
#include "adain.hpp"
#include "kernels.hpp"

namespace mien::MIEN_ISA {

namespace {

// What is normalised: a plane, or leaky(plane + strength * noise).
template <class T, bool before> struct Plane {
    const T *x;          // [H, W]
    const float *noise;  // [H, W] or null
    float strength, slope;

    template <class V> V at(i64 i) const {
        V value = V::load(x + i);
        if (before) {
            if (noise) value = fma(V::load(noise + i), V(strength), value);
            value = leaky(value, V(slope));
        }
        return value;
    }
};

// Float32 sums over the numbers begin .. end. Four side by side: an addition waits for its last.
template <class P> Moments block_of(const P &plane, i64 begin, i64 end, float pivot) {
    constexpr i64 step = Lanes::lanes, ways = 4;
    const Lanes about(pivot), zero(0.0f);
    Lanes sum[ways] = {zero, zero, zero, zero}, squares[ways] = {zero, zero, zero, zero};
    i64 i = begin;
    for (; i + ways * step <= end; i += ways * step)
        for (i64 k = 0; k < ways; ++k) {
            const Lanes d = plane.template at<Lanes>(i + k * step) - about;
            sum[k] = sum[k] + d;
            squares[k] = fma(d, d, squares[k]);
        }
    float all = total(sum[0] + sum[1] + (sum[2] + sum[3]));
    float all_squares = total(squares[0] + squares[1] + (squares[2] + squares[3]));
    for (; i < end; ++i) {
        const float d = plane.template at<One>(i).v - pivot;
        all += d;
        all_squares += d * d;
    }
    return moments_from(pivot, all, all_squares, end - begin);
}

template <class P> Moments exact_moments(const P &plane, i64 count) {
    ExactMoments exact(plane.template at<One>(0).v);
    for (i64 i = 0; i < count; ++i) exact.add(plane.template at<One>(i).v);
    return exact.moments(count);
}

// Block by block, each about the mean of all before it: then its squares are at most twice what it
// adds to the plane's, and nothing cancels, whatever the mean. The first block is taken about the
// mean of its own beginning, which costs a factor of 17 at most.
template <class P> Moments moments_of(const P &plane, i64 count) {
    constexpr i64 length = 128 * Lanes::lanes, beginning = length / 16;
    const float at = plane.template at<One>(0).v;
    Moments m = block_of(plane, 0, count < beginning ? count : beginning, at);
    for (i64 begin = 0; begin < count; begin += length) {
        const i64 end = begin + length < count ? begin + length : count;
        const Moments b = block_of(plane, begin, end, static_cast<float>(m.mean));
        if (begin == 0)
            m = b;
        else
            m.merge(b);
    }
    return m.squares <= largest ? m : exact_moments(plane, count);
}

template <class V, class P> V result(const P &plane, i64 i, const Affine &f, float slope) {
    return normalised(plane.template at<V>(i), V(f.half_mean), V(f.scale), V(f.shift), V(slope));
}

template <class T> bool is_aligned(const T *p) {
    return reinterpret_cast<std::uintptr_t>(p) % (Lanes::lanes * sizeof(T)) == 0;
}

// y[i] for all i of a plane. next: what is read after it, fetched meanwhile.
template <class T, class P>
void write_plane(const P &plane, T *y, i64 count, const Affine &f, float slope, bool stream,
                 const T *next) {
    constexpr i64 step = Lanes::lanes, line = 64 / sizeof(T);
    i64 i = 0;
    if (stream) {
        for (; i < count && !is_aligned(y + i); ++i) result<One>(plane, i, f, slope).store(y + i);
        for (; i + step <= count; i += step) {
            if (i % line < step) prefetch(next + i);
            result<Lanes>(plane, i, f, slope).stream(y + i);
        }
    } else {
        for (; i + step <= count; i += step) result<Lanes>(plane, i, f, slope).store(y + i);
    }
    for (; i < count; ++i) result<One>(plane, i, f, slope).store(y + i);
}

// Every pixel four times: y [2 H, 2 W].
template <class T, class P>
void write_twice(const P &plane, T *y, i64 h, i64 w, const Affine &f, float slope, bool stream) {
    constexpr i64 step = Lanes::lanes;
    stream = stream && is_aligned(y) && is_aligned(y + 2 * w);
    for (i64 row = 0; row < h; ++row) {
        T *above = y + 4 * w * row, *below = above + 2 * w;
        i64 i = 0;
        for (; i + step <= w; i += step) {
            Lanes low(0.0f), high(0.0f);
            result<Lanes>(plane, row * w + i, f, slope).twice(low, high);
            T *const places[] = {above + 2 * i, below + 2 * i};
            for (T *p : places) {
                if (stream) {
                    low.stream(p);
                    high.stream(p + step);
                } else {
                    low.store(p);
                    high.store(p + step);
                }
            }
        }
        for (; i < w; ++i) {
            const One value = result<One>(plane, row * w + i, f, slope);
            T *const places[] = {above + 2 * i, below + 2 * i};
            for (T *p : places) {
                value.store(p);
                value.store(p + 1);
            }
        }
    }
}

template <class T, bool before> void planes(const Adain &a, i64 begin, i64 end) {
    const i64 count = a.pixels();
    for (i64 index = begin; index < end; ++index) {
        const i64 sample = index / a.c, channel = index % a.c;
        const T *x = static_cast<const T *>(a.x) + index * count;
        const float *noise = a.noise ? a.noise + sample * a.noise_step : nullptr;
        const float strength = a.noise ? a.strength[channel] : 0;
        const Plane<T, before> plane{x, noise, strength, a.slope_before};
        const Affine f = affine_from(moments_of(plane, count), a.gamma[index], a.beta[index]);
        T *y = static_cast<T *>(a.y) + index * count * a.up * a.up;
        if (a.up == 2)
            write_twice(plane, y, a.h, a.w, f, a.slope, a.stream);
        else
            write_plane(plane, y, count, f, a.slope, a.stream, index + 1 < end ? x + count : x);
    }
    finish_streaming();
}

}  // namespace

void adain_planes(const Adain &a, i64 begin, i64 end) {
    const bool before = a.noise || a.slope_before != 1;
    if (a.half)
        before ? planes<Half, true>(a, begin, end) : planes<Half, false>(a, begin, end);
    else
        before ? planes<float, true>(a, begin, end) : planes<float, false>(a, begin, end);
}

}  // namespace mien::MIEN_ISA
