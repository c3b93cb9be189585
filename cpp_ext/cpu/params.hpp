// What each kernel is told: plain structures, shapes in comments. Checked by bind.cpp.
#pragma once
#include <cstdint>

namespace mien {

using i64 = std::int64_t;

struct Half {
    std::uint16_t bits;  // IEEE binary16
};

struct Adain {
    const void *x;          // [N, C, H, W] or [N, H, W, C], float or Half
    void *y;                // the same, H and W times `up`; x itself where up is 1
    const float *gamma;     // [N, C]
    const float *beta;      // [N, C]
    const float *noise;     // [N, H, W], [H, W] or null
    const float *strength;  // [C] or null
    i64 n, c, h, w;
    i64 noise_step;         // from one sample's noise to the next: H * W, or 0 where it is shared
    float slope_before;     // leaky ReLU in front of the statistics; 1 is none
    float slope;            // leaky ReLU behind the affine; 1 is none
    int up;                 // 1 or 2
    bool half;              // x and y are Half
    bool channels_last;
    bool stream;            // y is too large to be found in a cache later: write past it

    // Channels last only: pixels are taken in chunks, whose moments are merged.
    i64 chunk, chunks;      // pixels in a chunk, chunks in a sample
    double *moments;        // [N, chunks, 2, C]: mean, squares (adain.hpp)
    float *affine;          // [N, 3, C]: half_mean, scale, shift (adain.hpp)

    i64 pixels() const { return h * w; }
};

struct Mix {
    const float *a, *b;     // [N or 1, L, D]
    const float *weight;    // [L], of a
    float *out;             // [N, L, D]
    i64 layers, width;
    i64 a_step, b_step;     // from one code to the next: L * D, or 0
};

// One axis of a separable resampling: result i is the sum over k of
// weight[k, i] * source[first[i] + k].
struct Taps {
    const std::int32_t *first;  // [size]
    const float *weight;        // [count, size]
    i64 count, size;
};

struct Resize {
    const void *source;     // uint8 [N, H, W, 3] or float [N, 3, H, W]
    void *out;              // float [N, 3, rows.size, columns.size] or uint8 [N, ., ., 3]
    i64 h, w;               // of the source
    Taps rows, columns;
    float scale[3], shift[3];  // a result times scale plus shift, in each channel
};

enum class Border { constant, edge, reflect };

struct Warp {
    const std::uint8_t *source;  // [H, W, 3]
    std::uint8_t *out;           // [out_h, out_w, 3]
    i64 h, w, out_h, out_w;
    double m[9];                 // from points of the result to points of the source
    float fill[3];
    Border border;
};

}  // namespace mien
