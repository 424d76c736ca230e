// A replica's minimisation by FIRE, of its energy or at fixed pressure of its enthalpy, with the
// rules of ../fire_rules.h. Where ../minimize.h tries Newton's method once forces are small, FIRE
// goes all the way here.
#pragma once

#include "forces.h"

namespace amorph::engine::device {

// The strain of the box as a degree of freedom beside the positions: `unit` makes a length of it,
// and its force is -dH/d(strain) / unit. See ../minimize.h, whose numbers these are.
struct StrainMotion {
    double unit, first_volume;
    double force = 0.0, velocity = 0.0, since_built = 0.0;
    double volume = 0.0;
    double narrowest = 0.0;  // of the box's widths

    template <int D>
    AMORPH_HOSTDEVICE static double box_volume(const double* h) {
        double v = h[0] * h[4];
        if constexpr (D == 3) v *= h[8];
        return v;
    }
    template <int D>
    AMORPH_HOSTDEVICE static StrainMotion of(const double* box, const Scales& scales) {
        StrainMotion s;
        s.first_volume = box_volume<D>(box);
        s.unit = D * potentials::square_root(s.first_volume);
        if constexpr (D == 3) s.unit /= potentials::square_root(scales.max_sigma);
        return s;
    }
    // Before the forces, when nobody is at the box.
    template <int D>
    AMORPH_HOSTDEVICE void look_at(const double* box) {
        double widths[3];
        box_widths<D>(box, widths);
        volume = box_volume<D>(box);
        narrowest = widths[0];
        for (int a = 1; a < D; ++a) narrowest = widths[a] < narrowest ? widths[a] : narrowest;
    }
    // What the box has come to by a further strain.
    AMORPH_HOSTDEVICE Status judge(int dimension, double strain, const Scales& scales) const {
        const double grown = volume * ::exp(dimension * strain);
        if (!(grown < 1e300)) return Status::not_finite;
        if (!(narrowest * ::exp(strain) >= 2.0 * scales.max_cutoff)) return Status::box_too_small;
        return grown < 1e3 * first_volume ? Status::ran : Status::box_unbounded;
    }
    AMORPH_HOSTDEVICE bool reached(const Stage& stage, int dimension) const {
        if (stage.pressure == 0.0) return std::fabs(force) <= stage.tolerance;
        const double off = std::fabs(force) * unit / (dimension * volume);
        return off <= stage.pressure_tolerance * std::fabs(stage.pressure);
    }
};

// Box, positions and the list's positions times exp(strain). Barriers before and after.
template <int D, int L, class Team>
AMORPH_HOSTDEVICE void strain_all(Team& team, const Replica<D, L>& r, double strain) {
    const double factor = ::exp(strain);
    team.sync();
    team.each(r.n, [&](int i) {
        for (int a = 0; a < D; ++a) {
            r.x[i].r[a] *= factor;
            r.built[i].r[a] *= factor;
        }
    });
    if (team.rank() == 0)
        for (int k = 0; k < 9; ++k) r.box[k] *= factor;
    team.sync();
}

// Forces, and what FIRE goes by.
template <class Formula, bool General, int D, int L, class Team>
AMORPH_HOSTDEVICE FireSums fire_forces(Team& team, const Replica<D, L>& r, bool tilted,
                                       double& trace) {
    constexpr Sought sought = General ? Sought::trace : Sought::force;
    constexpr int n_sums = General ? 4 : 3;
    using Sums = Totals<n_sums, 2>;
    const Images<D> images(r.box);
    const Sums s = team.template reduce<L, Sums>(r.n, [&](int i, const auto& lanes) {
        double own[D + sought_values<sought>];
        sum_lanes<Formula, General, sought>(r, images, tilted, i, lanes, own);
        const Point<D> v = r.v[i];
        const double f2 = dot<D>(own, own);
        const double v2 = dot<D>(v.r, v.r);
        Sums t;
        t.add(0, dot<D>(own, v.r));
        t.add(1, v2);
        t.add(2, f2);
        if constexpr (General) t.add(3, 0.5 * own[D]);
        t.add(n_sums, f2);
        t.add(n_sums + 1, v2);
        return t;
    });
    if constexpr (General) trace = s.value[3];
    return {s.value[0], s.value[1], s.value[2], s.value[n_sums], s.value[n_sums + 1]};
}

template <class Formula, int D, int L, class Team>
AMORPH_APART AMORPH_HOSTDEVICE FireSums general_forces(Team& team, const Replica<D, L>& r,
                                                       bool tilted, double& trace) {
    return fire_forces<Formula, true>(team, r, tilted, trace);
}
template <int D, int L, class Team>
AMORPH_APART AMORPH_HOSTDEVICE Built general_list(Team& team, const Replica<D, L>& r, double skin,
                                                  std::int32_t& row_needed) {
    return build_list(team, r, skin, row_needed);
}

// Takes the step; returns whether a particle is farther than `reach` from where the list was built.
// `strain` is the box's, before what is added to the positions.
template <bool General, int D, int L, class Team>
AMORPH_HOSTDEVICE bool advance(Team& team, const Replica<D, L>& r, const FireMove& move,
                               double strain, double reach) {
    const double factor = General && strain != 0.0 ? ::exp(strain) : 1.0;
    bool far = false;
    team.each(r.n, [&](int i) {
        Point<D> x = r.x[i];
        Point<D> v = r.v[i];
        const Point<D> f = r.f[i];
        Point<D> built = r.built[i];
        double moved[D];
        for (int a = 0; a < D; ++a) {
            if (move.back != 0.0) {
                x.r[a] += move.back * v.r[a];
                v.r[a] = 0.0;
            }
            if constexpr (General) {
                x.r[a] *= factor;
                built.r[a] *= factor;
            }
            v.r[a] = move.keep * (v.r[a] + move.dt * f.r[a]) + move.mix * f.r[a];
            x.r[a] += move.dt * v.r[a];
            moved[a] = x.r[a] - built.r[a];
        }
        r.x[i] = x;
        r.v[i] = v;
        if constexpr (General) r.built[i] = built;
        if (!(dot<D>(moved, moved) < reach * reach)) far = true;
    });
    // The forces' images were taken from the box before the last barrier.
    if (General && team.rank() == 0)
        for (int k = 0; k < 9; ++k) r.box[k] *= factor;
    return team.any(far);
}

template <int D, int L, class Team>
AMORPH_HOSTDEVICE double largest_distance(Team& team, const Replica<D, L>& r) {
    using Most = Totals<0, 1>;
    const Most most = team.template reduce<1, Most>(r.n, [&](int i, const auto&) {
        double moved[D];
        for (int a = 0; a < D; ++a) moved[a] = r.x[i].r[a] - r.built[i].r[a];
        Most m;
        m.add(0, dot<D>(moved, moved));
        return m;
    });
    return potentials::square_root(most.value[0]);
}

// Minimise from where the particles are, and leave them at rest where it ends, with the forces and
// the list that belong there. Where rows outgrow the list it returns at once, `row_needed` set.
// `General`: the pressure may be what is fixed, and there may be bonds.
template <class Formula, bool General, int D, int L, class Team>
AMORPH_HOSTDEVICE Status minimize(Team& team, const Replica<D, L>& r, const Stage& stage,
                                  const volatile std::int32_t* stop, Result& result) {
    Outcome& out = result.outcome;
    const double tolerance_squared = stage.tolerance * stage.tolerance;
    const bool at_pressure = General && stage.at_pressure;
    const bool tilted = box_tilted<D>(r.box);
    Fire fire(stage.fire, r.scales.max_stiffness, r.scales.max_sigma);
    Skin skin(D, r.scales, build_cost(r));
    StrainMotion strain = StrainMotion::of<D>(r.box, r.scales);
    Status status = Status::ran;
    bool rebuild = true;
    std::int64_t steps = 0;
    team.each(r.n, [&](int i) { r.v[i] = Point<D>{}; });
    for (;; ++steps) {
        if (rebuild) {
            ++out.builds;
            strain.since_built = 0.0;
            Built built;
            if constexpr (General)
                built = general_list(team, r, skin.renew(), result.row_needed);
            else
                built = build_list(team, r, skin.renew(), result.row_needed);
            if (built != Built::done) {
                status = Status::not_finite;
                break;
            }
        }
        FireSums s;
        if constexpr (General) {
            strain.look_at<D>(r.box);
            double trace = 0.0;
            s = general_forces<Formula>(team, r, tilted, trace);
            if (at_pressure) {
                strain.force = -(trace + D * stage.pressure * strain.volume) / strain.unit;
                s.power += strain.force * strain.velocity;
                s.speed_squared += strain.velocity * strain.velocity;
                s.force_squared += strain.force * strain.force;
            }
        } else {
            double no_trace;
            s = fire_forces<Formula, false>(team, r, tilted, no_trace);
        }
        if (!(s.force_squared + s.speed_squared < 1e300)) {
            status = Status::not_finite;
            break;
        }
        if (s.max_force_squared <= tolerance_squared &&
            (!at_pressure || strain.reached(stage, D))) {
            status = Status::converged;
            break;
        }
        if (steps >= stage.steps) {
            status = Status::step_limit;
            break;
        }
        if ((steps & 31) == 0 && team.any(team.rank() == 0 && *stop != 0)) {
            status = Status::interrupted;
            break;
        }
        const FireMove move = fire.decide(s, [&](const FireMove& chosen) {
            if (!at_pressure) return chosen.dt;
            constexpr double most = 0.02;  // strain of a step
            const double speed = chosen.back != 0.0 ? 0.0 : std::fabs(strain.velocity);
            return Fire::limited(chosen.dt, chosen, speed, std::fabs(strain.force),
                                 most * strain.unit);
        });
        double strained = 0.0;
        if (at_pressure) {
            if (move.back != 0.0) {
                strained = move.back * strain.velocity / strain.unit;
                strain.velocity = 0.0;
            }
            strain.velocity =
                move.keep * (strain.velocity + move.dt * strain.force) + move.mix * strain.force;
            strained += move.dt * strain.velocity / strain.unit;
            strain.since_built += strained;
            status = strain.judge(D, strained, r.scales);
            if (status != Status::ran) {
                ++steps;
                break;
            }
        }
        const double reach = skin.reach(strain.since_built);
        const bool far = advance<General>(team, r, move, strained, reach);
        rebuild = skin.used_up(far, [&] { return largest_distance(team, r); }, strain.since_built);
    }
    out.steps += steps;
    team.each(r.n, [&](int i) { r.v[i] = Point<D>{}; });
    team.sync();
    return status;
}

}  // namespace amorph::engine::device
