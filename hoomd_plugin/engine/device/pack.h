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
    // What Batch points at.
    std::vector<std::uint16_t> order, type;
    std::vector<std::int32_t> first_of_type;
    std::vector<double> boxes, coefficients, r_cut;
    std::vector<Scales> scales;
    // All but the pointers, the layout and what belongs to a device.
    Batch batch;
};

// Throws std::invalid_argument, saying what the GPU does not do.
Packed pack(const Replicas& replicas, const Work& work);

}  // namespace amorph::engine::device
