// What is done to a replica, one stage after another: the same description for every kernel.
#pragma once

#include <cmath>
#include <cstdint>

#include "../../potentials/real.h"

namespace amorph::engine {

// FIRE 2 (Guenole et al. 2020). Times are in units of 1/sqrt(largest pair stiffness), mass 1;
// the largest move of a step in units of the largest sigma.
struct FireSettings {
    double dt_start = 0.15;
    double dt_max = 0.5;
    double dt_min = 0.002;
    double max_move = 0.1;
    double grow = 1.1;
    double shrink = 0.5;
    double mixing = 0.25;
    double mixing_decay = 0.99;
    int delay = 5;
};

// Newton's method, tried once FIRE has brought the largest force below `start` (in units of the
// largest stiffness times the largest sigma; 0: never). It may move no particle farther than
// `reach` largest sigmas, and its linear systems are solved to a residual of `forcing` times the
// largest force; where it fails, FIRE goes on to a tenth of the force.
struct NewtonSettings {
    double start = 1e-5;
    double reach = 0.05;
    double forcing = 0.01;
    int max_products = 1000;
};

// A temperature that changes in time: `n` values at ascending steps, linear or geometric between
// them, constant before the first and after the last.
struct Schedule {
    int n;
    const double* step;
    const double* value;
    bool geometric;

    AMORPH_HOSTDEVICE AMORPH_INLINE double at(double s) const {
        if (s <= step[0]) return value[0];
        for (int k = 1; k < n; ++k)
            if (s < step[k]) {
                const double t = (s - step[k - 1]) / (step[k] - step[k - 1]);
                return geometric ? value[k - 1] * ::pow(value[k] / value[k - 1], t)
                                 : value[k - 1] + t * (value[k] - value[k - 1]);
            }
        return value[n - 1];
    }
};

struct Stage {
    enum class Kind : std::int32_t {
        minimize = 0,  // the energy, or at fixed pressure the enthalpy
        langevin = 1,  // BAOAB: Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34 (2013)
        brownian = 2,  // its limit of large friction, same paper
        rescale = 3,   // box and positions, one of some equal steps towards a volume
    };
    Kind kind;
    std::int64_t steps;  // the most for `minimize`, else as many
    // minimize
    double tolerance;  // largest |F|
    bool at_pressure;
    double pressure;
    double pressure_tolerance;  // relative
    FireSettings fire;
    NewtonSettings newton;
    // langevin, brownian
    double dt;
    double friction;
    Schedule temperature;
    bool draw_velocities;  // from Maxwell's distribution at the first temperature; else as they are
    // rescale
    double volume;
    int steps_left;  // this one included
};

// The key of a replica's random numbers; purpose, particle and time step are the rest of their
// counter. `stream` sets apart what goes on with the same seed and replica.
struct RandomKey {
    std::uint64_t seed = 0;
    std::uint32_t replica = 0;
    std::uint32_t stream = 0;

    AMORPH_HOSTDEVICE AMORPH_INLINE RandomKey of(std::int64_t further) const {
        return {seed, replica + static_cast<std::uint32_t>(further), stream};
    }
};

// What random numbers are for, as their keys have it.
struct Purposes {
    std::uint32_t noise[2];  // for x and y, and for z
    std::uint32_t velocity[2];
};

}  // namespace amorph::engine
