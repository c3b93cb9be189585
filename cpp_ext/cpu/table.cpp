// The table of one instruction set; compiled once for each, as the kernels are.
#include "kernels.hpp"

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

namespace mien::MIEN_ISA {

void adain_planes(const Adain &, i64, i64);
void adain_moments(const Adain &, i64, i64);
void adain_affines(const Adain &, i64, i64);
void adain_apply(const Adain &, i64, i64);
void mix(const Mix &, i64, i64);
void floats_from_pixels(const Resize &, i64, i64, float *);
bool pixels_from_floats(const Resize &, i64, i64, float *);
void warp(const Warp &, i64, i64);

const Kernels kernels = {
    TEXT(MIEN_ISA),
    adain_planes,
    adain_moments,
    adain_affines,
    adain_apply,
    mix,
    floats_from_pixels,
    pixels_from_floats,
    warp,
};

}  // namespace mien::MIEN_ISA
