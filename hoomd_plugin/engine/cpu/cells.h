// Cells of a box, and particles brought into their order. Part of a kernel: see kernels.cc.
#pragma once

#include "simd.h"
#include "workspace.h"

namespace amorph::engine::AMORPH_ISA {

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

}  // namespace amorph::engine::AMORPH_ISA
