#include "workspace.h"

#include <cmath>
#include <cstdlib>
#include <initializer_list>
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

void Box::fractions(int dimension, const double* r, double* s) const {
    for (int b = dimension - 1; b >= 0; --b) {
        double rest = r[b];
        for (int c = b + 1; c < dimension; ++c) rest -= h[b][c] * s[c];
        s[b] = rest / h[b][b];
    }
}

void Box::rescale(double factor) {
    for (auto& row : h)
        for (double& x : row) x *= factor;
}

void Box::wrap(int dimension, double* r, double* s, std::int32_t* images) const {
    fractions(dimension, r, s);
    for (int b = dimension - 1; b >= 0; --b) {
        const double taken = std::floor(s[b] + 0.5);
        s[b] -= taken;
        images[b] += std::int32_t(taken);
        for (int a = 0; a <= b; ++a) r[a] -= taken * h[a][b];
    }
}

Workspace::~Workspace() { release(); }

void Workspace::release() {
    for (void* p : {block_, bond_block_, static_cast<void*>(entries), static_cast<void*>(kinds),
                    static_cast<void*>(cell_first), static_cast<void*>(tensors)})
        std::free(p);
    block_ = bond_block_ = nullptr;
    entries = nullptr;
    kinds = nullptr;
    cell_first = nullptr;
    tensors = nullptr;
    entry_capacity = cell_capacity = tensor_capacity = 0;
}

void Workspace::prepare(int n_particles, int dimension, const PairTable& pairs) {
    const std::size_t n_pairs = std::size_t(pairs.n_types) * pairs.stride;
    n = n_particles;
    stride = dimension == 2 ? 2 : 4;
    length = (stride * (n_particles + 1) + lanes - 1) / lanes * lanes;
    if (n_particles != allocated_n_ || stride != allocated_stride_ || n_pairs != allocated_pairs_) {
        release();
        const std::size_t vectors = aligned(std::size_t(length) * sizeof(double));
        const std::size_t doubles = aligned(std::size_t(n + 2 * lanes) * sizeof(double));
        const std::size_t ints = aligned(std::size_t(n + 2 * lanes) * sizeof(std::int32_t));
        const std::size_t bytes = aligned(std::size_t(n + 1));
        const std::size_t rows = aligned(std::size_t(n + 1) * sizeof(std::int64_t));
        const std::size_t table = aligned(n_pairs * sizeof(double));
        const std::size_t squares =
            aligned(std::size_t(n + 1) * dimension * dimension * sizeof(double));
        char* p = static_cast<char*>(allocate(12 * vectors + 3 * doubles + (13 + 2 * lanes) * ints +
                                              bytes + rows + table + squares));
        block_ = p;
        const auto take = [&p](std::size_t size) {
            char* here = p;
            p += size;
            return here;
        };
        for (double** array : {&x, &v, &f, &built, &other_x, &other_v, &step, &residual, &direction,
                               &product, &coupling, &noise})
            *array = reinterpret_cast<double*>(take(vectors));
        for (double*& array : near) array = reinterpret_cast<double*>(take(doubles));
        for (std::int32_t** array : {&type, &id, &other_type, &other_id, &cell_of, &pending})
            *array = reinterpret_cast<std::int32_t*>(take(ints));
        image = reinterpret_cast<std::int32_t*>(take(3 * ints));
        other_image = reinterpret_cast<std::int32_t*>(take(3 * ints));
        near_entry = reinterpret_cast<std::uint32_t*>(take(ints));
        put_off = reinterpret_cast<std::uint32_t*>(take(2 * lanes * ints));
        images = reinterpret_cast<std::uint8_t*>(take(bytes));
        row = reinterpret_cast<std::int64_t*>(take(rows));
        reach_squared = reinterpret_cast<double*>(take(table));
        blocks = reinterpret_cast<double*>(take(squares));
        allocated_n_ = n_particles;
        allocated_stride_ = stride;
        allocated_pairs_ = n_pairs;
    }
    for (double* array :
         {x, v, f, built, other_x, other_v, step, residual, direction, product, coupling, noise})
        for (int k = 0; k < length; ++k) array[k] = 0.0;
    for (int i = 0; i < n; ++i) id[i] = i;
    for (int k = 0; k < 3 * n; ++k) image[k] = 0;
}

void Workspace::reserve_entries(std::size_t count) {
    if (count <= entry_capacity) return;
    const std::size_t capacity = count + count / 2;
    auto* larger = static_cast<std::uint32_t*>(allocate(capacity * sizeof(std::uint32_t)));
    for (std::size_t k = 0; k < entry_capacity; ++k) larger[k] = entries[k];
    std::free(entries);
    entries = larger;
    auto* more = static_cast<std::uint16_t*>(allocate(capacity * sizeof(std::uint16_t)));
    for (std::size_t k = 0; k < entry_capacity; ++k) more[k] = kinds[k];
    std::free(kinds);
    kinds = more;
    entry_capacity = capacity;
}

void Workspace::reserve_tensors(std::size_t count) {
    if (count <= tensor_capacity) return;
    std::free(tensors);
    tensors = nullptr;
    tensors = static_cast<double*>(allocate((count + count / 4) * sizeof(double)));
    tensor_capacity = count + count / 4;
}

void Workspace::set_bonds(const Bonds& all) {
    bonds = all;
    std::free(bond_block_);
    bond_block_ = nullptr;
    if (bonds.count == 0) return;
    const std::size_t most = std::size_t(bonds.count) + std::size_t(n) * lanes;
    const std::size_t doubles = aligned(most * sizeof(double));
    const std::size_t ints = aligned(most * sizeof(std::uint32_t));
    const std::size_t rows = aligned(std::size_t(n + 1) * sizeof(std::int64_t));
    const std::size_t places = aligned(std::size_t(n) * sizeof(std::int32_t));
    char* p = static_cast<char*>(allocate(2 * doubles + ints + rows + places));
    bond_block_ = p;
    bond_stiffness = reinterpret_cast<double*>(p);
    bond_length = reinterpret_cast<double*>(p + doubles);
    bond_entries = reinterpret_cast<std::uint32_t*>(p + 2 * doubles);
    bond_row = reinterpret_cast<std::int64_t*>(p + 2 * doubles + ints);
    place = reinterpret_cast<std::int32_t*>(p + 2 * doubles + ints + rows);
}

void Workspace::reserve_cells(std::size_t count) {
    if (count <= cell_capacity) return;
    std::free(cell_first);
    cell_first = nullptr;
    cell_first = static_cast<std::int32_t*>(allocate(count * sizeof(std::int32_t)));
    cell_capacity = count;
}

}  // namespace amorph::engine
