// What a kernel works on: plain buffers, owned and grown here so that the kernels, which are
// compiled for several instruction sets, instantiate nothing of the standard library.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../potentials/table.h"

namespace amorph::engine {

// A periodic box; the columns of h are its vectors, h upper triangular.
struct Box {
    double h[3][3];
    double volume(int dimension) const;
    // distances between opposite faces
    void widths(int dimension, double* w) const;
    bool triclinic(int dimension) const;
    // Fractional coordinates.
    void fractions(int dimension, const double* r, double* s) const;
    // Bring a position into the box, fractional coordinates s in [-1/2, 1/2); `images` counts the
    // box vectors that were taken off.
    void wrap(int dimension, double* r, double* s, std::int32_t* images) const;
    void rescale(double factor);
};

// Coefficients of the pairs of types, [type][coefficient][type], and their cutoffs [type][type].
// A row of types has `stride` places, at least a pack's, so that a small row is one load. The
// column after the last type is the ghosts': its coefficients are zero, and so is their force.
struct PairTable {
    int n_types;
    int stride;
    int n_coefficients;
    const double* coefficients;
    const double* r_cut;
    double max_cutoff;
    double max_sigma;
    double max_stiffness;
    potentials::Cells cells{};  // of a tabulated potential
};

// Springs between pairs of particles, (i, j) by their ids, each pair once.
struct Bonds {
    std::int64_t count = 0;
    const std::int32_t* pairs = nullptr;
    const double* stiffness = nullptr;
    const double* length = nullptr;
};

// One replica's arrays. Vectors stand particle by particle, two doubles each in two dimensions and
// four (the last one 0) in three, so that a neighbour's is one load. Particles are kept in the
// order of the neighbour list's cells, `id` telling which is which. The slot after the last
// particle is a ghost of a type of its own, which fills rows of neighbours to whole packs.
class Workspace {
  public:
    Workspace() = default;
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    // Room for n particles, in the order given, at rest at the origin.
    void prepare(int n_particles, int dimension, const PairTable& table);
    void reserve_entries(std::size_t count);
    void reserve_cells(std::size_t count);
    void reserve_tensors(std::size_t count);
    // Room for the bonds' rows; to be called after `prepare`.
    void set_bonds(const Bonds& bonds);

    static constexpr int lanes = 8;  // the widest pack

    int n = 0;
    int stride = 2;  // doubles a particle takes
    int length = 0;  // doubles of an array of vectors, ghosts included, in whole packs
    double* x = nullptr;
    double* v = nullptr;
    double* f = nullptr;
    double* built = nullptr;  // positions when the neighbour list was built
    std::int32_t* type = nullptr;
    std::int32_t* id = nullptr;
    std::int32_t* image = nullptr;  // box vectors taken off a position since the start, three each

    std::uint32_t* entries = nullptr;  // rows of neighbours, in whole packs: where x has them
    std::uint16_t* kinds = nullptr;    // their types
    std::size_t entry_capacity = 0;
    std::int64_t* row = nullptr;     // first entry of each row, n + 1
    std::uint8_t* images = nullptr;  // whether a row reaches across the box's faces

    // The bonds, in rows as the neighbours are.
    Bonds bonds;
    std::int64_t* bond_row = nullptr;
    std::uint32_t* bond_entries = nullptr;
    double* bond_stiffness = nullptr;
    double* bond_length = nullptr;
    std::int32_t* place = nullptr;  // of each id

    // While a list is built: the particles' new order, and what is near a cell.
    double* other_x = nullptr;
    double* other_v = nullptr;
    std::int32_t* other_type = nullptr;
    std::int32_t* other_id = nullptr;
    std::int32_t* other_image = nullptr;
    double* near[3] = {};
    std::uint32_t* near_entry = nullptr;
    std::int32_t* cell_of = nullptr;
    std::int32_t* pending = nullptr;   // the last pair put off to a row, -1 for none
    std::uint32_t* put_off = nullptr;  // pairs put off: the particle, and the one before it
    std::int32_t* cell_first = nullptr;
    std::size_t cell_capacity = 0;
    double* reach_squared = nullptr;  // (r_cut + skin)^2, laid out as the table's r_cut

    double* noise = nullptr;

    // Newton's method: vectors, the particles' diagonal blocks, the pairs' second derivatives.
    double* step = nullptr;
    double* residual = nullptr;
    double* direction = nullptr;
    double* product = nullptr;
    double* coupling = nullptr;  // of the positions to the strain, at fixed pressure
    double* blocks = nullptr;
    double* tensors = nullptr;
    std::size_t tensor_capacity = 0;

  private:
    void release();
    void* block_ = nullptr;
    void* bond_block_ = nullptr;
    int allocated_n_ = -1;
    int allocated_stride_ = 0;
    std::size_t allocated_pairs_ = 0;
};

}  // namespace amorph::engine
