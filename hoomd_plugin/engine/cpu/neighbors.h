// Verlet lists with a skin, built over cells, each pair once. Part of a kernel: see kernels.cc.
#pragma once

#include "bonds.h"
#include "cells.h"

namespace amorph::engine::AMORPH_ISA {

// With fewer types than this, a row of the parameter tables, ghosts included, fits one register.
constexpr int small_types = Pack::width;
constexpr int small_stride = Workspace::lanes;

// Reduces a difference of positions to its nearest image: valid for lengths below half the
// smallest width of the box.
template <int D, bool Triclinic>
struct NearestImage {
    Pack h[3][3];
    Pack inverse[3];
    explicit NearestImage(const Box& box) {
        for (int a = 0; a < D; ++a) {
            inverse[a] = Pack(1.0 / box.h[a][a]);
            for (int b = 0; b < D; ++b) h[a][b] = Pack(-box.h[a][b]);
        }
    }
    void operator()(Pack* d) const {
        for (int b = D - 1; b >= 0; --b) {
            const Pack images = round(d[b] * inverse[b]);
            d[b] = fma(images, h[b][b], d[b]);
            if constexpr (Triclinic)
                for (int a = 0; a < b; ++a) d[a] = fma(images, h[a][b], d[a]);
        }
    }
};

// The squared length of the shortest image, where rounding does not find it: in a tilted box, for
// lengths beyond half its smallest width.
template <int D>
inline Pack shortest_squared(const Pack* d, const Box& box) {
    Pack best(1e300);
    for (int kz = D == 3 ? -1 : 0; kz <= (D == 3 ? 1 : 0); ++kz)
        for (int ky = -1; ky <= 1; ++ky)
            for (int kx = -1; kx <= 1; ++kx) {
                const double k[3] = {double(kx), double(ky), double(kz)};
                Pack r2(0.0);
                for (int a = 0; a < D; ++a) {
                    double shift = 0.0;
                    for (int b = a; b < D; ++b) shift += box.h[a][b] * k[b];
                    const Pack x = d[a] + Pack(shift);
                    r2 = fma(x, x, r2);
                }
                best = select(r2 < best, r2, best);
            }
    return best;
}

// While a list is built an entry holds a particle's place, whether the pair reaches through a face
// of the box, and for small tables the particle's type.
constexpr int type_shift = 28;
constexpr Entry across_bit = Entry(1) << 27;
constexpr Entry place_mask = across_bit - 1;

// Sorts the particles and builds every particle's row of those after it within r_cut + skin.
// False when a position is not finite.
template <int D, bool Triclinic, bool Small>
bool build_neighbors(Workspace& w, const Box& box, const PairTable& table, double skin) {
    constexpr int S = point_stride<D>;
    const int n = w.n;
    const double reach = table.max_cutoff + skin;
    for (int s = 0; s < table.n_types; ++s)
        for (int t = 0; t < table.n_types; ++t) {
            const double r = table.r_cut[s * table.stride + t] + skin;
            w.reach_squared[s * table.stride + t] = r * r;
        }
    double widths[3] = {1.0, 1.0, 1.0};
    box.widths(D, widths);
    const Grid grid(D, widths, reach, n);
    w.reserve_cells(std::size_t(grid.count) + 1);
    if (!sort_particles<D>(w, box, grid)) return false;
    const std::int32_t* first = w.cell_first;
    const auto begin = [first](std::int64_t c) { return first[c + 1]; };
    const auto end = [first, &grid, n](std::int64_t c) {
        return c + 1 < grid.count ? first[c + 2] : n;
    };

    // With fewer than three cells along a side, a cell may be a neighbour on both: images are found
    // pair by pair. While every listed pair is within half the box's widths, its image is settled
    // for the life of the list, and most rows need none.
    const NearestImage<D, Triclinic> nearest(box);
    bool few = false;
    bool beyond_half = false;
    for (int d = 0; d < D; ++d) {
        few |= grid.cells[d] < 3;
        beyond_half |= reach > 0.5 * widths[d];
    }
    const Entry ghost = Entry(n) | (Small ? Entry(table.n_types) << type_shift : 0);
    for (int i = 0; i < n; ++i) w.pending[i] = -1;
    std::int32_t put_off = 0;
    std::int64_t filled = 0;
    for (std::int64_t cell = 0; cell < grid.count; ++cell) {
        // The cell's particles and those of the cells after it, where they are nearest.
        int candidates = 0;
        const auto add = [&](std::int64_t c, const double* shift, Entry mark) {
            for (int j = begin(c); j < end(c); ++j, ++candidates) {
                for (int d = 0; d < D; ++d)
                    w.near[d][candidates] = w.x[S * std::int64_t(j) + d] + shift[d];
                w.near_entry[candidates] =
                    Entry(j) | mark | (Small ? Entry(w.type[j]) << type_shift : 0);
            }
        };
        const double none[3] = {0.0, 0.0, 0.0};
        add(cell, none, few ? across_bit : 0);
        std::int64_t later[27];
        int images[27][3];
        const int neighbors = grid.later_neighbors(cell, later, images);
        for (int k = 0; k < neighbors; ++k) {
            double shift[3] = {0.0, 0.0, 0.0};
            bool across = few;
            for (int b = 0; b < D; ++b) {
                across |= images[k][b] != 0;
                for (int a = 0; a <= b; ++a) shift[a] += images[k][b] * box.h[a][b];
            }
            add(later[k], few ? none : shift, across ? across_bit : 0);
        }
        for (int k = candidates; k < candidates + Pack::width; ++k) {
            for (int d = 0; d < D; ++d) w.near[d][k] = 0.0;
            w.near_entry[k] = 0;
        }

        const int here = begin(cell);
        for (int i = here; i < end(cell); ++i) {
            const std::int64_t from = filled;
            w.row[i] = from;
            w.reserve_entries(std::size_t(filled) + std::size_t(candidates) + std::size_t(put_off) +
                              2 * Pack::width);
            Entry* const entries = w.entries;
            std::uint16_t* const kinds = w.kinds;
            // First the pairs that earlier rows put off to this one.
            for (std::int32_t k = w.pending[i]; k >= 0; k = std::int32_t(w.put_off[2 * k + 1]))
                entries[filled++] = w.put_off[2 * k];
            const std::int64_t own = filled;
            Pack ri[3];
            for (int d = 0; d < D; ++d) ri[d] = Pack(w.near[d][i - here]);
            const double* reach_row = w.reach_squared + std::int64_t(w.type[i]) * table.stride;
            Pack small_reach(0.0);
            if constexpr (Small) small_reach = Pack::load(reach_row);
            const int after = i - here + 1;
            for (int p = after / Pack::width * Pack::width; p < candidates; p += Pack::width) {
                Pack d[3];
                for (int a = 0; a < D; ++a) d[a] = Pack::load(w.near[a] + p) - ri[a];
                if (few) nearest(d);
                Pack r2 = d[0] * d[0];
                for (int a = 1; a < D; ++a) r2 = fma(d[a], d[a], r2);
                if constexpr (Triclinic)
                    if (beyond_half) r2 = shortest_squared<D>(d, box);
                const Index e = Index::load(w.near_entry + p);
                Pack limit;
                if constexpr (Small)
                    limit = lookup(small_reach, e.high(type_shift));
                else
                    limit = gather(reach_row, gather(w.type, e.low(place_mask)));
                filled += append(entries + filled, e, r2 < limit, after - p, candidates - p);
            }
            // What does not fill a pack is put off to the partners' rows, which come later.
            const int left = int((filled - from) % Pack::width);
            if (left <= filled - own) {
                const Entry self = w.near_entry[i - here] & ~across_bit;
                for (int k = 0; k < left; ++k) {
                    const Entry partner = entries[--filled];
                    w.put_off[2 * put_off] = self | (partner & across_bit);
                    std::int32_t& last = w.pending[partner & place_mask];
                    w.put_off[2 * put_off + 1] = std::uint32_t(last);
                    last = put_off++;
                }
            } else {
                for (int k = left; k < Pack::width; ++k) entries[filled++] = ghost;
            }
            Entry marks = 0;
            for (std::int64_t p = from; p < filled; ++p) {
                const Entry e = entries[p];
                const Entry j = e & place_mask;
                marks |= e;
                entries[p] = S * j;
                if constexpr (Small)
                    kinds[p] = std::uint16_t(e >> type_shift);
                else
                    kinds[p] = std::uint16_t(j == Entry(n) ? table.n_types : w.type[j]);
            }
            w.images[i] = beyond_half || (marks & across_bit) != 0;
        }
    }
    w.row[n] = filled;
    if (w.bonds.count > 0) build_bonds<D>(w);
    return true;
}

}  // namespace amorph::engine::AMORPH_ISA
