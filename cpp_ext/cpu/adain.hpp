// The arithmetic that both layouts of AdaIN share.
#pragma once
#include "simd.hpp"

namespace mien::MIEN_ISA {

constexpr double eps = 1e-5;
constexpr double largest = 0x1.fffffep127;  // float

// y = (x / 2 - half_mean) * scale + shift. Halves, because x - mean may be twice the largest
// float; their difference is exact where the plain one is.
struct Affine {
    float half_mean, scale, shift;
};

// Of numbers that were summed up about a pivot: d = value - pivot.
struct Moments {
    double count = 0, mean = 0, squares = 0;  // squares: of value - mean, summed

    // Chan et al. 1979, Eq. 2.1: the moments of both together.
    void merge(const Moments &b) {
        const double apart = b.mean - mean, all = count + b.count;
        squares += b.squares + apart * apart * count * b.count / all;
        mean += apart * b.count / all;
        count = all;
    }
};

// Float64 for what float32 cannot hold. pivot: one of the numbers, so that (mean - pivot)^2 is at
// most count times the variance, and cancelling costs at most that factor in 2^-53.
class ExactMoments {
public:
    explicit ExactMoments(float pivot) : pivot_(pivot) {}
    void add(float value) {
        const double d = value - pivot_;
        sum_ += d;
        squares_ += d * d;
    }
    Moments moments(i64 count) const {
        const double n = static_cast<double>(count), offset = sum_ / n;
        return {n, pivot_ + offset, squares_ - sum_ * offset};
    }

private:
    double pivot_, sum_ = 0, squares_ = 0;
};

// sum, squares: of d and d * d in float32, of count numbers.
inline Moments moments_from(float pivot, float sum, float squares, i64 count) {
    const double n = static_cast<double>(count), offset = sum / n;
    return {n, pivot + offset, squares - sum * offset};
}

inline Affine affine_from(const Moments &m, float gamma, float beta) {
    const double variance = m.squares < 0 ? 0 : m.squares / m.count;
    const double scale = gamma / std::sqrt(variance + eps);
    const float rounded = static_cast<float>(m.mean);
    return {0.5f * rounded, static_cast<float>(2 * scale),
            static_cast<float>(beta - (m.mean - rounded) * scale)};
}

// Leaky ReLU of a slope between 0 and 1.
template <class V> inline V leaky(V x, V slope) { return max(x * slope, x); }

template <class V> inline V normalised(V x, V half_mean, V scale, V shift, V slope) {
    const V y = fma(fma(x, V(0.5f), V(0.0f) - half_mean), scale, shift);
    return leaky(y, slope);
}

}  // namespace mien::MIEN_ISA
