#include "workspace.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>

namespace amorph::engine {

namespace {

constexpr std::size_t alignment = 64;

std::size_t aligned(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

void* allocate(std::size_t bytes) {
    void* p = std::aligned_alloc(alignment, aligned(bytes > 0 ? bytes : 1));
    if (p == nullptr) throw std::bad_alloc();
    return p;
}

}  // namespace

double Box::volume(int dimension) const {
    double v = 1.0;
    for (int a = 0; a < dimension; ++a) v *= h[a][a];
    return v;
}

void Box::widths(int dimension, double* w) const {
    // width = volume / area of the face = 1 / |row of the inverse|
    const double xy = h[0][1] / h[1][1];
    if (dimension == 2) {
        w[0] = h[0][0] / std::sqrt(1.0 + xy * xy);
        w[1] = h[1][1];
        return;
    }
    const double yz = h[1][2] / h[2][2];
    const double xz = h[0][2] / h[2][2] - xy * yz;
    w[0] = h[0][0] / std::sqrt(1.0 + xy * xy + xz * xz);
    w[1] = h[1][1] / std::sqrt(1.0 + yz * yz);
    w[2] = h[2][2];
}

bool Box::triclinic(int dimension) const {
    for (int a = 0; a < dimension; ++a)
        for (int b = a + 1; b < dimension; ++b)
            if (h[a][b] != 0.0) return true;
    return false;
}

void Box::wrap(int dimension, double* r) const {
    for (int b = dimension - 1; b >= 0; --b) {
        // The fraction along b once the later vectors' parts are taken off.
        double along = r[b];
        double s[3] = {};
        for (int c = dimension - 1; c > b; --c) {
            s[c] = r[c];
            for (int e = c + 1; e < dimension; ++e) s[c] -= h[c][e] * s[e];
            s[c] /= h[c][c];
        }
        for (int c = b + 1; c < dimension; ++c) along -= h[b][c] * s[c];
        const double images = std::floor(along / h[b][b] + 0.5);
        for (int a = 0; a <= b; ++a) r[a] -= images * h[a][b];
    }
}

Workspace::~Workspace() { release(); }

void Workspace::release() {
    std::free(block_);
    std::free(entries);
    std::free(cell_first);
    block_ = nullptr;
    entries = nullptr;
    cell_first = nullptr;
    entry_capacity = cell_capacity = 0;
}

void Workspace::prepare(int n_particles, int dimension, const PairTable& pairs) {
    const std::size_t n_pairs = std::size_t(pairs.n_types) * pairs.stride;
    n = n_particles;
    padded = (n_particles + lanes) / lanes * lanes;  // room for the ghost
    if (n_particles != allocated_n_ || n_pairs != allocated_pairs_) {
        release();
        const std::size_t doubles = aligned(std::size_t(padded + lanes) * sizeof(double));
        const std::size_t ints = aligned(std::size_t(padded + lanes) * sizeof(std::int32_t));
        const std::size_t rows = aligned(std::size_t(n + 1) * sizeof(std::int64_t));
        const std::size_t table = aligned(n_pairs * sizeof(double));
        char* p = static_cast<char*>(allocate(15 * doubles + 3 * ints + rows + table));
        block_ = p;
        const auto take = [&p](std::size_t bytes) {
            char* here = p;
            p += bytes;
            return here;
        };
        for (int d = 0; d < 3; ++d) {
            x[d] = reinterpret_cast<double*>(take(doubles));
            v[d] = reinterpret_cast<double*>(take(doubles));
            f[d] = reinterpret_cast<double*>(take(doubles));
            built[d] = reinterpret_cast<double*>(take(doubles));
            sorted[d] = reinterpret_cast<double*>(take(doubles));
        }
        type = reinterpret_cast<std::int32_t*>(take(ints));
        sorted_entry = reinterpret_cast<std::uint32_t*>(take(ints));
        cell_of = reinterpret_cast<std::int32_t*>(take(ints));
        row = reinterpret_cast<std::int64_t*>(take(rows));
        reach_squared = reinterpret_cast<double*>(take(table));
        allocated_n_ = n_particles;
        allocated_pairs_ = n_pairs;
    }
    for (int d = 0; d < dimension; ++d)
        for (int i = 0; i < padded; ++i) {
            v[d][i] = f[d][i] = built[d][i] = 0.0;
            if (i >= n) x[d][i] = std::numeric_limits<double>::quiet_NaN();
        }
    for (int i = n; i < padded; ++i) type[i] = 0;
    // The last pack of a cell reads past it: entries that exist, though they are not taken.
    for (int i = n; i < padded + lanes; ++i) sorted_entry[i] = 0;
}

void Workspace::reserve_entries(std::size_t count) {
    if (count <= entry_capacity) return;
    const std::size_t capacity = count + count / 2;
    auto* larger = static_cast<std::uint32_t*>(allocate(capacity * sizeof(std::uint32_t)));
    for (std::size_t k = 0; k < entry_capacity; ++k) larger[k] = entries[k];
    std::free(entries);
    entries = larger;
    entry_capacity = capacity;
}

void Workspace::reserve_cells(std::size_t count) {
    if (count <= cell_capacity) return;
    std::free(cell_first);
    cell_first = nullptr;
    cell_first = static_cast<std::int32_t*>(allocate(count * sizeof(std::int32_t)));
    cell_capacity = count;
}

}  // namespace amorph::engine
