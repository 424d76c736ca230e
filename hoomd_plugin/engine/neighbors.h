// Verlet lists with a skin, built over cells. Part of a kernel: see kernels.cc.
#pragma once

#include "simd.h"
#include "workspace.h"

namespace amorph::engine::AMORPH_ISA {

// With up to this many types, a row of the parameter tables fits one register and the
// neighbour's type rides in the entry's upper bits.
constexpr int small_types = Pack::width;
constexpr int type_shift = 28;
constexpr Entry index_mask = (Entry(1) << type_shift) - 1;

inline double floor_of(double a) { return __builtin_floor(a); }

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

// Builds every particle's row of neighbours within r_cut + skin (each pair stands in both rows).
// False when a position is not finite.
template <int D, bool Triclinic, bool Small>
bool build_neighbors(Workspace& w, const Box& box, const PairTable& table, double skin) {
    const int n = w.n;
    const double reach = table.max_cutoff + skin;
    for (int s = 0; s < table.n_types; ++s)
        for (int t = 0; t < table.stride; ++t) {
            const double r = table.r_cut[s * table.stride + t] + skin;
            w.reach_squared[s * table.stride + t] = r * r;
        }

    double widths[3] = {1.0, 1.0, 1.0};
    box.widths(D, widths);
    int cells[3] = {1, 1, 1};
    std::int64_t n_cells = 1;
    // More cells than particles would only cost memory.
    const double most = D == 2 ? __builtin_sqrt(double(n)) : __builtin_cbrt(double(n));
    for (int d = 0; d < D; ++d) {
        const double fit = widths[d] / reach;
        cells[d] = fit < 1.0 ? 1 : (fit > most ? int(most) : int(fit));
        if (cells[d] < 1) cells[d] = 1;
        n_cells *= cells[d];
    }
    w.reserve_cells(std::size_t(n_cells) + 1);
    std::int32_t* first = w.cell_first;
    for (std::int64_t c = 0; c <= n_cells; ++c) first[c] = 0;

    for (int i = 0; i < n; ++i) {
        double r[3];
        for (int d = 0; d < D; ++d) {
            r[d] = w.x[d][i];
            if (!(r[d] - r[d] == 0.0)) return false;
        }
        box.wrap(D, r);
        double s[3];
        for (int d = D - 1; d >= 0; --d) {
            double rest = r[d];
            for (int b = d + 1; b < D; ++b) rest -= box.h[d][b] * s[b];
            s[d] = rest / box.h[d][d];
        }
        int cell = 0;
        for (int d = D - 1; d >= 0; --d) {
            int k = int(floor_of((s[d] + 0.5) * cells[d]));
            k = k < 0 ? 0 : (k >= cells[d] ? cells[d] - 1 : k);
            cell = cell * cells[d] + k;
        }
        for (int d = 0; d < D; ++d) w.x[d][i] = w.built[d][i] = r[d];
        w.cell_of[i] = cell;
        ++first[cell + 1];
    }
    for (std::int64_t c = 0; c < n_cells; ++c) first[c + 1] += first[c];
    // Particles in the order of their cells; `first` is shifted by one while it is filled.
    for (int i = n - 1; i >= 0; --i) {
        const int place = --first[w.cell_of[i] + 1];
        for (int d = 0; d < D; ++d) w.sorted[d][place] = w.x[d][i];
        w.sorted_entry[place] = Small ? (Entry(w.type[i]) << type_shift | Entry(i)) : Entry(i);
    }
    // Now first[c + 1] is the start of cell c.
    const auto begin = [first](std::int64_t c) { return first[c + 1]; };
    const auto end = [first, n_cells, n](std::int64_t c) {
        return c + 1 < n_cells ? first[c + 2] : n;
    };

    const NearestImage<D, Triclinic> nearest(box);
    bool beyond_rounding = false;
    if constexpr (Triclinic)
        for (int d = 0; d < D; ++d) beyond_rounding |= reach > 0.5 * widths[d];
    const Entry ghost = Entry(n);
    std::int64_t filled = 0;
    for (int i = 0; i < n; ++i) {
        w.row[i] = filled;
        int at[3];
        int rest = w.cell_of[i];
        for (int d = 0; d < D; ++d) {
            at[d] = rest % cells[d];
            rest /= cells[d];
        }
        Pack ri[3];
        for (int d = 0; d < D; ++d) ri[d] = Pack(w.x[d][i]);
        const double* reach_row = w.reach_squared + std::int64_t(w.type[i]) * table.stride;
        Pack small_reach(0.0);
        if constexpr (Small) small_reach = Pack::load(reach_row);
        // Neighbouring cells, each once: all of them where there are fewer than three in a row.
        int low[3] = {0, 0, 0};
        int count[3] = {1, 1, 1};
        for (int d = 0; d < D; ++d) {
            low[d] = cells[d] >= 3 ? at[d] - 1 : 0;
            count[d] = cells[d] >= 3 ? 3 : cells[d];
        }
        for (int kz = 0; kz < count[2]; ++kz)
            for (int ky = 0; ky < count[1]; ++ky)
                for (int kx = 0; kx < count[0]; ++kx) {
                    const int k[3] = {kx, ky, kz};
                    std::int64_t cell = 0;
                    for (int d = D - 1; d >= 0; --d) {
                        int c = low[d] + k[d];
                        c += c < 0 ? cells[d] : 0;
                        c -= c >= cells[d] ? cells[d] : 0;
                        cell = cell * cells[d] + c;
                    }
                    const int start = begin(cell);
                    const int stop = end(cell);
                    w.reserve_entries(std::size_t(filled + (stop - start) + 2 * Pack::width));
                    for (int p = start; p < stop; p += Pack::width) {
                        Pack d[3];
                        for (int a = 0; a < D; ++a) d[a] = Pack::load(w.sorted[a] + p) - ri[a];
                        nearest(d);
                        Pack r2 = d[0] * d[0];
                        for (int a = 1; a < D; ++a) r2 = fma(d[a], d[a], r2);
                        if constexpr (Triclinic)
                            if (beyond_rounding) r2 = shortest_squared<D>(d, box);
                        const Index e = Index::load(w.sorted_entry + p);
                        Pack limit;
                        if constexpr (Small)
                            limit = lookup(small_reach, e.high(type_shift));
                        else
                            limit = gather(reach_row, gather(w.type, e));
                        filled += append(w.entries + filled, e, Small ? e.low(index_mask) : e,
                                         r2 < limit, stop - p, Entry(i));
                    }
                }
        while ((filled - w.row[i]) % Pack::width != 0) w.entries[filled++] = ghost;
    }
    w.row[n] = filled;
    return true;
}

}  // namespace amorph::engine::AMORPH_ISA
