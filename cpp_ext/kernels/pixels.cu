// Between pictures, uint8 RGB [N, H, W, 3], and images, RGB [N, 3, H, W], of the same size.
//
// A thread takes a pixel. Its three bytes lie next to its neighbour's, so that a warp reads or
// writes 96 bytes in one piece; planes are reached 64 or 128 bytes at a time.
//
//     grid    (blocks that cover H W, N)
//     block   256 threads
#include "picture.cuh"

namespace mien {

// A number of each channel: image = level * scale + shift, or the other way round.
struct Channels {
    float r, g, b;
    __device__ float of(int channel) const { return channel == 0 ? r : channel == 1 ? g : b; }
};

template <class T>
__device__ void to_image(const unsigned char *picture, T *image, int pixels, Channels scale, Channels shift) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const long long first = 3LL * pixels * blockIdx.y;
#pragma unroll
    for (int k = 0; k < 3; ++k)
        image[first + static_cast<long long>(k) * pixels + i] =
            stored<T>(fmaf(picture[first + 3LL * i + k], scale.of(k), shift.of(k)));
}

template <class T>
__device__ void to_picture(const T *image, unsigned char *picture, int *odd, int pixels, Channels scale,
                           Channels shift) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const long long first = 3LL * pixels * blockIdx.y;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float x = number(image[first + static_cast<long long>(k) * pixels + i]);
        if (!(fabsf(x) <= largest)) *odd = 1;  // whoever finds one writes the same
        picture[first + 3LL * i + k] = level_from(fmaf(x, scale.of(k), shift.of(k)));
    }
}

}  // namespace mien

using namespace mien;

// odd: set to 1 where the image holds NaN or infinity, else left alone.
#define PIXELS(SUFFIX, T)                                                                          \
    extern "C" __global__ void __launch_bounds__(256) floats_from_pixels_##SUFFIX(                 \
        const unsigned char *picture, T *image, int pixels, float scale_r, float scale_g,          \
        float scale_b, float shift_r, float shift_g, float shift_b) {                              \
        to_image(picture, image, pixels, {scale_r, scale_g, scale_b}, {shift_r, shift_g, shift_b});\
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(256) pixels_from_floats_##SUFFIX(                 \
        const T *image, unsigned char *picture, int *odd, int pixels, float scale_r,               \
        float scale_g, float scale_b, float shift_r, float shift_g, float shift_b) {               \
        to_picture(image, picture, odd, pixels, {scale_r, scale_g, scale_b},                       \
                   {shift_r, shift_g, shift_b});                                                   \
    }

PIXELS(f32, float)
PIXELS(f16, Half)
PIXELS(bf16, Bfloat)
