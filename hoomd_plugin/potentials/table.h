// Any pair potential as a table: piecewise polynomials of the squared distance s = r^2.
//
// A table has cells. Each octave of s is 2^bits of them, all equally wide, so that a cell's number
// and its beginning are the upper bits of s as a floating-point number: finding it takes a shift,
// whatever the range of distances. The distances at which u'' jumps, the breaks, the last of which
// is the cutoff, end cells too: the cell that one lies in is there twice, and every break at or
// below s moves its place by one. Within a cell, t = s - (its beginning),
//
//   -u'(r)/r = g(t) = g0 + g1 t + ... + g6 t^6
//   u(r)     = u0 - (1/2) (g0 t + g1 t^2 / 2 + ... + g6 t^7 / 7)
//
// since du/ds = u'(r) / (2 r): neither roots nor divisions, and the force is that of the energy,
// its slope that of the force. The first cell reaches down to r = 0, the last is empty.
//
// What it costs: cells are 64 bytes, a cache line each. With u and u' to 1e-8, Lennard-Jones takes
// 16 cells an octave, 4 kB in all, of which pairs that touch use 3: they stay in the first-level
// cache. Eight pairs are eight lines, read as 16 halves (8 cycles), 16 shuffles (16 cycles on one
// port) and 7 fused operations, where two exponentials and a root take about 45 operations on two
// ports: a table is as fast as a formula of that kind. Gathering the coefficients one by one would
// take 56 loads.
#pragma once

#include <cstdint>

#include "real.h"

namespace amorph::potentials {

// The halves of a double's bits.
AMORPH_HOSTDEVICE inline std::int64_t bits_of(double x) {
    std::int64_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}
AMORPH_HOSTDEVICE inline std::int32_t high_bits(double x) {
#if defined(__CUDA_ARCH__)
    return __double2hiint(x);
#else
    return std::int32_t(bits_of(x) >> 32);
#endif
}
AMORPH_HOSTDEVICE inline std::int32_t low_bits(double x) {
#if defined(__CUDA_ARCH__)
    return __double2loint(x);
#else
    return std::int32_t(bits_of(x));
#endif
}
AMORPH_HOSTDEVICE inline double from_bits(std::int32_t high, std::int32_t low) {
#if defined(__CUDA_ARCH__)
    return __hiloint2double(high, low);
#else
    const std::int64_t bits =
        std::int64_t(high) * (std::int64_t(1) << 32) | std::int64_t(std::uint32_t(low));
    double x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
#endif
}

// The cells of all pairs of types.
struct Cells {
    static constexpr int size = 8;  // doubles of a cell: g0 to g6, u0
    static constexpr int most_bits = 16;
    const double* first = nullptr;  // at a multiple of 64 bytes; this cell is empty
    int bits = 0;
    int n_breaks = 0;  // of a pair of types, at most
};

// The cell that s lies in: its numbers and its beginning. `place` is the sum of a pair's origin and
// of the breaks at or below s. Packs of doubles and other numbers bring their own.
AMORPH_HOSTDEVICE inline void load_cell(const Cells& cells, double s, double place, double& start,
                                        double* cell) {
    const int shift = 20 - cells.bits;
    const std::int32_t number = high_bits(s) >> shift;
    start = from_bits(number << shift, 0);
    const double* const from = cells.first + std::int64_t(number + low_bits(place)) * Cells::size;
    for (int k = 0; k < Cells::size; ++k) cell[k] = from[k];
}

struct Table {
    static constexpr const char* name = "table";
    static constexpr int most_breaks = 8;

    // Of a pair of types. Breaks ascend; where a pair has fewer than others, its first ones are 0.
    enum Coefficient {
        origin,       // 1.5 2^52, and the place of its first cell less the number of that among s
        wall,         // the beginning of its first cell
        first_break,  // squared
        n_coefficients = first_break + most_breaks
    };

    // A pair of types, for one double at a time: its coefficients lie `stride` apart.
    struct Pair {
        const Cells& cells;
        const double* coefficients;
        std::int64_t stride;
        AMORPH_HOSTDEVICE double operator[](int k) const { return coefficients[k * stride]; }
    };

    // t and the cell's numbers. NaN finds a cell too, and leaves it as NaN.
    template <class Real, class OfPair>
    AMORPH_HOSTDEVICE static Real find(Real r_squared, const OfPair& c, Real* cell) {
        const int n = c.cells.n_breaks;
        Real place = c[origin];
        Real s = larger(r_squared, Real(c[wall]));
        for (int k = 0; k < n; ++k) {
            const Real at = c[first_break + k];
            place = place + select(r_squared < at, Real(0), Real(1));
            if (k == n - 1) s = smaller(s, at);
        }
        Real start;
        load_cell(c.cells, s, place, start, cell);
        return r_squared - start;
    }

    template <class Real>
    AMORPH_HOSTDEVICE static Real force(Real t, const Real* g) {
        const Real t2 = t * t;
        return (g[0] + g[1] * t) + t2 * ((g[2] + g[3] * t) + t2 * ((g[4] + g[5] * t) + t2 * g[6]));
    }

    // Energy and -u'(r)/r of one pair; both vanish at and beyond the cutoff.
    template <class Real, class OfPair>
    AMORPH_HOSTDEVICE static void evaluate(Real r_squared, const OfPair& c, Real& energy,
                                           Real& force_over_r) {
        Real g[Cells::size];
        const Real t = find(r_squared, c, g);
        const Real t2 = t * t;
        force_over_r = force(t, g);
        const Real high =
            (Real(0.2) * g[4] + Real(1.0 / 6) * g[5] * t) + t2 * (Real(1.0 / 7) * g[6]);
        const Real low = (g[0] + Real(0.5) * g[1] * t) +
                         t2 * ((Real(1.0 / 3) * g[2] + Real(0.25) * g[3] * t) + t2 * high);
        energy = g[7] - Real(0.5) * t * low;
    }

    // -u'(r)/r and its derivative with respect to r^2.
    template <class Real, class OfPair>
    AMORPH_HOSTDEVICE static void force_and_slope(Real r_squared, const OfPair& c,
                                                  Real& force_over_r, Real& slope) {
        Real g[Cells::size];
        const Real t = find(r_squared, c, g);
        const Real t2 = t * t;
        force_over_r = force(t, g);
        slope = (g[1] + Real(2) * g[2] * t) + t2 * ((Real(3) * g[3] + Real(4) * g[4] * t) +
                                                    t2 * (Real(5) * g[5] + Real(6) * g[6] * t));
    }
};

}  // namespace amorph::potentials
