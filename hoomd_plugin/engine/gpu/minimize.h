// A replica's minimisation by FIRE, of its energy or at fixed pressure of its enthalpy, by the
// decisions of ../rules. Where ../cpu/minimize.h tries Newton's method once forces are small, FIRE
// goes all the way here. There it saves 7 to 21 % of a quench to 1e-10 (N = 64 to 2,048, by
// newton={"start": 0}), with the pairs' second derivatives kept from product to product. Here they
// have no place beside the lists (24 or 48 bytes a pair for 2), so that a product would take a
// force loop and more, and two reductions over the block where FIRE's step has one. It is left out
// until it can be timed on a GPU.
#pragma once

#include "forces.h"

namespace amorph::engine::device {

template <int D>
AMORPH_HOSTDEVICE double box_volume(const double* h) {
    double v = h[0] * h[4];
    if constexpr (D == 3) v *= h[8];
    return v;
}
template <int D>
AMORPH_HOSTDEVICE double box_narrowest(const double* h) {
    double widths[3];
    box_widths<D>(h, widths);
    double narrowest = widths[0];
    for (int a = 1; a < D; ++a) narrowest = widths[a] < narrowest ? widths[a] : narrowest;
    return narrowest;
}

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
    const bool at_pressure = General && stage.at_pressure;
    const bool tilted = box_tilted<D>(r.box);
    Fire fire(stage.fire, r.scales.max_stiffness, r.scales.max_sigma);
    Skin skin = skin_of(D, r.scales, build_cost(r));
    StrainMotion strain(D, box_volume<D>(r.box), r.scales.max_sigma);
    double narrowest = 0.0;
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
            // Before the forces, when nobody is at the box.
            strain.volume = box_volume<D>(r.box);
            narrowest = box_narrowest<D>(r.box);
            double trace = 0.0;
            s = general_forces<Formula>(team, r, tilted, trace);
            if (at_pressure) {
                strain.pull(D, trace, stage.pressure);
                strain.add_to(s);
            }
        } else {
            double no_trace;
            s = fire_forces<Formula, false>(team, r, tilted, no_trace);
        }
        status = verdict(s, stage, steps, !at_pressure || strain.reached(D, stage));
        if (status != Status::ran) break;
        if (looks_for_stop(steps) && team.any(team.rank() == 0 && *stop != 0)) {
            status = Status::interrupted;
            break;
        }
        const FireMove move = fire.decide(s, [&](const FireMove& chosen) {
            return at_pressure ? strain.limited(chosen) : chosen.dt;
        });
        double strained = 0.0;
        if (at_pressure) {
            strained = strain.back(move);
            strained += strain.forth(move);
            status = strain.judge(strain.volume * ::exp(D * strained), narrowest * ::exp(strained),
                                  r.scales.max_cutoff);
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
