// The numbers of a time step: Langevin dynamics by BAOAB, and its limit of large friction, in which
// the noise of a step is the mean of two (B. Leimkuhler and C. Matthews, Appl. Math. Res. Express
// 2013, 34 (2013)). Both sample a harmonic well without error in the positions.
#pragma once

#include <cmath>

#include "outcome.h"
#include "stage.h"

namespace amorph::engine {

// Half a kick, half a drift, v = decay v + width R, half a drift; the forces; half a kick.
struct LangevinStep {
    double half;
    double decay;
    double width;  // 0: no noise

    AMORPH_HOSTDEVICE AMORPH_INLINE LangevinStep(const Stage& stage, double temperature)
        : half(0.5 * stage.dt), decay(::exp(-stage.friction * stage.dt)) {
        width = ::sqrt(temperature * (1.0 - decay * decay));
    }
};

// x += mobility F + heat (R + R'), R' the next step's R.
struct BrownianStep {
    double mobility;
    double heat;

    AMORPH_HOSTDEVICE AMORPH_INLINE BrownianStep(const Stage& stage, double temperature)
        : mobility(stage.dt / stage.friction) {
        heat = 0.5 * ::sqrt(2.0 * temperature * mobility);
    }
};

// The noise before the first step of Brownian motion: what the last step left for the next, or
// would have. Langevin's last step has used this time's noise up: then it is the velocities'.
AMORPH_HOSTDEVICE AMORPH_INLINE const std::uint32_t* first_noise(const Purposes& purposes,
                                                                 Stage::Kind moved_by) {
    return moved_by == Stage::Kind::langevin ? purposes.velocity : purposes.noise;
}

// What Maxwell's distribution multiplies normal numbers with.
AMORPH_HOSTDEVICE AMORPH_INLINE double thermal_speed(const Stage& stage) {
    return ::sqrt(stage.temperature.at(0.0));
}

// How far, squared, a particle may go in a step.
AMORPH_HOSTDEVICE AMORPH_INLINE double farthest_squared(double max_sigma) {
    const double most = 0.5 * max_sigma;
    return most * most;
}

// How far a replica is on its way: time steps of all stages, frames kept, the last stage with a
// temperature; all zero at first, which is Stage::Kind::minimize.
struct Clock {
    std::int64_t md_step;
    std::int64_t frames;
    Stage::Kind moved_by;
};

}  // namespace amorph::engine
