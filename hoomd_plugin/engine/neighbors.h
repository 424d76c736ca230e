// Verlet lists with a skin, built over cells, each pair once. Part of a kernel: see kernels.cc.
#pragma once

#include "simd.h"
#include "workspace.h"

namespace amorph::engine::AMORPH_ISA {

// With fewer types than this, a row of the parameter tables, ghosts included, fits one register.
constexpr int small_types = Pack::width;
constexpr int small_stride = Workspace::lanes;
constexpr int type_shift = 28;  // where the type rides while a small table's list is built
constexpr Entry index_mask = (Entry(1) << type_shift) - 1;

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

// The cells of a box, at least `reach` wide.
struct Grid {
    int cells[3] = {1, 1, 1};
    std::int64_t count = 1;

    Grid(int dimension, const double* widths, double reach, int n) {
        // More cells than particles would only cost memory.
        const double most =
            dimension == 2 ? __builtin_sqrt(double(n)) : __builtin_cbrt(double(n));
        for (int d = 0; d < dimension; ++d) {
            const double fit = widths[d] / reach;
            cells[d] = fit < 1.0 ? 1 : (fit > most ? int(most) : int(fit));
            if (cells[d] < 1) cells[d] = 1;
            count *= cells[d];
        }
    }
    int cell(int dimension, const double* fractions) const {
        int at = 0;
        for (int d = dimension - 1; d >= 0; --d) {
            int k = int(__builtin_floor((fractions[d] + 0.5) * cells[d]));
            k = k < 0 ? 0 : (k >= cells[d] ? cells[d] - 1 : k);
            at = at * cells[d] + k;
        }
        return at;
    }
    // The neighbours of a cell that come after it, each once, in order; returns how many.
    int later_neighbors(std::int64_t cell, std::int64_t* out) const {
        int low[3], number[3];
        std::int64_t rest = cell;
        for (int d = 0; d < 3; ++d) {
            low[d] = cells[d] >= 3 ? int(rest % cells[d]) - 1 : 0;
            number[d] = cells[d] >= 3 ? 3 : cells[d];
            rest /= cells[d];
        }
        int found = 0;
        for (int kz = 0; kz < number[2]; ++kz)
            for (int ky = 0; ky < number[1]; ++ky)
                for (int kx = 0; kx < number[0]; ++kx) {
                    const int k[3] = {kx, ky, kz};
                    std::int64_t other = 0;
                    for (int d = 2; d >= 0; --d) {
                        int c = low[d] + k[d];
                        c += c < 0 ? cells[d] : 0;
                        c -= c >= cells[d] ? cells[d] : 0;
                        other = other * cells[d] + c;
                    }
                    if (other <= cell) continue;
                    int at = found++;
                    for (; at > 0 && out[at - 1] > other; --at) out[at] = out[at - 1];
                    out[at] = other;
                }
        return found;
    }
};

// Brings the particles into the box and into the order of their cells; false when a position is not
// finite. Afterwards cell c holds the particles from first[c + 1] (first[0] for none before).
template <int D>
bool sort_particles(Workspace& w, const Box& box, const Grid& grid) {
    constexpr int S = point_stride<D>;
    std::int32_t* first = w.cell_first;
    for (std::int64_t c = 0; c <= grid.count; ++c) first[c] = 0;
    for (int i = 0; i < w.n; ++i) {
        double s[3];
        double* r = w.x + std::int64_t(S) * i;
        for (int d = 0; d < D; ++d)
            if (!(r[d] - r[d] == 0.0)) return false;
        box.wrap(D, r, s);
        const int cell = grid.cell(D, s);
        w.cell_of[i] = cell;
        ++first[cell + 1];
    }
    for (std::int64_t c = 0; c < grid.count; ++c) first[c + 1] += first[c];
    for (int i = w.n - 1; i >= 0; --i) {
        const int place = --first[w.cell_of[i] + 1];
        for (int d = 0; d < S; ++d) {
            w.other_x[S * place + d] = w.x[S * i + d];
            w.other_v[S * place + d] = w.v[S * i + d];
        }
        w.other_type[place] = w.type[i];
        w.other_id[place] = w.id[i];
    }
    const auto swap = [](auto*& a, auto*& b) {
        auto* c = a;
        a = b;
        b = c;
    };
    swap(w.x, w.other_x);
    swap(w.v, w.other_v);
    swap(w.type, w.other_type);
    swap(w.id, w.other_id);
    for (int k = 0; k < S * w.n; ++k) w.built[k] = w.x[k];
    return true;
}

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
    for (int i = 0; i < n; ++i) {
        for (int d = 0; d < D; ++d) w.sorted[d][i] = w.x[S * i + d];
        w.sorted_entry[i] = Small ? (Entry(w.type[i]) << type_shift | Entry(i)) : Entry(i);
    }
    const std::int32_t* first = w.cell_first;
    const auto begin = [first](std::int64_t c) { return first[c + 1]; };
    const auto end = [first, &grid, n](std::int64_t c) {
        return c + 1 < grid.count ? first[c + 2] : n;
    };

    const NearestImage<D, Triclinic> nearest(box);
    // While every listed pair is within half the box's widths, its image is settled for the life
    // of the list, and most rows need none.
    bool beyond_half = false;
    for (int d = 0; d < D; ++d) beyond_half |= reach > 0.5 * widths[d];
    // Whether a pair's image is another one than the difference of its positions.
    const auto is_across = [&w, reach](int i, Entry e) {
        const Entry j = Small ? e & index_mask : e;
        double r2 = 0.0;
        for (int a = 0; a < D; ++a) {
            const double d = w.sorted[a][j] - w.sorted[a][i];
            r2 += d * d;
        }
        return r2 >= reach * reach;
    };
    for (int i = 0; i < n; ++i) w.pending[i] = -1;
    std::int32_t put_off = 0;
    std::int64_t filled = 0;
    for (std::int64_t cell = 0; cell < grid.count; ++cell) {
        // What stands after the cell's particles, as ranges of places.
        std::int64_t later[27];
        int start[28], stop[28];
        const int neighbors = grid.later_neighbors(cell, later);
        int ranges = 1;
        start[0] = 0;
        stop[0] = end(cell);
        for (int k = 0; k < neighbors; ++k) {
            if (begin(later[k]) == stop[ranges - 1]) {
                stop[ranges - 1] = end(later[k]);
            } else {
                start[ranges] = begin(later[k]);
                stop[ranges++] = end(later[k]);
            }
        }
        std::size_t most = 0;
        for (int k = 0; k < ranges; ++k) most += std::size_t(stop[k] - (k ? start[k] : begin(cell)));
        for (int i = begin(cell); i < end(cell); ++i) {
            w.row[i] = filled;
            const std::int64_t from = filled;
            // First the pairs that earlier rows put off to this one.
            std::int64_t waiting = 0;
            for (std::int32_t k = w.pending[i]; k >= 0; k = std::int32_t(w.put_off[2 * k + 1]))
                ++waiting;
            w.reserve_entries(std::size_t(filled + waiting) + most + 2 * Pack::width);
            bool images = beyond_half;
            for (std::int32_t k = w.pending[i]; k >= 0; k = std::int32_t(w.put_off[2 * k + 1])) {
                const Entry e = w.put_off[2 * k];
                images |= is_across(i, e);
                w.entries[filled++] = e;
            }
            const std::int64_t own = filled;
            Pack ri[3];
            for (int d = 0; d < D; ++d) ri[d] = Pack(w.sorted[d][i]);
            const double* reach_row = w.reach_squared + std::int64_t(w.type[i]) * table.stride;
            Pack small_reach(0.0);
            if constexpr (Small) small_reach = Pack::load(reach_row);
            Pack across(0.0);
            start[0] = i + 1;
            for (int k = 0; k < ranges; ++k)
                for (int p = start[k]; p < stop[k]; p += Pack::width) {
                    Pack d[3];
                    for (int a = 0; a < D; ++a) d[a] = Pack::load(w.sorted[a] + p) - ri[a];
                    Pack direct(0.0);
                    for (int a = 0; a < D; ++a) direct = fma(d[a], d[a], direct);
                    nearest(d);
                    Pack r2 = d[0] * d[0];
                    for (int a = 1; a < D; ++a) r2 = fma(d[a], d[a], r2);
                    if constexpr (Triclinic)
                        if (beyond_half) r2 = shortest_squared<D>(d, box);
                    const Index e = Index::load(w.sorted_entry + p);
                    Pack limit;
                    if constexpr (Small)
                        limit = lookup(small_reach, e.high(type_shift));
                    else
                        limit = gather(reach_row, gather(w.type, e));
                    const Mask near = r2 < limit;
                    // Longer before than after: the image is another one.
                    const Pack gained = select(near, direct - r2, Pack(0.0));
                    across = max(across, select(first_lanes(stop[k] - p), gained, Pack(0.0)));
                    filled += append(w.entries + filled, e, near, stop[k] - p);
                }
            w.images[i] = images || maximum(across) > 0.0;
            // What does not fill a pack is put off to the partners' rows, which come later.
            const int left = int((filled - from) % Pack::width);
            if (left <= filled - own) {
                for (int k = 0; k < left; ++k) {
                    const Entry partner = w.entries[--filled];
                    const Entry j = Small ? partner & index_mask : partner;
                    w.put_off[2 * put_off] = w.sorted_entry[i];
                    w.put_off[2 * put_off + 1] = std::uint32_t(w.pending[j]);
                    w.pending[j] = put_off++;
                }
            } else {
                for (int k = left; k < Pack::width; ++k)
                    w.entries[filled++] = Small ? Entry(table.n_types) << type_shift | Entry(n) : Entry(n);
            }
            for (std::int64_t p = from; p < filled; ++p) {
                const Entry e = w.entries[p];
                const Entry j = Small ? e & index_mask : e;
                w.entries[p] = S * j;
                if constexpr (Small)
                    w.kinds[p] = std::uint16_t(e >> type_shift);
                else
                    w.kinds[p] = std::uint16_t(j == Entry(n) ? table.n_types : w.type[j]);
            }
        }
    }
    w.row[n] = filled;
    return true;
}

}  // namespace amorph::engine::AMORPH_ISA
