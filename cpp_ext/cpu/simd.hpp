// Lanes of float32 for the instruction set that a file is compiled for: `Lanes`, the widest there
// is, and `One`, for what is left over. Kernels are templates over the two.
//
// Files that include this are compiled several times, so all of it lies in a namespace of the set:
// were two copies of a function called alike, the linker would keep either, and a machine without
// AVX-512 might meet the wrong one. For the same reason they use no templates of the library.
#pragma once
#include <cmath>
#include <cstring>

#include "params.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace mien::MIEN_ISA {

// float from Half and back, rounding to nearest even, on integers.
inline float float_from(Half half) {
    std::uint32_t bits = static_cast<std::uint32_t>(half.bits & 0x7fff) << 13;
    const std::uint32_t sign = static_cast<std::uint32_t>(half.bits & 0x8000) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    value *= 0x1p112f;  // the exponent's bias is 15 there and 127 here; subnormals come out as well
    std::memcpy(&bits, &value, 4);
    if ((half.bits & 0x7c00) == 0x7c00) bits |= 0x7f800000;  // infinity, NaN
    bits |= sign;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline Half half_from(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const std::uint32_t sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) {
        bits = 0x7e00;  // NaN
    } else if (bits >= 0x477ff000) {
        bits = 0x7c00;  // 65520 and more round to infinity
    } else if (bits < 0x38800000) {  // subnormal: adding 0.5 leaves multiples of 2^-24
        float small;
        std::memcpy(&small, &bits, 4);
        small += 0.5f;
        std::memcpy(&bits, &small, 4);
        bits -= 0x3f000000;
    } else {
        bits = (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13;
    }
    return {static_cast<std::uint16_t>(sign | bits)};
}

struct One {
    static constexpr i64 lanes = 1;
    float v;

    One() = default;
    explicit One(float value) : v(value) {}
    static One load(const float *p) { return One(*p); }
    static One load(const Half *p) { return One(float_from(*p)); }
    void store(float *p) const { *p = v; }
    void store(Half *p) const { *p = half_from(v); }
    void stream(float *p) const { store(p); }
    void stream(Half *p) const { store(p); }
    // Each number twice in a row, over 2 * lanes.
    void twice(One &low, One &high) const { low = high = *this; }

    friend One operator+(One a, One b) { return One(a.v + b.v); }
    friend One operator-(One a, One b) { return One(a.v - b.v); }
    friend One operator*(One a, One b) { return One(a.v * b.v); }
    // b where either is NaN.
    friend One max(One a, One b) { return One(a.v > b.v ? a.v : b.v); }
    friend One fma(One a, One b, One c) {
#if defined(__FMA__) || defined(__aarch64__)
        return One(__builtin_fmaf(a.v, b.v, c.v));
#else
        return One(a.v * b.v + c.v);  // the library's fma is a call, and slow
#endif
    }
    friend float total(One a) { return a.v; }
};

#if defined(__AVX512F__)

struct Lanes {
    static constexpr i64 lanes = 16;
    __m512 v;

    Lanes() = default;
    Lanes(__m512 value) : v(value) {}
    explicit Lanes(float value) : v(_mm512_set1_ps(value)) {}
    static Lanes load(const float *p) { return _mm512_loadu_ps(p); }
    static Lanes load(const Half *p) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
    }
    void store(float *p) const { _mm512_storeu_ps(p, v); }
    void store(Half *p) const { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), halves()); }
    void stream(float *p) const { _mm512_stream_ps(p, v); }
    void stream(Half *p) const { _mm256_stream_si256(reinterpret_cast<__m256i *>(p), halves()); }
    void twice(Lanes &low, Lanes &high) const {
        const __m512i first = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
        const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
        low = _mm512_permutexvar_ps(first, v);
        high = _mm512_permutexvar_ps(second, v);
    }

    friend Lanes operator+(Lanes a, Lanes b) { return _mm512_add_ps(a.v, b.v); }
    friend Lanes operator-(Lanes a, Lanes b) { return _mm512_sub_ps(a.v, b.v); }
    friend Lanes operator*(Lanes a, Lanes b) { return _mm512_mul_ps(a.v, b.v); }
    friend Lanes max(Lanes a, Lanes b) { return _mm512_max_ps(a.v, b.v); }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
    friend float total(Lanes a) { return _mm512_reduce_add_ps(a.v); }

private:
    __m256i halves() const {
        return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
};

#elif defined(__AVX2__)

struct Lanes {
    static constexpr i64 lanes = 8;
    __m256 v;

    Lanes() = default;
    Lanes(__m256 value) : v(value) {}
    explicit Lanes(float value) : v(_mm256_set1_ps(value)) {}
    static Lanes load(const float *p) { return _mm256_loadu_ps(p); }
    static Lanes load(const Half *p) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
    }
    void store(float *p) const { _mm256_storeu_ps(p, v); }
    void store(Half *p) const { _mm_storeu_si128(reinterpret_cast<__m128i *>(p), halves()); }
    void stream(float *p) const { _mm256_stream_ps(p, v); }
    void stream(Half *p) const { _mm_stream_si128(reinterpret_cast<__m128i *>(p), halves()); }
    void twice(Lanes &low, Lanes &high) const {
        const __m256i first = _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0);
        const __m256i second = _mm256_add_epi32(first, _mm256_set1_epi32(4));
        low = _mm256_permutevar8x32_ps(v, first);
        high = _mm256_permutevar8x32_ps(v, second);
    }

    friend Lanes operator+(Lanes a, Lanes b) { return _mm256_add_ps(a.v, b.v); }
    friend Lanes operator-(Lanes a, Lanes b) { return _mm256_sub_ps(a.v, b.v); }
    friend Lanes operator*(Lanes a, Lanes b) { return _mm256_mul_ps(a.v, b.v); }
    friend Lanes max(Lanes a, Lanes b) { return _mm256_max_ps(a.v, b.v); }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
    friend float total(Lanes a) {
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }

private:
    __m128i halves() const {
        return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
};

#else

using Lanes = One;

#endif

// Ask for the line that holds p, to be read soon. It may lie outside of what is ours.
inline void prefetch(const void *p) {
#if defined(__GNUC__)
    __builtin_prefetch(p);
#else
    (void)p;
#endif
}

// What was streamed becomes visible to other threads.
inline void finish_streaming() {
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

}  // namespace mien::MIEN_ISA
