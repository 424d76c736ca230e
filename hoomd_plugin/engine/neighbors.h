// Verlet lists with a skin, built over cells, each pair once. Part of a kernel: see kernels.cc.
#pragma once

#include "simd.h"
#include "workspace.h"

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

// The cells of a box, at least `reach` wide.
struct Grid {
    int cells[3] = {1, 1, 1};
    std::int64_t count = 1;

    Grid(int dimension, const double* widths, double reach, int n) {
        // More cells than particles would only cost memory.
        const double most = dimension == 2 ? __builtin_sqrt(double(n)) : __builtin_cbrt(double(n));
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
    // The neighbours of a cell that come after it, each once; returns how many. In `shift`, the
    // images of the box they lie in.
    int later_neighbors(std::int64_t cell, std::int64_t* out, int (*shift)[3]) const {
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
                        shift[found][d] = c < 0 ? -1 : (c >= cells[d] ? 1 : 0);
                        c -= shift[found][d] * cells[d];
                        other = other * cells[d] + c;
                    }
                    if (other <= cell) continue;
                    out[found++] = other;
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
        box.wrap(D, r, s, w.image + 3 * std::int64_t(i));
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
        for (int d = 0; d < 3; ++d) w.other_image[3 * place + d] = w.image[3 * i + d];
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
    swap(w.image, w.other_image);
    for (int k = 0; k < S * w.n; ++k) w.built[k] = w.x[k];
    return true;
}

// How wide the list's skin is, and when it is time for another one. A skin of s diameters lasts
// s / (2 v) steps where the fastest particle moves v diameters a step, and makes the force loop
// longer by about s; with a build costing as much as c force loops, s = sqrt(2 c v) is best.
class Skin {
  public:
    explicit Skin(double diameter) : diameter_(diameter), width_(0.3) {}

    // The width for the next list.
    double renew() {
        if (age_ > 0) width_ = best();
        age_ = 0;
        return width_ * diameter_;
    }
    // To be told how large the list has become. A particle's share of the build was measured to
    // cost as much as two packs of its pairs' forces.
    void built(const Workspace& w) {
        cost_ = 2.0 * w.n * Pack::width / double(w.row[w.n] + Pack::width);
    }
    // To be called after each step with the largest displacement, squared, and the strain since the
    // list was built; whether a pair may have come within its cutoff, or a narrower skin would pay.
    bool used_up(double moved_squared, double strain, double cutoff) {
        // A pair beyond cutoff and skin stays beyond exp(strain) of that, less two displacements.
        const double shrunk = strain < 0.0 ? -strain * (cutoff + width_ * diameter_) : 0.0;
        moved_ = (__builtin_sqrt(moved_squared) + 0.5 * shrunk) / diameter_;
        ++age_;
        return !(moved_ < 0.5 * width_) || (age_ % 16 == 0 && width_ > 2.0 * best());
    }

  private:
    double best() const {
        const double width = __builtin_sqrt(3.0 * cost_ * moved_ / age_);
        return width < 0.02 ? 0.02 : (width < 0.6 ? width : 0.6);
    }
    double diameter_;
    double width_;
    double cost_ = 1.0;
    double moved_ = 0.0;
    int age_ = 0;
};

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
