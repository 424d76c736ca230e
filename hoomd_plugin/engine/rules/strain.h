// The box's volume as a degree of freedom of a minimisation at fixed pressure, beside the
// positions: a logarithmic strain of all lengths, isotropic.
#pragma once

#include "fire.h"
#include "outcome.h"

namespace amorph::engine {

struct StrainMotion {
    double unit;  // makes a length of the strain, as stiff as a particle
    double first_volume;
    double volume;
    double force = 0.0;     // -dH/d(strain) / unit, H the enthalpy U + p V
    double velocity = 0.0;  // of unit times the strain
    double since_built = 0.0;

    AMORPH_HOSTDEVICE AMORPH_INLINE StrainMotion(int dimension, double now, double max_sigma)
        : first_volume(now), volume(now) {
        unit = dimension * ::sqrt(now);
        if (dimension == 3) unit /= ::sqrt(max_sigma);
    }

    // The force, from the trace of the virial at the volume there is.
    AMORPH_HOSTDEVICE AMORPH_INLINE void pull(int dimension, double trace, double pressure) {
        force = -(trace + dimension * pressure * volume) / unit;
    }
    AMORPH_HOSTDEVICE AMORPH_INLINE void add_to(FireSums& s) const {
        s.power += force * velocity;
        s.speed_squared += velocity * velocity;
        s.force_squared += force * force;
    }
    // Whether the pressure is that of the stage.
    AMORPH_HOSTDEVICE AMORPH_INLINE bool reached(int dimension, const Stage& stage) const {
        if (stage.pressure == 0.0) return ::fabs(force) <= stage.tolerance;
        const double off = ::fabs(force) * unit / (dimension * volume);
        return off <= stage.pressure_tolerance * ::fabs(stage.pressure);
    }
    // The time step of a move, by how far the box may go in it.
    AMORPH_HOSTDEVICE AMORPH_INLINE double limited(const FireMove& chosen) const {
        constexpr double most = 0.02;  // strain of a step
        const double speed = chosen.back != 0.0 ? 0.0 : ::fabs(velocity);
        return Fire::limited(chosen.dt, chosen, speed, ::fabs(force), most * unit);
    }
    // The strain of FIRE's half step back; 0 where there is none.
    AMORPH_HOSTDEVICE AMORPH_INLINE double back(const FireMove& move) {
        if (move.back == 0.0) return 0.0;
        const double strain = move.back * velocity / unit;
        since_built += strain;
        velocity = 0.0;
        return strain;
    }
    // The strain of its step.
    AMORPH_HOSTDEVICE AMORPH_INLINE double forth(const FireMove& move) {
        velocity = move.keep * (velocity + move.dt * force) + move.mix * force;
        const double strain = move.dt * velocity / unit;
        since_built += strain;
        return strain;
    }
    // What the box has come to; `ran`: all is well.
    AMORPH_HOSTDEVICE AMORPH_INLINE Status judge(double now, double narrowest,
                                                 double max_cutoff) const {
        if (!(now < 1e300)) return Status::not_finite;
        if (!(narrowest >= 2.0 * max_cutoff)) return Status::box_too_small;
        return now < 1e3 * first_volume ? Status::ran : Status::box_unbounded;
    }
};

// Where a minimisation stands once its forces are known; `ran`: it goes on. `pressed`: the pressure
// is the stage's, or none is asked for.
AMORPH_HOSTDEVICE AMORPH_INLINE Status verdict(const FireSums& s, const Stage& stage,
                                               std::int64_t steps, bool pressed) {
    if (!(s.force_squared + s.speed_squared < 1e300)) return Status::not_finite;
    if (s.max_force_squared <= stage.tolerance * stage.tolerance && pressed)
        return Status::converged;
    return steps >= stage.steps ? Status::step_limit : Status::ran;
}

}  // namespace amorph::engine
