// Between uint8 [N, H, W, 3] and float [N, 3, H, W], resampled on the way: first along columns,
// then along the one row that this leaves. The loops are plain: compilers vectorise them.
#include "kernels.hpp"
#include "levels.hpp"

namespace mien::MIEN_ISA {

namespace {

constexpr float largest = 0x1.fffffep127f;

// out[i] = sum over k of weight[k, row] * source[first[row] + k, i], of `width` numbers a row.
template <class T>
void down_columns(const Taps &t, i64 row, const T *source, i64 width, float *out) {
    source += t.first[row] * width;
    for (i64 k = 0; k < t.count; ++k, source += width) {
        const float weight = t.weight[k * t.size + row];
        if (k == 0)
            for (i64 i = 0; i < width; ++i) out[i] = weight * static_cast<float>(source[i]);
        else
            for (i64 i = 0; i < width; ++i) out[i] += weight * static_cast<float>(source[i]);
    }
}

// The same along a row whose neighbours lie `stride` apart.
void along_row(const Taps &t, const float *row, i64 stride, float *out) {
    for (i64 k = 0; k < t.count; ++k) {
        const float *weight = t.weight + k * t.size;
        const float *source = row + k * stride;
        if (k == 0)
            for (i64 i = 0; i < t.size; ++i) out[i] = weight[i] * source[t.first[i] * stride];
        else
            for (i64 i = 0; i < t.size; ++i) out[i] += weight[i] * source[t.first[i] * stride];
    }
}

}  // namespace

void floats_from_pixels(const Resize &r, i64 begin, i64 end, float *scratch) {
    const i64 height = r.rows.size, width = r.columns.size;
    for (i64 index = begin; index < end; ++index) {
        const i64 n = index / height, row = index % height;
        const auto *source = static_cast<const std::uint8_t *>(r.source) + n * r.h * r.w * 3;
        down_columns(r.rows, row, source, 3 * r.w, scratch);  // [W, 3]
        for (i64 channel = 0; channel < 3; ++channel) {
            float *out = static_cast<float *>(r.out) + ((3 * n + channel) * height + row) * width;
            along_row(r.columns, scratch + channel, 3, out);
            const float scale = r.scale[channel], shift = r.shift[channel];
            for (i64 i = 0; i < width; ++i) out[i] = out[i] * scale + shift;
        }
    }
}

bool pixels_from_floats(const Resize &r, i64 begin, i64 end, float *scratch) {
    const i64 height = r.rows.size, width = r.columns.size;
    float *line = scratch + r.w;  // [width], behind a row of the source
    bool finite = true;
    for (i64 index = begin; index < end; ++index) {
        const i64 n = index / height, row = index % height;
        auto *out = static_cast<std::uint8_t *>(r.out) + index * width * 3;
        for (i64 channel = 0; channel < 3; ++channel) {
            const float *source = static_cast<const float *>(r.source) + (3 * n + channel) * r.h * r.w;
            down_columns(r.rows, row, source, r.w, scratch);
            along_row(r.columns, scratch, 1, line);
            const float scale = r.scale[channel], shift = r.shift[channel];
            int odd = 0;
            for (i64 i = 0; i < width; ++i) odd |= !(std::fabs(line[i]) <= largest);
            for (i64 i = 0; i < width; ++i)
                out[3 * i + channel] = level_from(line[i] * scale + shift);
            finite = finite && !odd;
        }
    }
    return finite;
}

}  // namespace mien::MIEN_ISA
