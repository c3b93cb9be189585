// The kernels as Python functions of module mien._ext.
//
// mien.ops checks what users hand in, and says what is wrong in their words. What is checked here
// keeps the memory safe whoever calls: dtype and contiguity by the argument types, then shapes.
// The interpreter's lock is released around the work.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/launch.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using mien::i64;

namespace {

template <class T, int dims>
using In = nb::ndarray<const T, nb::ndim<dims>, nb::c_contig, nb::device::cpu>;
template <class T, int dims>
using Out = nb::ndarray<T, nb::ndim<dims>, nb::c_contig, nb::device::cpu>;
using AnyIn = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using AnyOut = nb::ndarray<nb::c_contig, nb::device::cpu>;

void require(bool holds, const char *what) {
    if (!holds) throw std::invalid_argument(what);
}

template <class A> bool has_shape(const A &array, std::initializer_list<i64> shape) {
    if (array.ndim() != shape.size()) return false;
    std::size_t axis = 0;
    for (const i64 size : shape)
        if (static_cast<i64>(array.shape(axis++)) != size) return false;
    return true;
}

template <class A> i64 size_of(const A &array, int axis) {
    return static_cast<i64>(array.shape(axis));
}

const mien::Kernels &kernels_of(const std::string &isa) {
    for (auto each = mien::available(); *each; ++each)
        if (isa.empty() || isa == (*each)->isa) return **each;
    throw std::invalid_argument("this machine has no " + isa);
}

template <class A> bool is_half(const A &array) {
    const nb::dlpack::dtype half{static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
    require(array.dtype() == nb::dtype<float>() || array.dtype() == half,
            "x and out must be float32 or float16");
    return array.dtype() == half;
}

void adain(AnyIn x, In<float, 2> gamma, In<float, 2> beta, std::optional<In<float, 3>> noise,
           std::optional<In<float, 1>> strength, float slope_before, float slope, int up,
           bool channels_last, AnyOut out, int threads, const std::string &isa) {
    require(x.ndim() == 4, "x must have 4 dimensions");
    mien::Adain a{};
    a.x = x.data();
    a.y = out.data();
    a.half = is_half(x);
    a.channels_last = channels_last;
    a.n = size_of(x, 0);
    a.c = size_of(x, channels_last ? 3 : 1);
    a.h = size_of(x, channels_last ? 1 : 2);
    a.w = size_of(x, channels_last ? 2 : 3);
    a.up = up;
    a.slope_before = slope_before;
    a.slope = slope;
    require(x.size() > 0, "x must not be empty");
    require(up == 1 || up == 2, "up must be 1 or 2");
    require(is_half(out) == a.half, "out must have the dtype of x");
    require(channels_last ? has_shape(out, {a.n, up * a.h, up * a.w, a.c})
                          : has_shape(out, {a.n, a.c, up * a.h, up * a.w}),
            "out has another shape");
    require(has_shape(gamma, {a.n, a.c}) && has_shape(beta, {a.n, a.c}),
            "gamma and beta must be [N, C]");
    a.gamma = gamma.data();
    a.beta = beta.data();
    require(noise.has_value() == strength.has_value(), "noise and strength go together");
    if (noise) {
        require(has_shape(*noise, {a.n, a.h, a.w}) || has_shape(*noise, {1, a.h, a.w}),
                "noise must be [N or 1, H, W]");
        require(has_shape(*strength, {a.c}), "strength must be [C]");
        a.noise = noise->data();
        a.strength = strength->data();
        a.noise_step = size_of(*noise, 0) == 1 ? 0 : a.pixels();
    }
    const mien::Kernels &kernels = kernels_of(isa);
    nb::gil_scoped_release unlocked;
    mien::launch(kernels, a, threads);
}

void mix(In<float, 3> a, In<float, 3> b, In<float, 1> weight, Out<float, 3> out, int threads,
         const std::string &isa) {
    const i64 n = size_of(out, 0);
    mien::Mix m{};
    m.layers = size_of(out, 1);
    m.width = size_of(out, 2);
    const i64 size = m.layers * m.width;
    for (const auto *code : {&a, &b})
        require(has_shape(*code, {n, m.layers, m.width}) ||
                    has_shape(*code, {1, m.layers, m.width}),
                "codes must be [N or 1, L, D]");
    require(has_shape(weight, {m.layers}), "weight must be [L]");
    m.a = a.data();
    m.b = b.data();
    m.weight = weight.data();
    m.out = out.data();
    m.a_step = size_of(a, 0) == 1 ? 0 : size;
    m.b_step = size_of(b, 0) == 1 ? 0 : size;
    const mien::Kernels &kernels = kernels_of(isa);
    nb::gil_scoped_release unlocked;
    mien::launch(kernels, m, n, threads);
}

using First = In<std::int32_t, 1>;   // [size]
using Weights = In<float, 2>;        // [count, size]

mien::Taps taps_of(const First &first, const Weights &weights, i64 source, i64 size) {
    mien::Taps t{first.data(), weights.data(), size_of(weights, 0), size};
    require(has_shape(first, {size}) && has_shape(weights, {t.count, size}) && t.count > 0,
            "there must be taps for each number of the result");
    for (i64 i = 0; i < size; ++i)
        require(t.first[i] >= 0 && t.first[i] + t.count <= source, "a tap lies outside");
    return t;
}

void set_colours(mien::Resize &r, const std::vector<float> &scale,
                 const std::vector<float> &shift) {
    require(scale.size() == 3 && shift.size() == 3, "scale and shift must have 3 numbers");
    std::memcpy(r.scale, scale.data(), sizeof r.scale);
    std::memcpy(r.shift, shift.data(), sizeof r.shift);
}

void floats_from_pixels(In<std::uint8_t, 4> source, First first_row, Weights row_weights,
                        First first_column, Weights column_weights,
                        const std::vector<float> &scale, const std::vector<float> &shift,
                        Out<float, 4> out, int threads, const std::string &isa) {
    mien::Resize r{};
    const i64 n = size_of(source, 0);
    r.source = source.data();
    r.out = out.data();
    r.h = size_of(source, 1);
    r.w = size_of(source, 2);
    require(size_of(source, 3) == 3 && size_of(out, 0) == n && size_of(out, 1) == 3,
            "source must be [N, H, W, 3] and out [N, 3, H, W]");
    r.rows = taps_of(first_row, row_weights, r.h, size_of(out, 2));
    r.columns = taps_of(first_column, column_weights, r.w, size_of(out, 3));
    set_colours(r, scale, shift);
    const mien::Kernels &kernels = kernels_of(isa);
    nb::gil_scoped_release unlocked;
    mien::launch_floats_from_pixels(kernels, r, n, threads);
}

bool pixels_from_floats(In<float, 4> source, First first_row, Weights row_weights,
                        First first_column, Weights column_weights,
                        const std::vector<float> &scale, const std::vector<float> &shift,
                        Out<std::uint8_t, 4> out, int threads, const std::string &isa) {
    mien::Resize r{};
    const i64 n = size_of(source, 0);
    r.source = source.data();
    r.out = out.data();
    r.h = size_of(source, 2);
    r.w = size_of(source, 3);
    require(size_of(source, 1) == 3 && size_of(out, 0) == n && size_of(out, 3) == 3,
            "source must be [N, 3, H, W] and out [N, H, W, 3]");
    r.rows = taps_of(first_row, row_weights, r.h, size_of(out, 1));
    r.columns = taps_of(first_column, column_weights, r.w, size_of(out, 2));
    set_colours(r, scale, shift);
    const mien::Kernels &kernels = kernels_of(isa);
    nb::gil_scoped_release unlocked;
    return mien::launch_pixels_from_floats(kernels, r, n, threads);
}

mien::Border border_of(const std::string &name) {
    if (name == "constant") return mien::Border::constant;
    if (name == "edge") return mien::Border::edge;
    require(name == "reflect", "border must be constant, edge or reflect");
    return mien::Border::reflect;
}

void warp(In<std::uint8_t, 3> source, In<double, 2> matrix, const std::string &border,
          const std::vector<float> &fill, Out<std::uint8_t, 3> out, int threads,
          const std::string &isa) {
    mien::Warp w{};
    w.source = source.data();
    w.out = out.data();
    w.h = size_of(source, 0);
    w.w = size_of(source, 1);
    w.out_h = size_of(out, 0);
    w.out_w = size_of(out, 1);
    w.border = border_of(border);
    require(source.size() > 0 && size_of(source, 2) == 3 && size_of(out, 2) == 3,
            "source and out must be [H, W, 3]");
    require(has_shape(matrix, {3, 3}), "matrix must be [3, 3]");
    require(fill.size() == 3, "fill must have 3 numbers");
    std::memcpy(w.m, matrix.data(), sizeof w.m);
    std::memcpy(w.fill, fill.data(), sizeof w.fill);
    const mien::Kernels &kernels = kernels_of(isa);
    nb::gil_scoped_release unlocked;
    mien::launch(kernels, w, threads);
}

std::vector<std::string> isas() {
    std::vector<std::string> names;
    for (auto each = mien::available(); *each; ++each) names.emplace_back((*each)->isa);
    return names;
}

}  // namespace

NB_MODULE(_ext, m) {
    m.doc() = "Compiled twins of mien.ops. Call them through it.";
    m.def("isas", &isas, "Instruction sets that there are kernels for here, best first.");
    m.def("adain", &adain, "x"_a.noconvert(), "gamma"_a.noconvert(), "beta"_a.noconvert(),
          "noise"_a.noconvert().none(), "strength"_a.noconvert().none(), "slope_before"_a,
          "slope"_a, "up"_a, "channels_last"_a, "out"_a.noconvert(), "threads"_a, "isa"_a = "");
    m.def("mix", &mix, "a"_a.noconvert(), "b"_a.noconvert(), "weight"_a.noconvert(),
          "out"_a.noconvert(), "threads"_a, "isa"_a = "");
    m.def("floats_from_pixels", &floats_from_pixels, "source"_a.noconvert(),
          "first_row"_a.noconvert(), "row_weights"_a.noconvert(), "first_column"_a.noconvert(),
          "column_weights"_a.noconvert(), "scale"_a, "shift"_a, "out"_a.noconvert(), "threads"_a,
          "isa"_a = "");
    m.def("pixels_from_floats", &pixels_from_floats, "source"_a.noconvert(),
          "first_row"_a.noconvert(), "row_weights"_a.noconvert(), "first_column"_a.noconvert(),
          "column_weights"_a.noconvert(), "scale"_a, "shift"_a, "out"_a.noconvert(), "threads"_a,
          "isa"_a = "");
    m.def("warp", &warp, "source"_a.noconvert(), "matrix"_a.noconvert(), "border"_a, "fill"_a,
          "out"_a.noconvert(), "threads"_a, "isa"_a = "");
}
