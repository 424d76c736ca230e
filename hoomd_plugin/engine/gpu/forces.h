// The force loop: every particle sums over its row, so that each pair is evaluated twice, but
// nothing is shared between threads and the order of the sums is fixed.
//
// What it costs, for harmonic-Morse pairs in two dimensions as compiled for compute capability 9.0:
// 100 instructions, 48 of them in double precision (68 operations, a fused one being two). A warp's
// instruction in double precision holds its quarter of a multiprocessor for two cycles: 96 cycles
// against 100 for issuing all. A quench of N = 368, a = 6, density 1.6 takes 622 steps and 37
// lists, with 37 entries a row (32 within the cutoff), the longest of a warp 40. In cycles of one
// multiprocessor a step is
//   12 warps x 40 x 100 / 4 = 12,000 for forces, 1,500 for sums and moves, 1,300 for lists,
// a quench 9.2e6. The 132 of an H200 at 1.75 GHz do 25,000 a second at most; with half of the
// cycles lost to latency and barriers, 12,000, or 7 of its 33 TFLOP/s. Device memory sees 12 kB a
// quench. Of a tabulated potential a pair reads 64 bytes from the first-level cache, a warp 2 kB in
// 16 cycles, and the arithmetic is less than that of exponentials.
#pragma once

#include "../../potentials/spring.h"
#include "list.h"
#include "number.h"

namespace amorph::engine::device {

// What is summed besides a particle's force (d values): nothing; r dU/dr of its pairs, for the
// pressure; or their energy and virial, xx, yy, zz, yz, xz, xy.
enum class Sought { force, trace, all };

template <Sought What>
constexpr int sought_values = What == Sought::force ? 0 : (What == Sought::trace ? 1 : 7);

template <Sought What, int D>
AMORPH_HOSTDEVICE void add_pair(const double* d, double r2, double energy, double force_over_r,
                                double* sums) {
    double pair[D];
    for (int a = 0; a < D; ++a) {
        pair[a] = force_over_r * d[a];
        sums[a] -= pair[a];
    }
    double* const more = sums + D;
    if constexpr (What == Sought::trace) more[0] -= force_over_r * r2;
    if constexpr (What == Sought::all) {
        more[0] += energy;
        for (int a = 0; a < D; ++a) more[1 + a] -= pair[a] * d[a];
        if constexpr (D == 3) {
            more[4] -= pair[1] * d[2];
            more[5] -= pair[0] * d[2];
        }
        more[6] -= pair[0] * d[1];
    }
}

// The coefficients of pairs of one type with another, held in registers.
template <class Formula, int D, int L>
struct PairCoefficients {
    static constexpr int count = Formula::n_coefficients;
    const double* row;
    Number c[count];

    AMORPH_HOSTDEVICE PairCoefficients(const Replica<D, L>& r, int type)
        : row(r.coefficients + std::int64_t(type) * r.n_types * count) {}
    AMORPH_HOSTDEVICE void take(int type) {
        for (int k = 0; k < count; ++k) c[k] = row[type * count + k];
    }
    AMORPH_HOSTDEVICE void evaluate(double r2, Number& energy, Number& force_over_r) const {
        Formula::evaluate(Number(r2), c, energy, force_over_r);
    }
};

// Of a tabulated potential they stay where they are: their number is not known to the compiler.
template <int D, int L>
struct PairCoefficients<potentials::Table, D, L> {
    const potentials::Cells cells;
    const double* row;
    const double* at = nullptr;

    struct OfPair {
        const potentials::Cells& cells;
        const double* at;
        AMORPH_HOSTDEVICE Number operator[](int k) const { return at[k]; }
    };
    AMORPH_HOSTDEVICE PairCoefficients(const Replica<D, L>& r, int type)
        : cells(r.cells),
          row(r.coefficients + std::int64_t(type) * r.n_types * potentials::Table::n_coefficients) {
    }
    AMORPH_HOSTDEVICE void take(int type) { at = row + type * potentials::Table::n_coefficients; }
    AMORPH_HOSTDEVICE void evaluate(double r2, Number& energy, Number& force_over_r) const {
        potentials::Table::evaluate(Number(r2), OfPair{cells, at}, energy, force_over_r);
    }
};

template <class Formula, int D, int L, bool Tilted, Sought What>
AMORPH_HOSTDEVICE void sum_row(const Replica<D, L>& r, const Images<D>& images, int i, int lane,
                               double* sums) {
    const std::uint16_t* entry = r.list + i * L + lane;
    const Point<D> own = r.x[i];
    PairCoefficients<Formula, D, L> c(r, r.type[i]);
    // The neighbours of which c holds: `in_type` places from `first` on.
    unsigned first = 0, in_type = 0;
    for (int k = r.counts[i * L + lane]; k > 0; --k, entry += r.columns) {
        const unsigned j = *entry;
        if (j - first >= in_type) {
            const int type = r.type[j];
            first = unsigned(r.first_of_type[type]);
            in_type = unsigned(r.first_of_type[type + 1]) - first;
            c.take(type);
        }
        const Point<D> other = r.x[j];
        double d[D];
        for (int a = 0; a < D; ++a) d[a] = other.r[a] - own.r[a];
        images.template nearest<Tilted>(d);
        double r2 = d[0] * d[0];
        for (int a = 1; a < D; ++a) r2 += d[a] * d[a];
        Number energy, force_over_r;
        c.evaluate(r2, energy, force_over_r);
        add_pair<What, D>(d, r2, energy.v, force_over_r.v, sums);
    }
}

// The same of the particle's bonds, which may be long: their images are always counted.
template <int D, int L, Sought What>
AMORPH_HOSTDEVICE void sum_bonds(const Replica<D, L>& r, const Images<D>& images, int i, int lane,
                                 double* sums) {
    const Point<D> own = r.x[i];
    const std::int64_t end = r.bond_first[i + 1];
    for (std::int64_t b = r.bond_first[i] + lane; b < end; b += L) {
        const BondEnd bond = r.bonds[b];
        const Point<D> other = r.x[bond.other];
        double d[D];
        for (int a = 0; a < D; ++a) d[a] = other.r[a] - own.r[a];
        images.template nearest<true>(d);
        double r2 = d[0] * d[0];
        for (int a = 1; a < D; ++a) r2 += d[a] * d[a];
        const double c[] = {bond.stiffness, bond.length};
        double energy, force_over_r;
        potentials::Spring::evaluate(r2, c, energy, force_over_r);
        add_pair<What, D>(d, r2, energy, force_over_r, sums);
    }
}

// The row's sums over the particle's lanes; the first of them keeps the force. `General`: there may
// be bonds.
template <class Formula, bool General, Sought What, int D, int L, class Lanes>
AMORPH_HOSTDEVICE void sum_lanes(const Replica<D, L>& r, const Images<D>& images, bool tilted,
                                 int i, const Lanes& lanes, double* sums) {
    constexpr int size = D + sought_values<What>;
    lanes.template sum<size>(sums, [&](int lane, double* own) {
        if (tilted)
            sum_row<Formula, D, L, true, What>(r, images, i, lane, own);
        else
            sum_row<Formula, D, L, false, What>(r, images, i, lane, own);
        if constexpr (General)
            if (r.bond_first != nullptr) sum_bonds<D, L, What>(r, images, i, lane, own);
    });
    if (lanes.leads())
        for (int a = 0; a < D; ++a) r.f[i].r[a] = sums[a];
}

template <int D>
AMORPH_HOSTDEVICE double dot(const double* a, const double* b) {
    double s = a[0] * b[0];
    for (int k = 1; k < D; ++k) s += a[k] * b[k];
    return s;
}

// Forces, energy, virial and largest force of the replica as it stands.
template <class Formula, bool General, int D, int L, class Team>
AMORPH_HOSTDEVICE void measure_forces(Team& team, const Replica<D, L>& r, Outcome& out) {
    constexpr int values = sought_values<Sought::all>;
    using Sums = Totals<values, 1>;
    const Images<D> images(r.box);
    const bool tilted = box_tilted<D>(r.box);
    const Sums s = team.template reduce<L, Sums>(r.n, [&](int i, const auto& lanes) {
        double own[D + values];
        sum_lanes<Formula, General, Sought::all>(r, images, tilted, i, lanes, own);
        Sums t;
        for (int k = 0; k < values; ++k) t.add(k, 0.5 * own[D + k]);  // each pair from both ends
        t.add(values, dot<D>(own, own));
        return t;
    });
    out.energy = s.value[0];
    for (int k = 0; k < 6; ++k) out.virial[k] = s.value[1 + k];
    out.max_force = potentials::square_root(s.value[values]);
}

}  // namespace amorph::engine::device
