// Adam (Kingma and Ba 2015, Algorithm 1) over codes, with its learning rates on the device, so that
// a captured graph is replayed step after step and nothing comes from the host.
//
//     grid    as many blocks as cover the numbers
//     block   256 threads
#include "device.cuh"

namespace mien {

constexpr float beta1 = 0.9f, beta2 = 0.999f, adam_eps = 1e-8f;
constexpr float rest1 = 0.1f, rest2 = 0.001f;  // 1 - 0.999f would be off by a part in 10^5
constexpr float log_beta1 = -0.105360515657826f, log_beta2 = -0.00100050033358353f;

}  // namespace mien

using namespace mien;

extern "C" __global__ void __launch_bounds__(256) adam_f32(
    float *ws, float *m, float *v,  // [count], changed in place
    const float *gradient,          // [count]
    const float *rates,             // [steps], of the first, the second, ...; the last one stays
    float *t,                       // [1], steps already taken; one more afterwards
    unsigned *done,                 // [1], zero before and after: blocks that have read t
    int steps, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const float before = *t, now = before + 1;
    if (i < count) {
        const float rate = rates[least(static_cast<int>(before), steps - 1)];
        // 1 - beta^t by expm1: at t = 1 the difference would keep four digits.
        const float unbiased1 = -1 / expm1f(now * log_beta1), unbiased2 = -1 / expm1f(now * log_beta2);
        const float g = gradient[i];
        const float mean = beta1 * m[i] + rest1 * g;
        const float square = beta2 * v[i] + rest2 * g * g;
        ws[i] -= rate * (mean * unbiased1) / (sqrtf(square * unbiased2) + adam_eps);
        m[i] = mean;
        v[i] = square;
    }
    __syncthreads();  // all of this block have read t
    if (threadIdx.x != 0) return;
    __threadfence();
    // The last block to come here moves t on: all others have read it. The count wraps to zero.
    if (atomicInc(done, gridDim.x - 1) == gridDim.x - 1) *t = now;
}
