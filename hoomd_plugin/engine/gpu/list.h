// Verlet lists: every particle's row of all others within its cutoffs and a skin, in the order of
// places, hence by types. Distances are found in single precision, with a margin for its errors: a
// list may hold a pair too many, never one too few.
#pragma once

#include <cmath>

#include "../rules/skin.h"
#include "replica.h"

namespace amorph::engine::device {

enum class Built { done, not_finite, overflow };

// The cells of a box: at least `reach` wide, fewer than particles.
template <int D>
struct Grid {
    int cells[D];
    int count = 1;
    float share = 1.0f;  // of the box, that a cell and its neighbours take

    AMORPH_HOSTDEVICE Grid(const double* widths, double reach, int n) {
        const double most =
            D == 2 ? potentials::square_root(double(n)) : std::cbrt(double(n)) + 1e-9;
        for (int d = 0; d < D; ++d) {
            const double fit = widths[d] / reach;
            cells[d] = fit < 1.0 ? 1 : (fit > most ? int(most) : int(fit));
            count *= cells[d];
            if (cells[d] > 3) share *= 3.0f / float(cells[d]);
        }
    }
    AMORPH_HOSTDEVICE int cell(const double* fractions) const {
        int at = 0;
        for (int d = D - 1; d >= 0; --d) {
            const int k = int((fractions[d] + 0.5) * cells[d]);
            at = at * cells[d] + (k < cells[d] ? k : cells[d] - 1);
        }
        return at;
    }
    // Calls visit(cell) for a cell and its neighbours, each once.
    template <class Visit>
    AMORPH_HOSTDEVICE void neighbours(int cell, Visit visit) const {
        int low[3] = {0, 0, 0}, number[3] = {1, 1, 1};
        for (int d = 0; d < D; ++d) {
            low[d] = cells[d] > 3 ? cell % cells[d] - 1 : 0;
            number[d] = cells[d] > 3 ? 3 : cells[d];
            cell /= cells[d];
        }
        for (int kz = 0; kz < number[2]; ++kz)
            for (int ky = 0; ky < number[1]; ++ky)
                for (int kx = 0; kx < number[0]; ++kx) {
                    const int k[3] = {kx, ky, kz};
                    int other = 0;
                    for (int d = D - 1; d >= 0; --d) {
                        int c = low[d] + k[d];
                        c += c < 0 ? cells[d] : (c >= cells[d] ? -cells[d] : 0);
                        other = other * cells[d] + c;
                    }
                    visit(other);
                }
    }
};

// Distances between opposite faces of a box (see Box::widths).
template <int D>
AMORPH_HOSTDEVICE void box_widths(const double* h, double* w) {
    const double xy = h[1] / h[4];
    if constexpr (D == 2) {
        w[0] = h[0] / potentials::square_root(1.0 + xy * xy);
        w[1] = h[4];
    } else {
        const double yz = h[5] / h[8];
        const double xz = h[2] / h[8] - xy * yz;
        w[0] = h[0] / potentials::square_root(1.0 + xy * xy + xz * xz);
        w[1] = h[4] / potentials::square_root(1.0 + yz * yz);
        w[2] = h[8];
    }
}

template <int D>
AMORPH_HOSTDEVICE bool box_tilted(const double* h) {
    return h[1] != 0.0 || (D == 3 && (h[2] != 0.0 || h[5] != 0.0));
}

// Bring a position into the box; its fractional coordinates, in [-1/2, 1/2), in s. `image`, where
// it is not null, counts the box vectors taken off.
template <int D>
AMORPH_HOSTDEVICE void wrap(const double* h, double* r, double* s, std::int32_t* image = nullptr) {
    for (int b = D - 1; b >= 0; --b) {
        double rest = r[b];
        for (int c = b + 1; c < D; ++c) rest -= h[3 * b + c] * s[c];
        s[b] = rest / h[4 * b];
    }
    for (int b = D - 1; b >= 0; --b) {
        const double images = std::floor(s[b] + 0.5);
        s[b] -= images;
        if (image != nullptr) image[b] += std::int32_t(images);
        for (int a = 0; a <= b; ++a) r[a] -= images * h[3 * a + b];
    }
}

// Cells pay where they leave out most of the box; a particle and its neighbours are then tried in
// cells, sorted so that the list does not depend on who was first.
template <int D, int L>
AMORPH_HOSTDEVICE bool cells_pay(const Replica<D, L>& r, const Grid<D>& grid) {
    return may_use_cells(r.n, L) && grid.share < 0.4f;
}

// What a list costs, in force loops: a pair tried takes a fifth of the instructions of one
// evaluated; wrapping and barriers are the rest.
template <int D, int L>
AMORPH_HOSTDEVICE double build_cost(const Replica<D, L>& r) {
    const double cutoff = r.scales.max_cutoff;
    double widths[3], volume = 1.0;
    box_widths<D>(r.box, widths);
    for (int a = 0; a < D; ++a) volume *= r.box[4 * a];
    const Grid<D> grid(widths, 1.1 * cutoff, r.n);
    const double ball = D == 2 ? 3.14 * cutoff * cutoff : 4.19 * cutoff * cutoff * cutoff;
    const double tried = cells_pay(r, grid) ? 2.0 * grid.share : 1.0;
    return 0.3 + 0.2 * tried * r.n / (1.0 + 1.2 * r.n * ball / volume);
}

// The widest skin makes rows longer by this: what the columns' capacity reckons with.
constexpr double most_growth = 1.4;

// A skin whose lists are made for this cost (see `build_cost`). With a cutoff of R diameters, one
// of s diameters makes the force loop longer by a share of d s / R.
AMORPH_HOSTDEVICE inline Skin skin_of(int dimension, const Scales& scales, double cost) {
    const double ratio = scales.max_cutoff / scales.max_sigma;
    const double growth =
        dimension == 2 ? potentials::square_root(most_growth) : std::cbrt(most_growth);
    const double factor = 3.0 * cost * ratio / dimension;
    return Skin(scales.max_sigma, scales.max_cutoff, ratio * (growth - 1.0), factor);
}

template <int D, int L, class Team>
AMORPH_HOSTDEVICE void fill_cells(Team& team, const Replica<D, L>& r, const Grid<D>& grid) {
    team.each(grid.count + 1, [&](int c) { r.cell_first[c] = 0; });
    team.sync();
    team.each(r.n, [&](int i) { team.fetch_add(r.cell_first + r.cell_of[i]); });
    team.scan(r.cell_first, grid.count + 1);
    // Each cell's first is moved on to its last, which is the next one's first.
    team.each(r.n, [&](int i) {
        r.cell_mixed[team.fetch_add(r.cell_first + r.cell_of[i])] = std::uint16_t(i);
    });
    team.sync();
    team.each(r.n, [&](int p) {
        const int own = r.cell_mixed[p];
        const int cell = r.cell_of[own];
        int place = cell > 0 ? r.cell_first[cell - 1] : 0;
        for (int q = place; q < r.cell_first[cell]; ++q) place += int(r.cell_mixed[q]) < own;
        r.cell_order[place] = std::uint16_t(own);
    });
    team.sync();
}

// Whether two particles are near, from their fractional coordinates: as integers these wrap around
// the box by themselves, and single precision does for the rest.
template <int D>
struct NearTest {
    float h[D][D];  // of the integers' unit
    double size;    // of the box, for the error

    AMORPH_HOSTDEVICE explicit NearTest(const double* box) : size(0.0) {
        for (int a = 0; a < D; ++a) {
            double row = 0.0;
            for (int b = 0; b < D; ++b) {
                h[a][b] = float(box[3 * a + b] * (1.0 / 4294967296.0));
                row += std::fabs(box[3 * a + b]);
            }
            size = potentials::larger(size, row);
        }
    }
    AMORPH_HOSTDEVICE static NearPoint<D> point(const double* fractions) {
        NearPoint<D> p;
        for (int a = 0; a < D; ++a)
            p.s[a] = std::uint32_t(std::int64_t(fractions[a] * 4294967296.0));
        return p;
    }
    // Added to a cutoff it makes up for single precision.
    AMORPH_HOSTDEVICE double margin() const { return 1e-6 * size; }

    AMORPH_HOSTDEVICE static void difference(const NearPoint<D>& p, const NearPoint<D>& q,
                                             float* s) {
        for (int a = 0; a < D; ++a) s[a] = float(std::int32_t(q.s[a] - p.s[a]));
    }
    // The squared distance of images next to each other by the fractional coordinates: the nearest
    // ones up to half the box's smallest width, any that are nearest without tilt.
    AMORPH_HOSTDEVICE float squared(const NearPoint<D>& p, const NearPoint<D>& q) const {
        float s[D];
        difference(p, q, s);
        return squared(s);
    }
    AMORPH_HOSTDEVICE float squared(const float* s) const {
        float r2 = 0.0f;
        for (int a = 0; a < D; ++a) {
            float x = h[a][a] * s[a];
            for (int b = a + 1; b < D; ++b) x += h[a][b] * s[b];
            r2 += x * x;
        }
        return r2;
    }
    // Of all images.
    AMORPH_HOSTDEVICE float shortest_squared(const NearPoint<D>& p, const NearPoint<D>& q) const {
        float best = 1e30f;
        for (int kz = D == 3 ? -1 : 0; kz <= (D == 3 ? 1 : 0); ++kz)
            for (int ky = -1; ky <= 1; ++ky)
                for (int kx = -1; kx <= 1; ++kx) {
                    const int k[3] = {kx, ky, kz};
                    float s[D];
                    difference(p, q, s);
                    for (int a = 0; a < D; ++a) s[a] += 4294967296.0f * float(k[a]);
                    const float r2 = squared(s);
                    best = r2 < best ? r2 : best;
                }
        return best;
    }
};

// Fills the columns; returns the longest of this thread's, which is cut at the capacity.
template <bool AllImages, int D, int L, class Team>
AMORPH_HOSTDEVICE int fill_columns(Team& team, const Replica<D, L>& r, const NearTest<D>& near,
                                   const Grid<D>& grid, bool by_cells, double skin) {
    const float wider = float(skin + near.margin());
    int longest = 0;
    team.template columns<L>(r.n, [&](int i, int lane) {
        const int column = i * L + lane;
        const NearPoint<D> own = load(r.near_x + i);
        const double* const r_cut = r.r_cut + std::int64_t(r.type[i]) * r.n_types;
        // Counted on beyond the column's end, where nothing is written.
        int place = column;
        const int end = r.capacity * r.columns;
        const auto limit_squared = [&](int type) {
            const float limit = float(r_cut[type]) + wider;
            return limit * limit;
        };
        const auto test = [&](int j, float limit) {
            const NearPoint<D> other = load(r.near_x + j);
            const float r2 =
                AllImages ? near.shortest_squared(own, other) : near.squared(own, other);
            const bool listed = (r2 < limit) & (j != i);
            if (listed & (place < end)) r.list[place] = std::uint16_t(j);
            if (listed) place += r.columns;
        };
        if (L == 1 && by_cells) {
            grid.neighbours(r.cell_of[i], [&](int c) {
                int type = -1;
                float limit = 0.0f;
                for (int p = c > 0 ? r.cell_first[c - 1] : 0; p < r.cell_first[c]; ++p) {
                    const int j = r.cell_order[p];
                    if (int(r.type[j]) != type) {
                        type = r.type[j];
                        limit = limit_squared(type);
                    }
                    test(j, limit);
                }
            });
        } else {
            for (int type = 0; type < r.n_types; ++type) {
                const int first = r.first_of_type[type];
                const int last = r.first_of_type[type + 1];
                const float limit = limit_squared(type);
                for (int j = first + (lane + L - first % L) % L; j < last; j += L) test(j, limit);
            }
        }
        const int found = (place - column) / r.columns;
        r.counts[column] = std::uint16_t(found < r.capacity ? found : r.capacity);
        if (found > longest) longest = found;
    });
    return longest;
}

// Wraps the particles into the box and lists their neighbours. On overflow, `row_needed` is the
// longest column's length. Ends with a barrier.
template <int D, int L, class Team>
AMORPH_HOSTDEVICE Built build_list(Team& team, const Replica<D, L>& r, double skin,
                                   std::int32_t& row_needed) {
    double widths[3];
    box_widths<D>(r.box, widths);
    const double reach = r.scales.max_cutoff + skin;
    const Grid<D> grid(widths, reach, r.n);
    const bool by_cells = cells_pay(r, grid);

    bool not_finite = false;
    team.each(r.n, [&](int i) {
        Point<D> p = r.x[i];
        bool finite = true;
        for (int a = 0; a < D; ++a) finite = finite && p.r[a] - p.r[a] == 0.0;
        if (!finite) {
            not_finite = true;
            return;
        }
        double s[3];
        wrap<D>(r.box, p.r, s, r.image != nullptr ? r.image + i * D : nullptr);
        r.x[i] = p;
        r.built[i] = p;
        r.near_x[i] = NearTest<D>::point(s);
        if (by_cells) r.cell_of[i] = grid.cell(s);
    });
    if (team.any(not_finite)) return Built::not_finite;
    if (r.scales.max_cutoff == 0.0) {
        team.template columns<L>(r.n, [&](int i, int lane) { r.counts[i * L + lane] = 0; });
        team.sync();
        return Built::done;
    }
    if constexpr (L == 1)
        if (by_cells) fill_cells(team, r, grid);

    double narrowest = widths[0];
    for (int a = 1; a < D; ++a) narrowest = potentials::smaller(narrowest, widths[a]);
    const bool all_images = box_tilted<D>(r.box) && reach > 0.499 * narrowest;
    const NearTest<D> near(r.box);
    const int longest = all_images ? fill_columns<true>(team, r, near, grid, by_cells, skin)
                                   : fill_columns<false>(team, r, near, grid, by_cells, skin);
    if (!team.any(longest > r.capacity)) return Built::done;
    row_needed = team.largest(longest);
    return Built::overflow;
}

}  // namespace amorph::engine::device
