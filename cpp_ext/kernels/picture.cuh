// Pictures and places in them, which the kernels that crop and paste share.
#pragma once
#include "device.cuh"

namespace mien {

// A coordinate in px with 32 bits of fraction. A matrix of such numbers times whole pixels is exact,
// where float32 would be off by a thousandth of a pixel in a photograph, and float64 is slow on most
// GPUs.
using Fixed = long long;
constexpr Fixed one = 1LL << 32;

// From points of a result to points of its source, both counted from pixel centres:
// x = xx * column + xy * row + x0.
struct Map {
    Fixed xx, xy, x0, yx, yy, y0;

    __device__ Fixed x(int column, int row) const { return xx * column + xy * row + x0; }
    __device__ Fixed y(int column, int row) const { return yx * column + yy * row + y0; }
};

enum Border { border_constant, border_edge, border_reflect };

// Two neighbours on one axis, and how far the point is on the way from one to the other.
// With border_constant either may lie outside 0 .. size - 1.
struct Between {
    int first, second;
    float way;
};

__device__ inline Between between(Fixed at, int size, int border) {
    const Fixed last = static_cast<Fixed>(size - 1) * one;
    if (border == border_edge) {
        at = at < 0 ? 0 : at > last ? last : at;
    } else if (border == border_reflect) {  // about the centres of the outermost pixels
        at = at < 0 ? -at : at;
        if (at > last) {  // the division is slow, and few points need it
            at = last == 0 ? 0 : at % (2 * last);
            at = at > last ? 2 * last - at : at;
        }
    }
    const int first = static_cast<int>(at >> 32);
    const bool ends = border != border_constant && first + 1 >= size;
    const float way = static_cast<float>(static_cast<unsigned>(at)) * 0x1p-32f;
    return {first, ends ? first : first + 1, way};
}

__device__ inline float mixed(float a, float b, float way) { return fmaf(way, b - a, a); }

// f(row, column) between its four neighbours.
template <class At> __device__ float bilinear(const Between &down, const Between &across, At f) {
    const float above = mixed(f(down.first, across.first), f(down.first, across.second), across.way);
    const float below = mixed(f(down.second, across.first), f(down.second, across.second), across.way);
    return mixed(above, below, down.way);
}

// Cut to 0..255, rounded to nearest even; NaN becomes 0.
__device__ inline unsigned char level_from(float value) {
    return static_cast<unsigned char>(rintf(fminf(fmaxf(value, 0), 255)));
}

}  // namespace mien
