// The real type that potentials are evaluated with here: doubles, with the operations that take a
// GPU long done for this engine's arguments. What counts is the number of instructions, and those
// in double precision twice: polynomials take their constants from constant memory, comparisons
// with round numbers are made on the integer side, and no special cases are branched for.
#pragma once

#include <cmath>
#include <cstdint>

#include "../../potentials/table.h"

namespace amorph::engine::device {

struct Number {
    double v;
    Number() = default;
    AMORPH_HOSTDEVICE Number(double x) : v(x) {}
};

AMORPH_HOSTDEVICE inline Number operator+(Number a, Number b) { return a.v + b.v; }
AMORPH_HOSTDEVICE inline Number operator-(Number a, Number b) { return a.v - b.v; }
AMORPH_HOSTDEVICE inline Number operator*(Number a, Number b) { return a.v * b.v; }
AMORPH_HOSTDEVICE inline Number operator/(Number a, Number b) { return a.v / b.v; }
AMORPH_HOSTDEVICE inline Number select(bool condition, Number yes, Number no) {
    return condition ? yes.v : no.v;
}
AMORPH_HOSTDEVICE inline Number square_root(Number a) { return ::sqrt(a.v); }

using potentials::from_bits;
using potentials::high_bits;
using potentials::low_bits;

// Numbers whose upper bits are all there is to them compare by those alone. Where such a number is
// a constant, as 0 and 1 are in the potentials, nothing is left of the question.
AMORPH_HOSTDEVICE inline bool is_round(Number a) {
    return low_bits(a.v) == 0 && high_bits(a.v) >= 0;
}
AMORPH_HOSTDEVICE inline Number larger(Number a, Number b) {
    return (is_round(b) ? high_bits(a.v) >= high_bits(b.v) : a.v > b.v) ? a.v : b.v;
}
AMORPH_HOSTDEVICE inline Number smaller(Number a, Number b) {
    return (is_round(b) ? high_bits(a.v) < high_bits(b.v) : a.v < b.v) ? a.v : b.v;
}
AMORPH_HOSTDEVICE inline bool operator>(Number a, Number b) {
    // What is below 1e-308 passes for zero.
    return is_round(b) && high_bits(b.v) == 0 ? high_bits(a.v) > 0 : a.v > b.v;
}
AMORPH_HOSTDEVICE inline bool operator<(Number a, Number b) { return b > a; }

AMORPH_HOSTDEVICE inline void load_cell(const potentials::Cells& cells, Number s, Number place,
                                        Number& start, Number* cell) {
    double numbers[potentials::Cells::size];
    potentials::load_cell(cells, s.v, place.v, start.v, numbers);
    for (int k = 0; k < potentials::Cells::size; ++k) cell[k] = numbers[k];
}

// 1/sqrt(a) for normal numbers, to a unit in the last place: the instruction's twenty bits and a
// step of third order.
AMORPH_HOSTDEVICE inline Number inverse_square_root(Number a) {
#if defined(__CUDA_ARCH__)
    double y;
    asm("rsqrt.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(a.v));
    const double e = ::fma(-a.v, y * y, 1.0);
    return ::fma(::fma(0.375, e, 0.5), y * e, y);
#else
    return 1.0 / ::sqrt(a.v);
#endif
}

// 1/ln 2, ln 2, and exp(r) = 1 + r + r^2 (c_0 r^9 + ... + c_9) on |r| < ln(2)/2 to 2e-17, by
// interpolation at Chebyshev's nodes.
#define AMORPH_EXPONENTIAL_CONSTANTS                                            \
    {                                                                           \
        1.4426950408889634074,  0.69314718055994530942, 2.510038549551032e-08,  \
        2.7620088445409746e-07, 2.7557268459997064e-06, 2.4801521295954376e-05, \
        1.9841269863053618e-04, 1.3888888917213717e-03, 8.333333333330062e-03,  \
        4.166666666662413e-02,  1.6666666666666669e-01, 5.000000000000001e-01}
#if defined(__CUDACC__)
static __constant__ double exponential_on_device[] = AMORPH_EXPONENTIAL_CONSTANTS;
#endif
AMORPH_HOSTDEVICE inline double exponential_constant(int k) {
#if defined(__CUDA_ARCH__)
    return exponential_on_device[k];
#else
    static constexpr double constants[] = AMORPH_EXPONENTIAL_CONSTANTS;
    return constants[k];
#endif
}

#undef AMORPH_EXPONENTIAL_CONSTANTS

// exp(a) for |a| < 700, to a few units in the last place (the error grows as |a| 1e-16).
AMORPH_HOSTDEVICE inline Number exponential(Number a) {
    constexpr double shift = 6755399441055744.0;  // 1.5 2^52: the sum's low bits are the integer
    const double shifted = a.v * exponential_constant(0) + shift;
    const double r = a.v - (shifted - shift) * exponential_constant(1);
    double p = exponential_constant(2);
    for (int k = 3; k < 12; ++k) p = p * r + exponential_constant(k);
    p = (p * r + 1.0) * r + 1.0;
    return from_bits(high_bits(p) + low_bits(shifted) * (1 << 20), low_bits(p));
}

}  // namespace amorph::engine::device
