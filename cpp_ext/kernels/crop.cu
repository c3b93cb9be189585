// A part of a picture, cut out through an affine map and normalised in one pass: what stands in front
// of a network that takes aligned faces.
//
// A thread takes a pixel of the result. Neighbouring threads look up neighbouring places, which the
// caches serve; bytes of a photograph are read once or twice from memory.
//
//     grid    (blocks that cover the width, height)
//     block   256 threads
#include "picture.cuh"

namespace mien {

template <class T>
__device__ void crop(const unsigned char *picture, T *image, int h, int w, int height, int width, Map map,
                     int border, float fill, float scale, float shift) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y;
    if (column >= width) return;
    const Between across = between(map.x(column, row), w, border);
    const Between down = between(map.y(column, row), h, border);
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float level = bilinear(down, across, [&](int y, int x) -> float {
            if (y < 0 || y >= h || x < 0 || x >= w) return fill;
            return picture[(static_cast<long long>(y) * w + x) * 3 + k];
        });
        image[(static_cast<long long>(k) * height + row) * width + column] =
            stored<T>(fmaf(level, scale, shift));
    }
}

}  // namespace mien

using namespace mien;

// xx .. y0: the Map from pixels of the image to those of the picture.
#define CROP(SUFFIX, T)                                                                            \
    extern "C" __global__ void __launch_bounds__(256) crop_##SUFFIX(                               \
        const unsigned char *picture, /* [h, w, 3] */                                              \
        T *image,                     /* [3, height, width] */                                     \
        int h, int w, int height, int width, Fixed xx, Fixed xy, Fixed x0, Fixed yx, Fixed yy,     \
        Fixed y0, int border, float fill, float scale, float shift) {                              \
        crop(picture, image, h, w, height, width, {xx, xy, x0, yx, yy, y0}, border, fill, scale,   \
             shift);                                                                               \
    }

CROP(f32, float)
CROP(f16, Half)
CROP(bf16, Bfloat)
