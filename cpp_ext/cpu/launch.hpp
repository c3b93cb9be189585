// A kernel on all of its work: split among threads, with the memory that it needs between.
#pragma once
#include "kernels.hpp"

namespace mien {

void launch(const Kernels &, Adain, int threads);
void launch(const Kernels &, const Mix &, i64 n, int threads);
void launch_floats_from_pixels(const Kernels &, const Resize &, i64 n, int threads);
// Returns whether every number was finite.
bool launch_pixels_from_floats(const Kernels &, const Resize &, i64 n, int threads);
void launch(const Kernels &, const Warp &, int threads);

}  // namespace mien
