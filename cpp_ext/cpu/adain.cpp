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

template <class P> Affine statistics(const P &plane, i64 count, float gamma, float beta) {
    constexpr i64 step = Lanes::lanes;
    const One pivot = plane.template at<One>(0);
    Moments<Lanes> even{Lanes(pivot.v)}, odd = even;  // two, since each addition waits for its last
    i64 i = 0;
    for (; i + 2 * step <= count; i += 2 * step) {
        even.add(plane.template at<Lanes>(i));
        odd.add(plane.template at<Lanes>(i + step));
    }
    Moments<One> rest(pivot);
    for (; i < count; ++i) rest.add(plane.template at<One>(i));
    double sums[2][step], squares[2][step];
    even.store(sums[0], squares[0]);
    odd.store(sums[1], squares[1]);
    for (i64 lane = 0; lane < step; ++lane) {
        rest.sum += sums[0][lane] + sums[1][lane];
        rest.squares += squares[0][lane] + squares[1][lane];
    }
    return affine_from(rest.pivot, rest.sum, rest.squares, count, gamma, beta);
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
    constexpr i64 step = Lanes::lanes;
    i64 i = 0;
    if (stream) {
        for (; i < count && !is_aligned(y + i); ++i) result<One>(plane, i, f, slope).store(y + i);
        for (; i + step <= count; i += step) {
            __builtin_prefetch(next + i);
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
        const Affine f = statistics(plane, count, a.gamma[index], a.beta[index]);
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
