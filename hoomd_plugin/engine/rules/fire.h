// FIRE 2, the fast inertial relaxation engine with semi-implicit Euler steps and the half step
// back: J. Guenole et al., Comput. Mater. Sci. 175, 109584 (2020). Its rules, the same for every
// kernel; what they are applied to, fire.h and device/minimize.h have.
#pragma once

#include <cmath>

#include "stage.h"

namespace amorph::engine {

struct FireSums {
    double power;          // F . v
    double speed_squared;  // v . v
    double force_squared;  // F . F
    double max_force_squared;
    double max_speed_squared;
};

// What FIRE decides at a step: x += back v with v = 0 where back is not 0, then
// v = keep (v + dt F) + mix F, x += dt v.
struct FireMove {
    double back;
    double dt, keep, mix;
};

// The state FIRE carries from step to step, and its rules.
struct Fire {
    const FireSettings& settings;
    double dt_max, dt_min, max_move;
    double dt, mixing;
    double taken = 0.0;  // the last time step
    int downhill = 0;
    std::int64_t steps = 0;

    AMORPH_HOSTDEVICE AMORPH_INLINE Fire(const FireSettings& s, double max_stiffness,
                                         double max_sigma)
        : settings(s), mixing(s.mixing) {
        const double time = 1.0 / ::sqrt(max_stiffness);
        dt_max = s.dt_max * time;
        dt_min = s.dt_min * time;
        dt = s.dt_start * time;
        max_move = s.max_move * max_sigma;
    }

    // `other_limit` bounds the time step by what moves besides the particles.
    template <class OtherLimit>
    AMORPH_HOSTDEVICE AMORPH_INLINE FireMove decide(const FireSums& s, OtherLimit&& other_limit) {
        FireMove move{0.0, dt, 1.0, 0.0};
        if (s.power > 0.0) {
            if (++downhill > settings.delay) {
                dt = dt * settings.grow < dt_max ? dt * settings.grow : dt_max;
                mixing *= settings.mixing_decay;
            }
            move.keep = 1.0 - mixing;
            move.mix = mixing * ::sqrt(s.speed_squared / s.force_squared);
        } else if (steps > 0) {
            downhill = 0;
            move.back = -0.5 * taken;
            // Not at the very start, where velocities are still random with respect to forces.
            if (steps > settings.delay && dt * settings.shrink >= dt_min) dt *= settings.shrink;
            mixing = settings.mixing;
        }
        const double speed = move.back != 0.0 ? 0.0 : ::sqrt(s.max_speed_squared);
        move.dt = limited(dt, move, speed, ::sqrt(s.max_force_squared), max_move);
        move.dt = other_limit(move);
        taken = move.dt;
        ++steps;
        return move;
    }

    // The longest time step up to h in which nothing of the given speed and force moves farther
    // than `most`, kick included: h (keep (v + h f) + mix f) <= most.
    AMORPH_HOSTDEVICE AMORPH_INLINE static double limited(double h, const FireMove& move,
                                                          double speed, double force, double most) {
        const double before = move.keep * speed + move.mix * force;
        const double kick = move.keep * force;
        if (h * (before + h * kick) <= most) return h;
        return 2.0 * most / (before + ::sqrt(before * before + 4.0 * kick * most));
    }
};

}  // namespace amorph::engine
