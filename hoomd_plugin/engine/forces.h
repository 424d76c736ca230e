// The force loop. Part of a kernel: see kernels.cc.
#pragma once

#include "neighbors.h"

namespace amorph::engine::AMORPH_ISA {

// The coefficients of the pairs of one particle's type with its neighbours'.
template <class Potential, bool Small>
struct CoefficientRow {
    static constexpr int count = Potential::n_coefficients;
    const double* base[count];
    Pack held[Small ? count : 1];

    CoefficientRow(const PairTable& table, int type) {
        for (int k = 0; k < count; ++k) {
            base[k] = table.coefficients + (std::int64_t(k) * table.n_types + type) * table.stride;
            if constexpr (Small) held[k] = Pack::load(base[k]);
        }
    }
    void look_up(Index types, Pack* c) const {
        for (int k = 0; k < count; ++k)
            if constexpr (Small)
                c[k] = lookup(held[k], types);
            else
                c[k] = gather(base[k], types);
    }
};

// Forces on all particles from their rows; with Measure the energy and the virial too.
template <class Potential, int D, bool Triclinic, bool Small, bool Measure>
void compute_forces(Workspace& w, const Box& box, const PairTable& table, double* energy,
                    double* virial) {
    const NearestImage<D, Triclinic> nearest(box);
    Pack u_sum(0.0);
    Pack virial_sum[6] = {Pack(0.0), Pack(0.0), Pack(0.0), Pack(0.0), Pack(0.0), Pack(0.0)};
    for (int i = 0; i < w.n; ++i) {
        const CoefficientRow<Potential, Small> row(table, w.type[i]);
        Pack ri[3];
        Pack force[3];
        for (int a = 0; a < D; ++a) {
            ri[a] = Pack(w.x[a][i]);
            force[a] = Pack(0.0);
        }
        const std::int64_t stop = w.row[i + 1];
        for (std::int64_t p = w.row[i]; p < stop; p += Pack::width) {
            const Index e = Index::load(w.entries + p);
            const Index j = Small ? e.low(index_mask) : e;
            Pack d[3];
            for (int a = 0; a < D; ++a) d[a] = ri[a] - gather(w.x[a], j);
            nearest(d);
            Pack r2 = d[0] * d[0];
            for (int a = 1; a < D; ++a) r2 = fma(d[a], d[a], r2);
            Pack c[Potential::n_coefficients];
            row.look_up(Small ? e.high(type_shift) : gather(w.type, j), c);
            Pack u, force_over_r;
            Potential::evaluate(r2, c, u, force_over_r);
            // The ghosts' distances are NaN. Their energy and force were selected to zero, as NaN
            // compares less than no cutoff; zero times NaN must not enter the sums.
            const Mask real = r2 < Pack(1e300);
            for (int a = 0; a < D; ++a) d[a] = select(real, d[a], Pack(0.0));
            for (int a = 0; a < D; ++a) force[a] = fma(force_over_r, d[a], force[a]);
            if constexpr (Measure) {
                u_sum += u;
                for (int a = 0; a < D; ++a) virial_sum[a] -= force_over_r * d[a] * d[a];
                if constexpr (D == 3) {
                    virial_sum[3] -= force_over_r * d[1] * d[2];
                    virial_sum[4] -= force_over_r * d[0] * d[2];
                }
                virial_sum[5] -= force_over_r * d[0] * d[1];
            }
        }
        for (int a = 0; a < D; ++a) w.f[a][i] = sum(force[a]);
    }
    if constexpr (Measure) {
        *energy = 0.5 * sum(u_sum);
        for (int k = 0; k < 6; ++k) virial[k] = 0.5 * sum(virial_sum[k]);
    }
}

}  // namespace amorph::engine::AMORPH_ISA
