// Rows of bonds. Part of a kernel: see kernels.cc.
#pragma once

#include "simd.h"
#include "workspace.h"

namespace amorph::engine::AMORPH_ISA {

// The bonds' rows in the particles' present order, each bond in the row of the one that comes
// first; ghosts without stiffness fill them to whole packs.
template <int D>
void build_bonds(Workspace& w) {
    constexpr int S = point_stride<D>;
    for (int i = 0; i < w.n; ++i) w.place[w.id[i]] = i;
    std::int64_t* const row = w.bond_row;
    for (int i = 0; i <= w.n; ++i) row[i] = 0;
    const auto ends = [&w](std::int64_t b, int& first, int& second) {
        const int i = w.place[w.bonds.pairs[2 * b]];
        const int j = w.place[w.bonds.pairs[2 * b + 1]];
        first = i < j ? i : j;
        second = i < j ? j : i;
    };
    int i, j;
    for (std::int64_t b = 0; b < w.bonds.count; ++b) {
        ends(b, i, j);
        ++row[i];
    }
    std::int64_t filled = 0;
    for (int k = 0; k < w.n; ++k) {
        const std::int64_t padded = (row[k] + Pack::width - 1) / Pack::width * Pack::width;
        row[k] = filled;
        filled += padded;
    }
    row[w.n] = filled;
    for (std::int64_t p = 0; p < filled; ++p) {
        w.bond_entries[p] = Entry(S) * Entry(w.n);
        w.bond_stiffness[p] = w.bond_length[p] = 0.0;
    }
    for (std::int64_t b = 0; b < w.bonds.count; ++b) {
        ends(b, i, j);
        std::int64_t p = row[i];
        while (w.bond_entries[p] != Entry(S) * Entry(w.n)) ++p;
        w.bond_entries[p] = Entry(S) * Entry(j);
        w.bond_stiffness[p] = w.bonds.stiffness[b];
        w.bond_length[p] = w.bonds.length[b];
    }
}

}  // namespace amorph::engine::AMORPH_ISA
