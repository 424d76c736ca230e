// What a kernel works on: plain buffers, owned and grown here so that the kernels, which are
// compiled for several instruction sets, instantiate nothing of the standard library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace amorph::engine {

// A periodic box; the columns of h are its vectors, h upper triangular.
struct Box {
    double h[3][3];
    double volume(int dimension) const;
    // distances between opposite faces
    void widths(int dimension, double* w) const;
    bool triclinic(int dimension) const;
    // Bring a position into the box, fractional coordinates in [-1/2, 1/2).
    void wrap(int dimension, double* r) const;
};

// Coefficients of the pairs of types, [coefficient][type][type], and their cutoffs [type][type].
// A row of types has `stride` places, at least a pack's, so that a small row is one load.
struct PairTable {
    int n_types;
    int stride;
    int n_coefficients;
    const double* coefficients;
    const double* r_cut;
    double max_cutoff;
    double max_sigma;
    double max_stiffness;
};

// One replica's arrays, particles padded to whole packs. The slot after the last particle is a
// ghost at NaN, which every comparison with a cutoff leaves out: it fills neighbour rows.
class Workspace {
  public:
    Workspace() = default;
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    void prepare(int n_particles, int dimension, const PairTable& table);
    void reserve_entries(std::size_t count);
    void reserve_cells(std::size_t count);

    static constexpr int lanes = 8;  // the widest pack

    int n = 0;
    int padded = 0;
    double* x[3] = {};
    double* v[3] = {};
    double* f[3] = {};
    double* built[3] = {};  // positions when the neighbour list was built
    std::int32_t* type = nullptr;

    std::uint32_t* entries = nullptr;  // rows of neighbours, each a whole number of packs
    std::size_t entry_capacity = 0;
    std::int64_t* row = nullptr;  // first entry of each row, n + 1

    double* sorted[3] = {};  // positions in the order of the cells
    std::uint32_t* sorted_entry = nullptr;
    std::int32_t* cell_of = nullptr;
    std::int32_t* cell_first = nullptr;
    std::size_t cell_capacity = 0;
    double* reach_squared = nullptr;  // (r_cut + skin)^2, laid out as the table's r_cut

  private:
    void release();
    void* block_ = nullptr;
    int allocated_n_ = -1;
    std::size_t allocated_pairs_ = 0;
};

}  // namespace amorph::engine
