// The way back: an image is laid over the square of a photograph that it was cut from, fading in
// from the edge of the square. The photograph is changed in place; outside the square no byte is.
//
// A thread takes a pixel of the part of the photograph that the square touches.
//
//     grid    (blocks that cover the part's width, its height)
//     block   256 threads
#include "picture.cuh"

namespace mien {

// 1 inside, falling smoothly to 0 at both ends of [0, 1], and 0 beyond.
__device__ inline float ramp(float position, float feather) {
    const float inside = fminf(position, 1 - position);
    if (feather == 0) return inside > 0 ? 1.0f : 0.0f;
    const float part = fminf(fmaxf(inside / feather, 0), 1);
    return part * part * (3 - 2 * part);
}

template <class T>
__device__ void paste(unsigned char *photo, const T *image, int photo_w, int left, int top, int part_w,
                      int size, Map map, float feather, float scale, float shift) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= part_w) return;
    const int x = left + column, y = top + static_cast<int>(blockIdx.y);
    const Fixed across = map.x(x, y), down = map.y(x, y);
    const float side = 0x1p-32f / static_cast<float>(size);  // the square is [0, 1] on both axes
    const float weight = ramp(static_cast<float>(across + one / 2) * side, feather)
                       * ramp(static_cast<float>(down + one / 2) * side, feather);
    if (weight == 0) return;
    const Between u = between(across, size, border_edge), v = between(down, size, border_edge);
    unsigned char *pixel = photo + (static_cast<long long>(y) * photo_w + x) * 3;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float value = bilinear(v, u, [&](int row, int col) {
            return number(image[(static_cast<long long>(k) * size + row) * size + col]);
        });
        const float level = fminf(fmaxf(fmaf(value, scale, shift), 0), 255);
        pixel[k] = level_from(mixed(pixel[k], level, weight));
    }
}

}  // namespace mien

using namespace mien;

// xx .. y0: the Map from pixels of the photograph to those of the image.
#define PASTE(SUFFIX, T)                                                                           \
    extern "C" __global__ void __launch_bounds__(256) paste_##SUFFIX(                              \
        unsigned char *photo, /* [., photo_w, 3] */                                                \
        const T *image,       /* [3, size, size] */                                                \
        int photo_w, int left, int top, int part_w, int size, Fixed xx, Fixed xy, Fixed x0,        \
        Fixed yx, Fixed yy, Fixed y0, float feather, float scale, float shift) {                   \
        paste(photo, image, photo_w, left, top, part_w, size, {xx, xy, x0, yx, yy, y0}, feather,   \
              scale, shift);                                                                       \
    }

PASTE(f32, float)
PASTE(f16, Half)
PASTE(bf16, Bfloat)
