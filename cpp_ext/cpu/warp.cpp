// A picture drawn through a 3x3 matrix: each pixel of the result looks up four of the source.
#include "kernels.hpp"
#include "levels.hpp"

namespace mien::MIEN_ISA {

namespace {

constexpr double far = 1e9;  // px; what lies further out is taken as no place at all

// Two neighbours on one axis, and how far the point is on the way from one to the other.
// Outside 0 .. size - 1 an index is that of no pixel.
struct Between {
    i64 first, second;
    float way;
};

Between between(double at, i64 size, Border border) {
    const double last = static_cast<double>(size - 1);
    if (border == Border::edge) {
        at = at < 0 ? 0 : at > last ? last : at;
    } else if (border == Border::reflect) {  // about the centres of the outermost pixels
        at = size == 1 ? 0 : std::fabs(std::fmod(at, 2 * last));
        at = at > last ? 2 * last - at : at;
    }
    const double below = std::floor(at);
    const i64 first = static_cast<i64>(below);
    const i64 second = border == Border::constant || first + 1 < size ? first + 1 : first;
    return {first, second, static_cast<float>(at - below)};
}

struct Colour {
    float v[3];
};

Colour pixel(const Warp &w, i64 row, i64 column) {
    if (row < 0 || row >= w.h || column < 0 || column >= w.w)
        return {{w.fill[0], w.fill[1], w.fill[2]}};
    const std::uint8_t *p = w.source + (row * w.w + column) * 3;
    return {{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2])}};
}

Colour mixed(const Colour &a, const Colour &b, float way) {
    Colour c;
    for (int i = 0; i < 3; ++i) c.v[i] = a.v[i] + way * (b.v[i] - a.v[i]);
    return c;
}

Colour colour_at(const Warp &w, double x, double y) {
    const Between across = between(x, w.w, w.border), down = between(y, w.h, w.border);
    const Colour above = mixed(pixel(w, down.first, across.first),
                               pixel(w, down.first, across.second), across.way);
    const Colour below = mixed(pixel(w, down.second, across.first),
                               pixel(w, down.second, across.second), across.way);
    return mixed(above, below, down.way);
}

}  // namespace

void warp(const Warp &w, i64 begin, i64 end) {
    const double *m = w.m;
    for (i64 row = begin; row < end; ++row) {
        std::uint8_t *out = w.out + row * w.out_w * 3;
        const double v = static_cast<double>(row) + 0.5;
        for (i64 column = 0; column < w.out_w; ++column, out += 3) {
            const double u = static_cast<double>(column) + 0.5;
            const double depth = m[6] * u + m[7] * v + m[8];
            const double x = (m[0] * u + m[1] * v + m[2]) / depth - 0.5;
            const double y = (m[3] * u + m[4] * v + m[5]) / depth - 0.5;
            const bool is_seen = depth > 0 && std::fabs(x) < far && std::fabs(y) < far;
            const Colour c = is_seen ? colour_at(w, x, y)
                                     : Colour{{w.fill[0], w.fill[1], w.fill[2]}};
            for (int i = 0; i < 3; ++i) out[i] = level_from(c.v[i]);
        }
    }
}

}  // namespace mien::MIEN_ISA
