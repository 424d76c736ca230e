// A sparse factor L D Lᵀ of a symmetric positive definite matrix that is changed by one bond after
// another, and its inverse at the places of L.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace amorph::networks {

// Unknowns are numbered in the order of elimination. The pattern of L is that of the matrix of all
// bonds, whether cut or not, so it never changes.
class Cholesky {
  public:
    // Rows i < j of the matrix's upper triangle, column by column, ascending.
    Cholesky(std::int32_t n, std::vector<std::size_t> first, std::vector<std::int32_t> rows)
        : n_(n),
          upper_first_(std::move(first)),
          upper_rows_(std::move(rows)),
          parent_(std::size_t(n), -1),
          first_(std::size_t(n) + 1, 0),
          d_(std::size_t(n), 0.0),
          work_(std::size_t(n), 0.0) {
        analyze();
    }

    std::size_t n_entries() const { return rows_.size(); }

    // Factorises the matrix with these elements; the number of the first pivot that is not above
    // `least`, or -1. Source: Davis, ACM Trans. Math. Softw. 31, 587 (2005), LDL, up-looking.
    std::int32_t factorize(const double* upper, const double* diagonal, double least) {
        std::vector<std::size_t> filled(first_.begin(), first_.end() - 1);
        std::vector<std::int32_t> mark(std::size_t(n_), -1), path(static_cast<std::size_t>(n_)),
            stack(static_cast<std::size_t>(n_));
        std::vector<double>& y = work_;
        for (std::int32_t k = 0; k < n_; ++k) {
            std::int32_t top = n_;
            mark[std::size_t(k)] = k;
            for (std::size_t p = upper_first_[std::size_t(k)]; p < upper_first_[std::size_t(k) + 1];
                 ++p) {
                std::int32_t i = upper_rows_[p], length = 0;
                y[std::size_t(i)] += upper[p];
                for (; mark[std::size_t(i)] != k; i = parent_[std::size_t(i)]) {
                    path[std::size_t(length++)] = i;
                    mark[std::size_t(i)] = k;
                }
                while (length > 0) stack[std::size_t(--top)] = path[std::size_t(--length)];
            }
            double pivot = diagonal[k];
            for (; top < n_; ++top) {
                const std::size_t i = std::size_t(stack[std::size_t(top)]);
                const double value = y[i];
                y[i] = 0.0;
                for (std::size_t p = first_[i]; p < filled[i]; ++p)
                    y[std::size_t(rows_[p])] -= values_[p] * value;
                const double element = value / d_[i];
                pivot -= element * value;
                values_[filled[i]++] = element;
            }
            d_[std::size_t(k)] = pivot;
            if (!(pivot > least)) return k;
        }
        return -1;
    }

    // x ← (L D Lᵀ)⁻¹ x.
    void solve(double* x) const {
        for (std::size_t j = 0; j < std::size_t(n_); ++j)
            for (std::size_t p = first_[j]; p < first_[j + 1]; ++p)
                x[rows_[p]] -= values_[p] * x[j];
        backward(x);
    }

    // As `solve`, of a vector with elements within one column of L and its own row: it is carried
    // along one path of the elimination tree.
    void solve_path(double* x, std::int32_t start) const {
        for (std::int32_t j = start; j >= 0; j = parent_[std::size_t(j)])
            for (std::size_t p = first_[std::size_t(j)]; p < first_[std::size_t(j) + 1]; ++p)
                x[rows_[p]] -= values_[p] * x[j];
        backward(x);
    }

    // L D Lᵀ ← L D Lᵀ + weight w wᵀ with w as in `solve_path`; w is left zero. The smallest pivot
    // that changed: where it is not positive, the factor must be made anew. Source: Gill, Golub,
    // Murray and Saunders, Math. Comput. 28, 505 (1974), method C1; on the path alone, as Davis and
    // Hager, SIAM J. Matrix Anal. Appl. 20, 606 (1999).
    double update(double* w, std::int32_t start, double weight) {
        double least = std::numeric_limits<double>::infinity();
        for (std::int32_t j = start; j >= 0; j = parent_[std::size_t(j)]) {
            const double p = w[j];
            w[j] = 0.0;
            if (p == 0.0) continue;
            double& pivot = d_[std::size_t(j)];
            const double changed = pivot + weight * p * p;
            least = changed < least ? changed : least;
            const double along = weight * p / changed;
            weight *= pivot / changed;
            pivot = changed;
            for (std::size_t q = first_[std::size_t(j)]; q < first_[std::size_t(j) + 1]; ++q) {
                double& other = w[rows_[q]];
                other -= p * values_[q];
                values_[q] += along * other;
            }
        }
        return least;
    }

    // The inverse's elements at the places of L, and its diagonal.
    // Source: Takahashi, Fagan and Chin (1973), Erisman and Tinney, Commun. ACM 18, 177 (1975).
    void invert(std::vector<double>& below, std::vector<double>& diagonal) const {
        below.assign(rows_.size(), 0.0);
        diagonal.assign(std::size_t(n_), 0.0);
        std::vector<std::int32_t> place(std::size_t(n_), -1);
        std::vector<double> sum;
        for (std::size_t j = std::size_t(n_); j-- > 0;) {
            const std::size_t begin = first_[j], count = first_[j + 1] - begin;
            const std::int32_t* rows = rows_.data() + begin;
            const double* l = values_.data() + begin;
            sum.assign(count, 0.0);
            for (std::size_t a = 0; a < count; ++a) place[std::size_t(rows[a])] = std::int32_t(a);
            for (std::size_t b = 0; b < count; ++b) {
                const std::size_t r = std::size_t(rows[b]);
                double own = diagonal[r] * l[b];
                for (std::size_t p = first_[r]; p < first_[r + 1]; ++p) {
                    const std::int32_t a = place[std::size_t(rows_[p])];
                    if (a < 0) continue;
                    sum[std::size_t(a)] += below[p] * l[b];
                    own += below[p] * l[a];
                }
                sum[b] += own;
            }
            double own = 1.0 / d_[j];
            for (std::size_t a = 0; a < count; ++a) {
                below[begin + a] = -sum[a];
                own += sum[a] * l[a];
                place[std::size_t(rows[a])] = -1;
            }
            diagonal[j] = own;
        }
    }

    // Where element (i, j) of L is kept, i > j; only for places that the matrix itself has.
    std::size_t place(std::int32_t i, std::int32_t j) const {
        std::size_t low = first_[std::size_t(j)], high = first_[std::size_t(j) + 1];
        while (low < high) {
            const std::size_t middle = (low + high) / 2;
            rows_[middle] < i ? low = middle + 1 : high = middle;
        }
        return low;
    }

  private:
    // The elimination tree and the pattern of L, row by row.
    void analyze() {
        const std::size_t n = std::size_t(n_);
        std::vector<std::int32_t> mark(n, -1);
        std::vector<std::size_t> count(n, 0);
        for (std::int32_t k = 0; k < n_; ++k) {
            mark[std::size_t(k)] = k;
            for (std::size_t p = upper_first_[std::size_t(k)]; p < upper_first_[std::size_t(k) + 1];
                 ++p)
                for (std::int32_t i = upper_rows_[p]; mark[std::size_t(i)] != k;
                     i = parent_[std::size_t(i)]) {
                    if (parent_[std::size_t(i)] < 0) parent_[std::size_t(i)] = k;
                    ++count[std::size_t(i)];
                    mark[std::size_t(i)] = k;
                }
        }
        for (std::size_t j = 0; j < n; ++j) first_[j + 1] = first_[j] + count[j];
        rows_.resize(first_[n]);
        values_.assign(first_[n], 0.0);
        std::vector<std::size_t> filled(first_.begin(), first_.end() - 1);
        std::fill(mark.begin(), mark.end(), -1);
        for (std::int32_t k = 0; k < n_; ++k) {
            mark[std::size_t(k)] = k;
            for (std::size_t p = upper_first_[std::size_t(k)]; p < upper_first_[std::size_t(k) + 1];
                 ++p)
                for (std::int32_t i = upper_rows_[p]; mark[std::size_t(i)] != k;
                     i = parent_[std::size_t(i)]) {
                    rows_[filled[std::size_t(i)]++] = k;
                    mark[std::size_t(i)] = k;
                }
        }
    }

    void backward(double* x) const {
        for (std::size_t j = std::size_t(n_); j-- > 0;) {
            double value = x[j] / d_[j];
            for (std::size_t p = first_[j]; p < first_[j + 1]; ++p)
                value -= values_[p] * x[rows_[p]];
            x[j] = value;
        }
    }

    std::int32_t n_;
    std::vector<std::size_t> upper_first_;
    std::vector<std::int32_t> upper_rows_;
    std::vector<std::int32_t> parent_;
    std::vector<std::size_t> first_;
    std::vector<std::int32_t> rows_;
    std::vector<double> values_, d_, work_;
};

}  // namespace amorph::networks
