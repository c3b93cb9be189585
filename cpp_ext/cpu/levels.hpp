// From float to uint8: cut to 0..255, rounded to nearest even. NaN becomes 0.
#pragma once
#include "simd.hpp"

namespace mien::MIEN_ISA {

inline std::uint8_t level_from(float value) {
    const float high = value > 0 ? value : 0;
    const float cut = high < 255 ? high : 255;
    // Below 2^22, adding 1.5 * 2^23 leaves no place for a fraction: the processor rounds it away.
    return static_cast<std::uint8_t>(static_cast<int>(cut + 0x1.8p23f - 0x1.8p23f));
}

}  // namespace mien::MIEN_ISA
