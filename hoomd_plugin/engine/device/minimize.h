// A replica's minimisation by FIRE 2 (J. Guenole et al., Comput. Mater. Sci. 175, 109584 (2020)),
// with the rules of ../fire.h.
#pragma once

#include "forces.h"

namespace amorph::engine::device {

// What FIRE goes by: F.v, v.v and F.F, and the largest F.F and v.v of a particle.
using FireSums = Totals<3, 2>;

// What it decides at a step: where `back` is not 0, x += back v and v = 0; then
// v = keep (v + dt F) + mix F, x += dt v.
struct FireStep {
    double back, dt, keep, mix;
};

struct FireState {
    double dt, dt_max, dt_min, max_move, mixing;
    int downhill = 0;

    AMORPH_HOSTDEVICE FireState(const FireSettings& s, const Scales& scales) : mixing(s.mixing) {
        const double time = 1.0 / potentials::square_root(scales.max_stiffness);
        dt = s.dt_start * time;
        dt_max = s.dt_max * time;
        dt_min = s.dt_min * time;
        max_move = s.max_move * scales.max_sigma;
    }
    AMORPH_HOSTDEVICE FireStep decide(const FireSettings& s, const FireSums& sums,
                                      std::int64_t steps) {
        FireStep step{0.0, dt, 1.0, 0.0};
        if (sums.value[0] > 0.0) {
            if (++downhill > s.delay) {
                dt = dt * s.grow < dt_max ? dt * s.grow : dt_max;
                mixing *= s.mixing_decay;
            }
            step.keep = 1.0 - mixing;
            step.mix = mixing * potentials::square_root(sums.value[1] / sums.value[2]);
            const double fastest = potentials::square_root(sums.value[4]);
            step.dt = fastest * dt > max_move ? max_move / fastest : dt;
        } else if (steps > 0) {
            downhill = 0;
            step.back = -0.5 * dt;
            // Not at the very start, where velocities are still random with respect to forces.
            if (steps > s.delay && dt * s.shrink >= dt_min) dt *= s.shrink;
            mixing = s.mixing;
            step.dt = dt;
        }
        return step;
    }
};

// Forces, and what FIRE goes by.
template <class Formula, int D, int L, class Team>
AMORPH_HOSTDEVICE FireSums fire_forces(Team& team, const Replica<D, L>& r, const Images<D>& images,
                                       bool tilted) {
    return team.template reduce<L, FireSums>(r.n, [&](int i, const auto& lanes) {
        double force[D];
        sum_lanes<Formula, false>(r, images, tilted, i, lanes, force);
        const Point<D> v = r.v[i];
        const double f2 = dot<D>(force, force);
        const double v2 = dot<D>(v.r, v.r);
        FireSums s;
        s.add(0, dot<D>(force, v.r));
        s.add(1, v2);
        s.add(2, f2);
        s.add(3, f2);
        s.add(4, v2);
        return s;
    });
}

// Takes the step; returns whether a particle is farther than `reach` from where the list was built.
template <int D, int L, class Team>
AMORPH_HOSTDEVICE bool advance(Team& team, const Replica<D, L>& r, const FireStep& step,
                               double reach) {
    bool far = false;
    team.each(r.n, [&](int i) {
        Point<D> x = r.x[i];
        Point<D> v = r.v[i];
        const Point<D> f = r.f[i];
        const Point<D> built = r.built[i];
        double moved[D];
        for (int a = 0; a < D; ++a) {
            if (step.back != 0.0) {
                x.r[a] += step.back * v.r[a];
                v.r[a] = 0.0;
            }
            v.r[a] = step.keep * (v.r[a] + step.dt * f.r[a]) + step.mix * f.r[a];
            x.r[a] += step.dt * v.r[a];
            moved[a] = x.r[a] - built.r[a];
        }
        r.x[i] = x;
        r.v[i] = v;
        if (!(dot<D>(moved, moved) < reach * reach)) far = true;
    });
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

// What a replica that failed is given: nothing that could be taken for a result.
AMORPH_HOSTDEVICE inline void mark_not_finite(Outcome& out) {
    const double nan = ::nan("");
    out.status = Status::not_finite;
    out.energy = out.max_force = nan;
    for (double& v : out.virial) v = nan;
}

// Minimise from the replica's positions and leave the minimum there, or only measure; the forces
// belong to where it ends.
template <class Formula, int D, int L, class Team>
AMORPH_HOSTDEVICE void run_stage(Team& team, const Replica<D, L>& r, const Batch& batch,
                                 Result& result) {
    Outcome& out = result.outcome;
    const double tolerance_squared = batch.tolerance * batch.tolerance;
    const Images<D> images(r.box);
    const bool tilted = box_tilted<D>(r.box);
    FireState fire(batch.fire, r.scales);
    Skin skin(D, r.scales, build_cost(r));
    std::int64_t steps = 0;
    bool rebuild = true;
    out.status = Status::step_limit;
    while (true) {
        if (rebuild) {
            ++out.builds;
            const Built built =
                build_list(team, r, batch.minimize ? skin.renew() : 0.0, result.row_needed);
            if (built == Built::overflow) return;
            if (built == Built::not_finite) {
                out.status = Status::not_finite;
                break;
            }
        }
        if (!batch.minimize) {
            out.status = Status::ran;
            break;
        }
        const FireSums s = fire_forces<Formula>(team, r, images, tilted);
        if (!(s.value[1] + s.value[2] < 1e300)) {
            out.status = Status::not_finite;
            break;
        }
        if (s.value[3] <= tolerance_squared) {
            out.status = Status::converged;
            break;
        }
        if (steps >= batch.max_steps) break;
        if ((steps & 31) == 0 && team.any(team.rank() == 0 && *batch.stop != 0)) {
            out.status = Status::interrupted;
            break;
        }
        // Here ../minimize.h tries Newton's method once forces are small; FIRE goes all the way.
        const FireStep step = fire.decide(batch.fire, s, steps);
        ++steps;
        const bool far = advance(team, r, step, skin.reach());
        rebuild = skin.used_up(far, [&] { return largest_distance(team, r); });
    }
    out.steps = steps;
    if (out.status == Status::not_finite)
        mark_not_finite(out);
    else
        measure_forces<Formula>(team, r, out);
}

// One replica from the caller's arrays and back.
template <class Formula, int D, int L, bool Shared, class Team>
AMORPH_HOSTDEVICE void run_replica(Team& team, const Batch& batch, char* shared, char* global,
                                   std::int64_t replica) {
    auto r = Replica<D, L>::template in<Shared>(batch, shared, global, replica);
    team.use(r.partials, group_count(r.n * L));
    const std::int64_t pairs = std::int64_t(r.n_types) * r.n_types;
    const std::int64_t coefficients = pairs * Formula::n_coefficients;
    if (batch.table_each) r.coefficients += replica * coefficients;
    if (batch.layout.table_shared) {
        team.each(int(coefficients), [&](int k) { r.table[k] = r.coefficients[k]; });
        team.each(int(pairs), [&](int k) { r.table[coefficients + k] = r.r_cut[k]; });
        r.coefficients = r.table;
        r.r_cut = r.table + coefficients;
    }
    double* const positions = batch.positions + replica * r.n * D;
    team.each(r.n, [&](int i) {
        const int from = r.order[i] * D;
        Point<D> x, zero;
        for (int a = 0; a < D; ++a) {
            x.r[a] = positions[from + a];
            zero.r[a] = 0.0;
        }
        r.x[i] = x;
        r.v[i] = zero;
        r.f[i] = zero;
    });

    Result result{};
    run_stage<Formula>(team, r, batch, result);

    if (result.row_needed == 0) {
        double* const forces = batch.forces != nullptr ? batch.forces + replica * r.n * D : nullptr;
        team.each(r.n, [&](int i) {
            const int to = r.order[i] * D;
            if (batch.minimize) {
                Point<D> x = r.x[i];
                double s[D];
                wrap<D>(r.box, x.r, s);
                for (int a = 0; a < D; ++a) positions[to + a] = x.r[a];
            }
            if (forces != nullptr)
                for (int a = 0; a < D; ++a) forces[to + a] = r.f[i].r[a];
        });
    }
    if (team.rank() == 0) batch.results[replica] = result;
    team.sync();
}

}  // namespace amorph::engine::device
