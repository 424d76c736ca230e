// A batch in the kernels' order, on the host.
#pragma once

#include <vector>

#include "../batch.h"
#include "plan.h"
#include "replica.h"

namespace amorph::engine::device {

struct Packed {
    int dimension;
    int potential;
    Shape shape;
    bool general;  // more to do than to minimise at fixed volume once, or to measure
    // What Batch points at.
    std::vector<std::uint16_t> order, type;
    std::vector<std::int32_t> first_of_type;
    std::vector<double> boxes, coefficients, r_cut, cells;
    std::vector<CellsAt> cells_at;
    std::vector<Scales> scales;
    std::vector<std::int64_t> bond_first;
    std::vector<BondEnd> bonds;
    // Their schedules point into `schedules`, all steps before all values, one after another.
    std::vector<Stage> stages;
    std::vector<double> schedules;
    // All but the pointers, the layout and what belongs to a device.
    Batch batch;
};

// Throws std::invalid_argument, saying what the GPU does not do.
Packed pack(const Replicas& replicas, const Work& work);

// The stages with their schedules elsewhere: where `schedules` has been copied to.
std::vector<Stage> stages_with(const Packed& packed, const double* schedules);

}  // namespace amorph::engine::device
