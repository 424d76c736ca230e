// The force loop. Part of a kernel: see kernels.cc.
#pragma once

#include "../../potentials/spring.h"
#include "neighbors.h"

namespace amorph::engine::AMORPH_ISA {

// The coefficients of the pairs of one particle's type with its neighbours'.
template <class Potential, bool Small>
struct CoefficientRow {
    static constexpr int count = Potential::n_coefficients;
    const double* base;
    int stride;
    Pack held[Small ? count : 1];

    CoefficientRow(const PairTable& table, int type)
        : base(table.coefficients + std::int64_t(type) * count * table.stride),
          stride(Small ? small_stride : table.stride) {
        if constexpr (Small)
            for (int k = 0; k < count; ++k) held[k] = Pack::load(base + k * small_stride);
    }
    void look_up(Kinds kinds, Pack* c) const {
        for (int k = 0; k < count; ++k)
            if constexpr (Small)
                c[k] = lookup(held[k], kinds);
            else
                c[k] = gather(base + k * stride, kinds);
    }
};

// Those of a tabulated potential are looked up as they are needed, as many as there are.
template <bool Small>
struct CoefficientRow<potentials::Table, Small> {
    const potentials::Cells& cells;
    const double* base;
    int stride;

    CoefficientRow(const PairTable& table, int type)
        : cells(table.cells),
          base(table.coefficients +
               std::int64_t(type) * potentials::Table::n_coefficients * table.stride),
          stride(Small ? small_stride : table.stride) {}

    struct Pairs {
        const potentials::Cells& cells;
        const double* base;
        int stride;
        Kinds kinds;
        AMORPH_INLINE Pack operator[](int k) const {
            if constexpr (Small)
                return lookup(Pack::load(base + k * small_stride), kinds);
            else
                return gather(base + k * stride, kinds);
        }
    };
    Pairs look_up(Kinds kinds) const { return {cells, base, stride, kinds}; }
};

// visit(c) with the coefficients of a pack of pairs, as Potential::evaluate takes them.
template <class Potential, bool Small, class Visit>
AMORPH_INLINE void with_coefficients(const CoefficientRow<Potential, Small>& row, Kinds kinds,
                                     Visit&& visit) {
    if constexpr (std::is_same_v<Potential, potentials::Table>) {
        visit(row.look_up(kinds));
    } else {
        Pack c[Potential::n_coefficients];
        row.look_up(kinds, c);
        visit(c);
    }
}

// Calls `visit(p, d, r2, c)` for every pack of a particle's neighbours: p its place among the
// entries, d from the particle to the neighbours, c the coefficients.
template <class Potential, int D, bool Triclinic, bool Small>
class PairRows {
  public:
    using Law = Potential;

    PairRows(const Workspace& w, const Box& box, const PairTable& table)
        : w_(w), table_(table), x_(w.x), entries_(w.entries), kinds_(w.kinds), nearest_(box) {}

    const Entry* entries() const { return entries_; }
    double* tensors(int size) const {
        (void)size;
        return w_.tensors;
    }

    template <class Visit>
    AMORPH_INLINE void visit(int i, Visit&& visit) const {
        const CoefficientRow<Potential, Small> row(table_, w_.type[i]);
        Pack ri[3];
        for (int a = 0; a < D; ++a) ri[a] = Pack(x_[point_stride<D> * std::int64_t(i) + a]);
        const std::int64_t stop = w_.row[i + 1];
        const bool images = w_.images[i];
        for (std::int64_t p = w_.row[i]; p < stop; p += Pack::width) {
            Pack d[3];
            load_points(std::integral_constant<int, D>{}, x_, entries_ + p, d);
            for (int a = 0; a < D; ++a) d[a] = d[a] - ri[a];
            if (images) nearest_(d);
            Pack r2 = d[0] * d[0];
            for (int a = 1; a < D; ++a) r2 = fma(d[a], d[a], r2);
            with_coefficients(row, Kinds::load(kinds_ + p),
                              [&](const auto& c) AMORPH_INLINE_LAMBDA { visit(p, d, r2, c); });
        }
    }

  private:
    const Workspace& w_;
    const PairTable& table_;
    const double* x_;
    const Entry* entries_;
    const std::uint16_t* kinds_;
    NearestImage<D, Triclinic> nearest_;
};

// The same of a particle's bonds.
template <int D, bool Triclinic>
class BondRows {
  public:
    using Law = potentials::Spring;

    BondRows(const Workspace& w, const Box& box) : w_(w), nearest_(box) {}

    const Entry* entries() const { return w_.bond_entries; }
    // Behind those of the pairs.
    double* tensors(int size) const { return w_.tensors + w_.row[w_.n] * size; }

    template <class Visit>
    AMORPH_INLINE void visit(int i, Visit&& visit) const {
        Pack ri[3];
        for (int a = 0; a < D; ++a) ri[a] = Pack(w_.x[point_stride<D> * std::int64_t(i) + a]);
        const std::int64_t stop = w_.bond_row[i + 1];
        for (std::int64_t p = w_.bond_row[i]; p < stop; p += Pack::width) {
            Pack d[3];
            load_points(std::integral_constant<int, D>{}, w_.x, w_.bond_entries + p, d);
            for (int a = 0; a < D; ++a) d[a] = d[a] - ri[a];
            nearest_(d);
            Pack r2 = d[0] * d[0];
            for (int a = 1; a < D; ++a) r2 = fma(d[a], d[a], r2);
            const Pack c[Law::n_coefficients] = {Pack::load(w_.bond_stiffness + p),
                                                 Pack::load(w_.bond_length + p)};
            visit(p, d, r2, c);
        }
    }

  private:
    const Workspace& w_;
    NearestImage<D, Triclinic> nearest_;
};

// Energy and virial, a pack's worth of sums.
struct EnergySums {
    Pack energy = Pack(0.0);
    Pack virial[6] = {Pack(0.0), Pack(0.0), Pack(0.0), Pack(0.0), Pack(0.0), Pack(0.0)};
};

// Adds the forces of all rows, each pair computed once; with Measure the energy and the virial too.
template <int D, bool Measure, class Rows>
AMORPH_INLINE void add_forces(Workspace& w, const Rows& rows, EnergySums& sums) {
    constexpr int S = point_stride<D>;
    constexpr std::integral_constant<int, D> dimension;
    double* const f = w.f;
    const Entry* const entries = rows.entries();
    for (int i = 0; i < w.n; ++i) {
        Pack force[3] = {Pack(0.0), Pack(0.0), Pack(0.0)};
        rows.visit(i,
                   [&](std::int64_t p, const Pack* d, Pack r2, const auto& c) AMORPH_INLINE_LAMBDA {
                       Pack u, force_over_r;
                       Rows::Law::evaluate(r2, c, u, force_over_r);
                       Pack pair[3];
                       for (int a = 0; a < D; ++a) {
                           pair[a] = force_over_r * d[a];
                           force[a] -= pair[a];
                       }
                       add_points(dimension, f, entries + p, pair);
                       if constexpr (Measure) {
                           sums.energy += u;
                           for (int a = 0; a < D; ++a) sums.virial[a] -= pair[a] * d[a];
                           if constexpr (D == 3) {
                               sums.virial[3] -= pair[1] * d[2];
                               sums.virial[4] -= pair[0] * d[2];
                           }
                           sums.virial[5] -= pair[0] * d[1];
                       }
                   });
        add_sum(dimension, f + S * std::int64_t(i), force);
    }
}

template <class Potential, int D, bool Triclinic, bool Small, bool Measure>
AMORPH_INLINE void add_all_forces(Workspace& w, const Box& box, const PairTable& table,
                                  EnergySums& sums) {
    for (int k = 0; k < w.length; k += Pack::width) Pack(0.0).store(w.f + k);
    add_forces<D, Measure>(w, PairRows<Potential, D, Triclinic, Small>(w, box, table), sums);
    if (w.bonds.count > 0) add_forces<D, Measure>(w, BondRows<D, Triclinic>(w, box), sums);
}

// Forces on all particles.
template <class Potential, int D, bool Triclinic, bool Small>
void compute_forces(Workspace& w, const Box& box, const PairTable& table) {
    EnergySums sums;
    add_all_forces<Potential, D, Triclinic, Small, false>(w, box, table, sums);
}

// And the energy and the virial.
template <class Potential, int D, bool Triclinic, bool Small>
void measure_forces(Workspace& w, const Box& box, const PairTable& table, double& energy,
                    double* virial) {
    EnergySums sums;
    add_all_forces<Potential, D, Triclinic, Small, true>(w, box, table, sums);
    energy = sum(sums.energy);
    for (int k = 0; k < 6; ++k) virial[k] = sum(sums.virial[k]);
}

}  // namespace amorph::engine::AMORPH_ISA
