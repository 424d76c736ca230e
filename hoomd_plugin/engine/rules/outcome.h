// How a replica's way through its stages ends, and what is kept on it.
#pragma once

#include <cmath>
#include <cstdint>

#include "../../potentials/real.h"

namespace amorph::engine {

enum class Status : std::int32_t {
    converged = 0,  // to the tolerance of the last minimisation
    step_limit = 1,
    not_finite = 2,  // a position or force ceased to be a number
    interrupted = 3,
    ran = 4,            // all stages done, the last of them not a minimisation
    unstable = 5,       // a particle moved farther in a time step than half the largest sigma
    box_too_small = 6,  // the box shrank below twice the cutoff
    box_unbounded = 7,  // it grew beyond a thousand times its volume
};

struct Outcome {
    Status status;
    std::int32_t stage;     // the one it ended in
    std::int64_t steps;     // of all stages
    std::int64_t products;  // of the Hessian with a vector
    std::int64_t builds;    // of the neighbour list
    double max_force;       // largest |F| over the particles
    double energy;
    double virial[6];  // sum over pairs of u'(r) r_a r_b / r: xx, yy, zz, yz, xz, xy
};

// Whether the next stage may begin.
AMORPH_HOSTDEVICE AMORPH_INLINE bool goes_on(Status status) {
    return status == Status::ran || status == Status::converged;
}

// Whether there is nothing to measure: where the particles are means nothing.
AMORPH_HOSTDEVICE AMORPH_INLINE bool has_failed(Status status) {
    return status == Status::not_finite || status == Status::unstable ||
           status == Status::box_too_small;
}

// What a replica that failed is given: nothing that could be taken for a result.
AMORPH_HOSTDEVICE AMORPH_INLINE void mark_not_finite(Outcome& out) {
    const double nan = ::nan("");
    out.energy = out.max_force = nan;
    for (double& v : out.virial) v = nan;
}

// Every so many steps the caller's wish to stop is looked at.
AMORPH_HOSTDEVICE AMORPH_INLINE bool looks_for_stop(std::int64_t step) { return (step & 31) == 0; }

// What is kept of a replica on its way through stages with a time step: every `every` steps the
// positions (unwrapped) and velocities, (frames, n, dimension) in the order of the ids.
struct Trajectory {
    std::int64_t every = 0;
    std::int64_t frames = 0;
    double* positions = nullptr;
    double* velocities = nullptr;

    AMORPH_HOSTDEVICE AMORPH_INLINE bool keeps(std::int64_t md_step) const {
        return every > 0 && md_step % every == 0;
    }
};

}  // namespace amorph::engine
