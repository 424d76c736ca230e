// A replica on its team: where its arrays lie, and its box, types and parameters.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "../../potentials/table.h"
#include "../rules/motion.h"
#include "../rules/strain.h"
#include "team.h"

namespace amorph::engine::device {

// Particles are known by 16 bits; beyond a few thousand the block that a replica has is too few
// threads for it, and the processor's cores are the better place.
constexpr int most_particles = 10000;

// Cells are thought of for many particles only, which have a lane each.
AMORPH_HOSTDEVICE constexpr bool may_use_cells(int n_particles, int lanes) {
    return lanes == 1 && n_particles > 512;
}

// A vector that is one load in two dimensions.
template <int D>
struct alignas(D == 2 ? 16 : 8) Point {
    double r[D];
};
// Fractional coordinates, 2^32 a box.
template <int D>
struct alignas(D == 2 ? 8 : 4) NearPoint {
    std::uint32_t s[D];
};

// As one load where it can be.
template <int D>
AMORPH_HOSTDEVICE NearPoint<D> load(const NearPoint<D>* p) {
    NearPoint<D> value;
    if constexpr (D == 2) {
        std::uint64_t both;
        __builtin_memcpy(&both, __builtin_assume_aligned(p, sizeof both), sizeof both);
        value.s[0] = std::uint32_t(both);
        value.s[1] = std::uint32_t(both >> 32);
    } else {
        value = *p;
    }
    return value;
}

struct Scales {
    double max_cutoff;
    double max_sigma;
    double max_stiffness;
};

// Where the cells of a replica's tabulated potential begin among all of the batch.
struct CellsAt {
    std::int64_t first;
    std::int32_t bits, n_breaks;
};

// What becomes of a replica. Where a row of neighbours was too long for the list, nothing else is
// set or written: the replica has to run again with room for `row_needed`.
struct Result {
    Outcome outcome;
    std::int32_t row_needed;
    double seconds;
};

// Bytes from the start of the shared or of the global part of a replica's arena.
struct Layout {
    bool state_shared;
    bool list_shared;
    bool table_shared;
    std::uint32_t partials, box, table, x, v, f, built, image, near_x, counts, cell_first, cell_of,
        cell_mixed, cell_order;
    std::uint64_t list;
    int capacity;  // entries of a column
    int columns;   // from one row of the list to the next
    std::uint32_t shared_bytes;
    std::uint64_t global_bytes;
};

// A bond as the row of one of its ends has it.
struct BondEnd {
    double stiffness, length;
    std::int32_t other;
};

// Replicas of equal size, as the kernels take them. Particles stand in the order of their types, so
// that of a column of neighbours each type's follow one another.
struct Batch {
    int n_particles;
    int n_types;
    // One for each replica, or one for all.
    bool types_each, box_each, table_each, scales_each, bonds_each;
    const std::uint16_t* order;         // (n,): where a particle stands with the caller
    const std::uint16_t* type;          // (n,)
    const std::int32_t* first_of_type;  // (n_types + 1,)
    double* boxes;                      // h, (3, 3); changed only where each has its own
    const double* coefficients;         // (n_types, n_types, n_coefficients)
    const double* r_cut;                // (n_types, n_types)
    const double* cells;                // (n_cells, 8); null: the potential is not tabulated
    const CellsAt* cells_at;            // as the tables
    const Scales* scales;               //
    const std::int64_t* bond_first;     // (n + 1,), of each particle's row; null: no bonds
    const BondEnd* bonds;               //
    double* positions;                  // (n_replicas, n, d), in and out
    double* velocities;                 // the same, or null: at rest, and not given back
    double* forces;                     // the same, or null
    Result* results;                    // (n_replicas,)
    Stage stage;                        // the only one, where one minimisation is all
    int n_stages;                       // none: only measure
    const Stage* stages;                // all of them
    RandomKey key;                      // of the first replica
    Purposes purposes;                  //
    Trajectory trajectory;              // of the first replica
    Layout layout;
    const volatile std::int32_t* stop;
};

// Differences of positions to their nearest images.
template <int D>
struct Images {
    double h[D][D];
    double half[D];
    double inverse[D];

    AMORPH_HOSTDEVICE explicit Images(const double* box) {
        for (int a = 0; a < D; ++a) {
            for (int b = 0; b < D; ++b) h[a][b] = box[3 * a + b];
            half[a] = 0.5 * box[4 * a];
            inverse[a] = 1.0 / box[4 * a];
        }
    }
    // Without tilt, for positions that were in the box and have moved by less than a quarter of it
    // since; with tilt, for lengths below half the box's smallest width.
    template <bool Tilted>
    AMORPH_HOSTDEVICE void nearest(double* d) const {
        for (int b = D - 1; b >= 0; --b) {
            if constexpr (Tilted) {
                constexpr double shift = 6755399441055744.0;  // 1.5 2^52
                const double images = (d[b] * inverse[b] + shift) - shift;
                for (int a = 0; a <= b; ++a) d[a] -= images * h[a][b];
            } else {
                d[b] -= std::fabs(d[b]) > half[b] ? std::copysign(h[b][b], d[b]) : 0.0;
            }
        }
    }
};

// One replica as its team works on it. `L` threads, the lanes, share a particle's row of
// neighbours: each has a column of the list of its own.
template <int D, int L>
struct Replica {
    int n;
    int n_types;
    const std::uint16_t* order;
    const std::uint16_t* type;
    const std::int32_t* first_of_type;
    double* box;
    const double* coefficients;
    const double* r_cut;
    potentials::Cells cells;
    Scales scales;
    const std::int64_t* bond_first;  // null: no bonds
    const BondEnd* bonds;

    Point<D>* x;
    Point<D>* v;
    Point<D>* f;
    Point<D>* built;       // positions when the list was built
    std::int32_t* image;   // box vectors taken off since the start, D each; or null
    NearPoint<D>* near_x;  // positions when the list was built, for building it
    std::uint16_t* list;   // [place in the column][column]
    std::uint16_t* counts;
    std::int32_t* cell_first;
    std::int32_t* cell_of;
    std::uint16_t* cell_mixed;
    std::uint16_t* cell_order;
    double* partials;
    double* table;
    int capacity;
    int columns;

    // `Shared`: all of the arena is the block's shared memory, which the compiler then knows.
    template <bool Shared>
    AMORPH_HOSTDEVICE static Replica in(const Batch& batch, char* shared, char* global,
                                        std::int64_t replica) {
        const Layout& layout = batch.layout;
        char* const state = Shared || layout.state_shared ? shared : global;
        Replica r;
        r.n = batch.n_particles;
        r.n_types = batch.n_types;
        const std::int64_t types = batch.types_each ? replica : 0;
        r.order = batch.order + types * r.n;
        r.type = batch.type + types * r.n;
        r.first_of_type = batch.first_of_type + types * (r.n_types + 1);
        r.box = reinterpret_cast<double*>(shared + layout.box);
        const std::int64_t tables = batch.table_each ? replica : 0;
        r.coefficients = batch.coefficients;
        r.r_cut = batch.r_cut + tables * r.n_types * r.n_types;
        if (batch.cells != nullptr) {
            const CellsAt at = batch.cells_at[tables];
            r.cells = {batch.cells + at.first * potentials::Cells::size, at.bits, at.n_breaks};
        }
        r.scales = batch.scales[batch.scales_each ? replica : 0];
        r.bond_first = batch.bond_first;
        if (batch.bonds_each) r.bond_first += replica * (r.n + 1);
        r.bonds = batch.bonds;
        r.x = reinterpret_cast<Point<D>*>(state + layout.x);
        r.v = reinterpret_cast<Point<D>*>(state + layout.v);
        r.f = reinterpret_cast<Point<D>*>(state + layout.f);
        r.built = reinterpret_cast<Point<D>*>(state + layout.built);
        r.image = batch.trajectory.every > 0 ? reinterpret_cast<std::int32_t*>(state + layout.image)
                                             : nullptr;
        r.near_x = reinterpret_cast<NearPoint<D>*>(state + layout.near_x);
        r.counts = reinterpret_cast<std::uint16_t*>(state + layout.counts);
        r.cell_first = reinterpret_cast<std::int32_t*>(state + layout.cell_first);
        r.cell_of = reinterpret_cast<std::int32_t*>(state + layout.cell_of);
        r.cell_mixed = reinterpret_cast<std::uint16_t*>(state + layout.cell_mixed);
        r.cell_order = reinterpret_cast<std::uint16_t*>(state + layout.cell_order);
        r.partials = reinterpret_cast<double*>(shared + layout.partials);
        r.table = reinterpret_cast<double*>(shared + layout.table);
        char* const list = Shared || layout.list_shared ? shared : global;
        r.list = reinterpret_cast<std::uint16_t*>(list + layout.list);
        r.capacity = layout.capacity;
        r.columns = layout.columns;
        return r;
    }
};

}  // namespace amorph::engine::device
