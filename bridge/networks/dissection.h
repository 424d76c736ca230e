// Nested dissection by coordinates: an order of nodes in which a network's matrix has little fill.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace amorph::networks {

// Neighbours of each node, in one row after another.
class Neighbors {
  public:
    Neighbors(std::int32_t n_nodes, const std::int32_t* bonds, std::size_t n_bonds)
        : first_(std::size_t(n_nodes) + 1, 0), to_(2 * n_bonds) {
        for (std::size_t b = 0; b < 2 * n_bonds; ++b) ++first_[std::size_t(bonds[b]) + 1];
        for (std::size_t i = 0; i < std::size_t(n_nodes); ++i) first_[i + 1] += first_[i];
        std::vector<std::size_t> next(first_.begin(), first_.end() - 1);
        for (std::size_t b = 0; b < n_bonds; ++b) {
            const std::int32_t i = bonds[2 * b], j = bonds[2 * b + 1];
            to_[next[std::size_t(i)]++] = j;
            to_[next[std::size_t(j)]++] = i;
        }
    }

    const std::int32_t* begin(std::int32_t i) const { return to_.data() + first_[std::size_t(i)]; }
    const std::int32_t* end(std::int32_t i) const {
        return to_.data() + first_[std::size_t(i) + 1];
    }

  private:
    std::vector<std::size_t> first_;
    std::vector<std::int32_t> to_;
};

// Source: George, SIAM J. Numer. Anal. 10, 345 (1973). Halves are those of the longest side; the
// separator is the smaller of the two shores of the cut, so that a periodic box needs no care: the
// first cut has its second shore across the box.
class Dissection {
  public:
    Dissection(std::int32_t n_nodes, int dimension, const double* positions,
               const Neighbors& neighbors)
        : d_(dimension), x_(positions), neighbors_(neighbors), side_(std::size_t(n_nodes), -1) {
        std::vector<std::int32_t> all(static_cast<std::size_t>(n_nodes));
        for (std::int32_t i = 0; i < n_nodes; ++i) all[std::size_t(i)] = i;
        order_.reserve(all.size());
        split(all.data(), all.size());
    }

    const std::vector<std::int32_t>& order() const { return order_; }

  private:
    static constexpr std::size_t kLeaf = 6;  // fewer nodes than this are not worth a separator

    void split(std::int32_t* nodes, std::size_t n) {
        if (n <= kLeaf) {
            order_.insert(order_.end(), nodes, nodes + n);
            return;
        }
        const int axis = longest(nodes, n);
        const auto along = [this, axis](std::int32_t i) { return x_[std::size_t(i) * d_ + axis]; };
        std::nth_element(nodes, nodes + n / 2, nodes + n, [&](std::int32_t a, std::int32_t b) {
            return along(a) != along(b) ? along(a) < along(b) : a < b;
        });
        for (std::size_t k = 0; k < n; ++k) side_[std::size_t(nodes[k])] = k < n / 2 ? 0 : 1;
        const std::size_t left = n_shore(nodes, n, 0), right = n_shore(nodes, n, 1);
        const int shore = left <= right ? 0 : 1;
        std::vector<std::int32_t> parts[3];
        for (std::size_t k = 0; k < n; ++k) {
            const int own = side_[std::size_t(nodes[k])];
            parts[own == shore && on_shore(nodes[k]) ? 2 : own].push_back(nodes[k]);
        }
        for (std::size_t k = 0; k < n; ++k) side_[std::size_t(nodes[k])] = -1;
        if (parts[0].empty() && parts[1].empty()) {
            order_.insert(order_.end(), nodes, nodes + n);
            return;
        }
        split(parts[0].data(), parts[0].size());
        split(parts[1].data(), parts[1].size());
        order_.insert(order_.end(), parts[2].begin(), parts[2].end());
    }

    int longest(const std::int32_t* nodes, std::size_t n) const {
        int best = 0;
        double most = -1.0;
        for (int a = 0; a < d_; ++a) {
            double low = x_[std::size_t(nodes[0]) * d_ + a], high = low;
            for (std::size_t k = 1; k < n; ++k) {
                low = std::min(low, x_[std::size_t(nodes[k]) * d_ + a]);
                high = std::max(high, x_[std::size_t(nodes[k]) * d_ + a]);
            }
            if (high - low > most) most = high - low, best = a;
        }
        return best;
    }

    // Whether a node has a neighbour on the other side.
    bool on_shore(std::int32_t i) const {
        const int other = 1 - side_[std::size_t(i)];
        return std::any_of(neighbors_.begin(i), neighbors_.end(i),
                           [&](std::int32_t j) { return side_[std::size_t(j)] == other; });
    }

    std::size_t n_shore(const std::int32_t* nodes, std::size_t n, int side) const {
        return std::size_t(std::count_if(nodes, nodes + n, [&](std::int32_t i) {
            return side_[std::size_t(i)] == side && on_shore(i);
        }));
    }

    int d_;
    const double* x_;
    const Neighbors& neighbors_;
    std::vector<signed char> side_;
    std::vector<std::int32_t> order_;
};

}  // namespace amorph::networks
