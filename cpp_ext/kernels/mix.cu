// W+ codes mixed by a weight a layer: style + weight (content - style), to the bits of NumPy.
//
// A code is 72 kB at most, so a batch of them is little work: what counts is the launch, and that
// thousands of threads share it. One number a thread, neighbours side by side.
//
//     grid    as many blocks as cover N L D numbers
//     block   256 threads
#include "device.cuh"

using namespace mien;

extern "C" __global__ void __launch_bounds__(256) mix_f32(
    const float *content,  // [N or 1, L, D]
    const float *style,    // [N or 1, L, D]
    const float *weight,   // [L], of content
    float *out,            // [N, L, D]
    int layers, int width,
    int content_step, int style_step,  // from one code to the next: L D, or 0 where there is one
    int count) {                       // N L D
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int code = layers * width, n = i / code, at = i % code;
    const float w = weight[at / width], c = content[n * content_step + at];
    const float s = style[n * style_step + at];
    // Each operation is rounded: no fma, which would be another number than NumPy's.
    out[i] = w == 1 ? c : __fadd_rn(s, __fmul_rn(w, __fsub_rn(c, s)));
}
