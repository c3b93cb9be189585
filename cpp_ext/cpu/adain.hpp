// The arithmetic that both layouts of AdaIN share.
#pragma once
#include "simd.hpp"

namespace mien::MIEN_ISA {

constexpr double eps = 1e-5;

// y = (x / 2 - half_mean) * scale + shift. Halves, because x - mean may be twice the largest
// float; their difference is exact where the plain one is.
struct Affine {
    float half_mean, scale, shift;
};

// sum, squares: of count numbers d = x - pivot, where pivot is one of the plane's own numbers.
// Then (mean - pivot)^2 <= count * variance, so what cancels below costs at most a factor of count
// in 2^-53: a plane of a million pixels keeps ten digits, whatever its mean.
inline Affine affine_from(double pivot, double sum, double squares, i64 count, float gamma,
                          float beta) {
    const double offset = sum / static_cast<double>(count);
    const double variance = squares / static_cast<double>(count) - offset * offset;
    const double mean = pivot + offset;
    const double scale = gamma / std::sqrt((variance < 0 ? 0 : variance) + eps);
    const float rounded = static_cast<float>(mean);
    return {0.5f * rounded, static_cast<float>(2 * scale),
            static_cast<float>(beta - (mean - rounded) * scale)};
}

// Leaky ReLU of a slope between 0 and 1.
template <class V> inline V leaky(V x, V slope) { return max(x * slope, x); }

template <class V> inline V normalised(V x, V half_mean, V scale, V shift, V slope) {
    const V y = fma(fma(x, V(0.5f), V(0.0f) - half_mean), scale, shift);
    return leaky(y, slope);
}

}  // namespace mien::MIEN_ISA
