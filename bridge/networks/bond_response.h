// The linear response of a network of springs, kept exact while bonds are cut, returned or changed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cholesky.h"

namespace amorph::networks {

// What is known of a network. Unknowns u (those that are free), springs c_e, extensions
// S_e ε + q_e u. With Φ(ε, f) = min over u of ½ Σ c_e (S_e ε + q_e u)² - f (S_w ε + w u),
// for strains ε and forces f on functionals w (the distance of two nodes, the place of a plate),
//     X  (n_bonds, n_loads): extension of each bond under each load, ε first,
//     M  (n_bonds): q_e H⁻¹ q_e,
//     Y  (n_loads, n_loads): Φ's second derivatives: V C, minus the functionals' responses.
// A change δ of c_e makes Y + δ X_e X_eᵀ/(1 + δ M_e), X - δ m X_e/(1 + δ M_e),
// M - δ m²/(1 + δ M_e) with m = Q H⁻¹ q_e, one solve. Source: Sherman and Morrison (1950).
class BondResponse {
  public:
    // places (n_bonds, width): the free unknown of each element of q_e, in the order of
    // elimination, or -1 for what is held. Functionals likewise.
    BondResponse(std::int32_t n_unknowns, std::size_t width, std::vector<std::int32_t> places,
                 std::vector<double> elements, std::vector<double> stiffness,
                 std::vector<double> strained, std::size_t n_strains,
                 std::vector<double> functionals, std::vector<double> functionals_strained,
                 std::size_t n_functionals)
        : n_(n_unknowns),
          width_(width),
          n_bonds_(stiffness.size()),
          n_strains_(n_strains),
          n_functionals_(n_functionals),
          places_(std::move(places)),
          elements_(std::move(elements)),
          strained_(std::move(strained)),
          functionals_(std::move(functionals)),
          functionals_strained_(std::move(functionals_strained)),
          stiffness(std::move(stiffness)),
          factor_(pattern()),
          extension(n_bonds_ * n_loads(), 0.0),
          compliance(n_bonds_, 0.0),
          response(n_loads() * n_loads(), 0.0),
          column(n_bonds_, 0.0),
          solution_(std::size_t(n_), 0.0) {
        locate();
    }

    std::size_t n_bonds() const { return n_bonds_; }
    std::size_t n_loads() const { return n_strains_ + n_functionals_; }
    std::int32_t n_unknowns() const { return n_; }
    std::size_t n_entries() const { return factor_.n_entries(); }

    // Computes all from the stiffnesses; the unknown that nothing holds, or -1. A pivot counts as
    // zero below `least` of the mean diagonal element.
    std::int32_t renew(double least) {
        std::vector<double> upper(upper_size_, 0.0), diagonal(std::size_t(n_), 0.0);
        double trace = 0.0;
        for (std::size_t e = 0; e < n_bonds_; ++e) {
            if (stiffness[e] == 0.0) continue;
            for (std::size_t a = 0; a < width_; ++a) {
                const std::int32_t i = places_[e * width_ + a];
                if (i < 0) continue;
                const double force = stiffness[e] * elements_[e * width_ + a];
                diagonal[std::size_t(i)] += force * elements_[e * width_ + a];
                trace += force * elements_[e * width_ + a];
                for (std::size_t b = 0; b < width_; ++b)
                    if (places_[e * width_ + b] > i)
                        upper[upper_place(e, a, b)] += force * elements_[e * width_ + b];
            }
        }
        stiff_ = trace / double(n_);
        const std::int32_t floppy =
            factor_.factorize(upper.data(), diagonal.data(), least * stiff_);
        if (floppy >= 0) return floppy;
        respond();
        compliances();
        return -1;
    }

    // m = Q H⁻¹ q_e into `column`.
    void solve_column(std::size_t e) {
        std::fill(solution_.begin(), solution_.end(), 0.0);
        const std::int32_t start = scatter(e, solution_.data());
        if (start >= 0) factor_.solve_path(solution_.data(), start);
        for (std::size_t f = 0; f < n_bonds_; ++f) column[f] = along(f, solution_.data());
        solved_ = std::int64_t(e);
    }

    // Changes c_e by delta, of which `column` is known. The smallest pivot that changed beside the
    // mean diagonal element: where it is not positive, all has to be renewed.
    double move(std::size_t e, double delta) {
        if (solved_ != std::int64_t(e))
            throw std::invalid_argument("the bond's column is not solved");
        solved_ = -1;
        const std::size_t loads = n_loads();
        const double gain = delta / (1.0 + delta * column[e]);
        std::vector<double> own(extension.begin() + std::ptrdiff_t(e * loads),
                                extension.begin() + std::ptrdiff_t((e + 1) * loads));
        for (std::size_t a = 0; a < loads; ++a)
            for (std::size_t b = 0; b < loads; ++b)
                response[a * loads + b] += gain * own[a] * own[b];
        for (std::size_t f = 0; f < n_bonds_; ++f) {
            const double share = gain * column[f];
            compliance[f] -= share * column[f];
            for (std::size_t a = 0; a < loads; ++a) extension[f * loads + a] -= share * own[a];
        }
        stiffness[e] += delta;
        std::fill(solution_.begin(), solution_.end(), 0.0);
        const std::int32_t start = scatter(e, solution_.data());
        return start < 0 ? 1.0 : factor_.update(solution_.data(), start, delta) / stiff_;
    }

    // The upper triangle of Y after each change alone, by rows, and 1 + delta M.
    void try_changes(const std::int32_t* bonds, const double* deltas, std::size_t count,
                     double* packed, double* growth) const {
        const std::size_t loads = n_loads(), size = loads * (loads + 1) / 2;
        std::vector<double> now(size);
        for (std::size_t a = 0, k = 0; a < loads; ++a)
            for (std::size_t b = a; b < loads; ++b) now[k++] = response[a * loads + b];
        for (std::size_t t = 0; t < count; ++t) {
            const std::size_t e = std::size_t(bonds[t]);
            const double* x = extension.data() + e * loads;
            growth[t] = 1.0 + deltas[t] * compliance[e];
            const double gain = deltas[t] / growth[t];
            double* out = packed + t * size;
            for (std::size_t a = 0, k = 0; a < loads; ++a) {
                const double share = gain * x[a];
                for (std::size_t b = a; b < loads; ++b, ++k) out[k] = now[k] + share * x[b];
            }
        }
    }

    // Where unknowns go under a unit load, (n_unknowns,).
    void displace(std::size_t load, double* u) const {
        std::fill(u, u + n_, 0.0);
        if (load < n_strains_) {
            for (std::size_t e = 0; e < n_bonds_; ++e)
                if (stiffness[e] != 0.0)
                    scatter(e, u, -stiffness[e] * strained_[e * n_strains_ + load]);
        } else {
            const std::size_t g = load - n_strains_;
            std::copy_n(functionals_.begin() + std::ptrdiff_t(g * std::size_t(n_)), n_, u);
        }
        factor_.solve(u);
    }

  private:
    // Places of the upper triangle, made of all bonds; `upper_first_` and `upper_rows_` stay for
    // `locate`.
    Cholesky pattern() {
        std::vector<std::vector<std::int32_t>> columns(static_cast<std::size_t>(n_));
        for (std::size_t e = 0; e < n_bonds_; ++e)
            for (std::size_t a = 0; a < width_; ++a)
                for (std::size_t b = 0; b < width_; ++b) {
                    const std::int32_t i = places_[e * width_ + a], j = places_[e * width_ + b];
                    if (i >= 0 && j > i) columns[std::size_t(j)].push_back(i);
                }
        upper_first_.assign(1, 0);
        for (std::vector<std::int32_t>& rows : columns) {
            std::sort(rows.begin(), rows.end());
            rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
            upper_rows_.insert(upper_rows_.end(), rows.begin(), rows.end());
            upper_first_.push_back(upper_rows_.size());
        }
        upper_size_ = upper_rows_.size();
        return Cholesky(n_, upper_first_, upper_rows_);
    }

    // Where each pair of a bond's elements stands in the matrix and in L: found once.
    void locate() {
        const std::size_t pairs = width_ * (width_ - 1) / 2;
        in_upper_.assign(n_bonds_ * pairs, 0);
        in_factor_.assign(n_bonds_ * pairs, 0);
        for (std::size_t e = 0; e < n_bonds_; ++e)
            for (std::size_t a = 0, k = e * pairs; a < width_; ++a)
                for (std::size_t b = a + 1; b < width_; ++b, ++k) {
                    const std::int32_t i =
                        std::min(places_[e * width_ + a], places_[e * width_ + b]);
                    const std::int32_t j =
                        std::max(places_[e * width_ + a], places_[e * width_ + b]);
                    if (i < 0 || i == j) continue;
                    const auto begin = upper_rows_.begin();
                    in_upper_[k] = std::size_t(
                        std::lower_bound(begin + std::ptrdiff_t(upper_first_[std::size_t(j)]),
                                         begin + std::ptrdiff_t(upper_first_[std::size_t(j) + 1]),
                                         i) -
                        begin);
                    in_factor_[k] = factor_.place(j, i);
                }
    }

    std::size_t pair_of(std::size_t e, std::size_t a, std::size_t b) const {
        if (a > b) std::swap(a, b);
        return e * (width_ * (width_ - 1) / 2) + a * width_ - a * (a + 1) / 2 + (b - a - 1);
    }
    std::size_t upper_place(std::size_t e, std::size_t a, std::size_t b) const {
        return in_upper_[pair_of(e, a, b)];
    }

    // Adds q_e; its first unknown, or -1.
    std::int32_t scatter(std::size_t e, double* x, double weight = 1.0) const {
        std::int32_t start = -1;
        for (std::size_t a = 0; a < width_; ++a) {
            const std::int32_t i = places_[e * width_ + a];
            if (i < 0) continue;
            x[i] += weight * elements_[e * width_ + a];
            start = start < 0 ? i : std::min(start, i);
        }
        return start;
    }

    double along(std::size_t e, const double* x) const {
        double sum = 0.0;
        for (std::size_t a = 0; a < width_; ++a) {
            const std::int32_t i = places_[e * width_ + a];
            if (i >= 0) sum += elements_[e * width_ + a] * x[i];
        }
        return sum;
    }

    // X and Y, a solve for each load.
    void respond() {
        const std::size_t loads = n_loads();
        std::vector<double> u(static_cast<std::size_t>(n_));
        for (std::size_t a = 0; a < loads; ++a) {
            const bool strain = a < n_strains_;
            displace(a, u.data());
            for (std::size_t e = 0; e < n_bonds_; ++e)
                extension[e * loads + a] =
                    (strain ? strained_[e * n_strains_ + a] : 0.0) + along(e, u.data());
            for (std::size_t h = 0; h < n_functionals_; ++h) {
                double sum = strain ? functionals_strained_[h * n_strains_ + a] : 0.0;
                const double* w = functionals_.data() + h * std::size_t(n_);
                for (std::size_t i = 0; i < std::size_t(n_); ++i) sum += w[i] * u[i];
                response[a * loads + n_strains_ + h] = response[(n_strains_ + h) * loads + a] =
                    -sum;
            }
        }
        for (std::size_t a = 0; a < n_strains_; ++a)
            for (std::size_t b = 0; b < n_strains_; ++b) {
                // Stationary in u: the sum of c X_a X_b is right to the second order of its error.
                double sum = 0.0;
                for (std::size_t e = 0; e < n_bonds_; ++e)
                    sum += stiffness[e] * extension[e * loads + a] * extension[e * loads + b];
                response[a * loads + b] = sum;
            }
    }

    // M of every bond, from the inverse's elements at the places of L.
    void compliances() {
        std::vector<double> below, diagonal;
        factor_.invert(below, diagonal);
        for (std::size_t e = 0; e < n_bonds_; ++e) {
            double sum = 0.0;
            for (std::size_t a = 0; a < width_; ++a) {
                const std::int32_t i = places_[e * width_ + a];
                if (i < 0) continue;
                const double own = elements_[e * width_ + a];
                sum += own * own * diagonal[std::size_t(i)];
                for (std::size_t b = a + 1; b < width_; ++b)
                    if (places_[e * width_ + b] >= 0)
                        sum += 2.0 * own * elements_[e * width_ + b] *
                               below[in_factor_[pair_of(e, a, b)]];
            }
            compliance[e] = sum;
        }
    }

    std::int32_t n_;
    std::size_t width_, n_bonds_, n_strains_, n_functionals_;
    std::vector<std::int32_t> places_;
    std::vector<double> elements_, strained_, functionals_, functionals_strained_;
    std::vector<std::size_t> upper_first_, in_upper_, in_factor_;
    std::vector<std::int32_t> upper_rows_;
    std::size_t upper_size_ = 0;
    std::int64_t solved_ = -1;
    double stiff_ = 1.0;  // the mean diagonal element of H

  public:
    std::vector<double> stiffness;  // c, (n_bonds,)

  private:
    Cholesky factor_;

  public:
    std::vector<double> extension, compliance, response, column;  // X, M, Y, m

  private:
    std::vector<double> solution_;
};

}  // namespace amorph::networks
