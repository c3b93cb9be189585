// Two W+ codes mixed layer by layer: the bits of the definition, which rounds after each step.
#include "kernels.hpp"
#include "simd.hpp"

namespace mien::MIEN_ISA {

namespace {

template <class V> void blend(const float *a, const float *b, float weight, float *out) {
    const V content = V::load(a), style = V::load(b);
    (style + V(weight) * (content - style)).store(out);
}

}  // namespace

void mix(const Mix &m, i64 begin, i64 end) {
    for (i64 row = begin; row < end; ++row) {
        const i64 code = row / m.layers, layer = row % m.layers;
        const float *a = m.a + code * m.a_step + layer * m.width;
        const float *b = m.b + code * m.b_step + layer * m.width;
        float *out = m.out + row * m.width;
        const float weight = m.weight[layer];
        i64 i = 0;
        if (weight == 1) {  // b + (a - b) would round twice
            for (; i < m.width; ++i) out[i] = a[i];
            continue;
        }
        for (; i + Lanes::lanes <= m.width; i += Lanes::lanes)
            blend<Lanes>(a + i, b + i, weight, out + i);
        for (; i < m.width; ++i) blend<One>(a + i, b + i, weight, out + i);
    }
}

}  // namespace mien::MIEN_ISA
