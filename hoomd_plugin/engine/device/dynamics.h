// A replica's motion at a given temperature, step for step as in ../dynamics.h and with the same
// random numbers.
#pragma once

#include "../philox.h"
#include "minimize.h"

namespace amorph::engine::device {

// Independent normal numbers of variance 1 for the components of a particle, known by its id.
template <int D>
AMORPH_HOSTDEVICE void draw_normals(const Stream& stream, const std::uint32_t* purposes,
                                    std::uint32_t md_step, std::uint32_t id, double* out) {
    for (int half = 0; half < D - 1; ++half) {
        const Philox numbers(stream.seed, purposes[half] << 24 | id, stream.replica,
                             stream.design_step, md_step);
        const double radius = potentials::square_root(-2.0 * ::log(1.0 - numbers.uniform(0)));
        double sine, cosine;
#if defined(__CUDA_ARCH__)
        sincospi(2.0 * numbers.uniform(1), &sine, &cosine);
#else
        const double angle = 6.283185307179586477 * numbers.uniform(1);
        sine = std::sin(angle);
        cosine = std::cos(angle);
#endif
        out[2 * half] = radius * cosine;
        if (2 * half + 1 < D) out[2 * half + 1] = radius * sine;
    }
}

// How far a replica is on its way: time steps of all stages, frames kept, what moved it last.
struct Progress {
    std::int64_t md_step = 0;
    std::int64_t frames = 0;
    Stage::Kind moved_by = Stage::Kind::minimize;
};

// The particles in the order of their ids, without the box's images taken off.
template <int D, int L, class Team>
AMORPH_HOSTDEVICE void keep_frame(Team& team, const Replica<D, L>& r, const Trajectory& t,
                                  std::int64_t frame, bool velocities) {
    if (frame >= t.frames) return;
    team.each(r.n, [&](int i) {
        const std::int64_t to = (frame * r.n + r.order[i]) * D;
        for (int a = 0; a < D; ++a) {
            double x = r.x[i].r[a];
            for (int b = a; b < D; ++b) x += r.box[3 * a + b] * r.image[i * D + b];
            t.positions[to + a] = x;
            if (t.velocities != nullptr) t.velocities[to + a] = velocities ? r.v[i].r[a] : 0.0;
        }
    });
}

// Forces, and half a kick after them.
template <class Formula, int D, int L, class Team>
AMORPH_APART AMORPH_HOSTDEVICE void dynamics_forces(Team& team, const Replica<D, L>& r, bool tilted,
                                                    double half_kick) {
    const Images<D> images(r.box);
    team.template rows<L>(r.n, [&](int i, const auto& lanes) {
        double own[D];
        sum_lanes<Formula, true, Sought::force>(r, images, tilted, i, lanes, own);
        if (lanes.leads())
            for (int a = 0; a < D; ++a) r.v[i].r[a] += half_kick * own[a];
    });
}

// `stage.steps` time steps; returns as `minimize` does.
template <class Formula, int D, int L, class Team>
AMORPH_HOSTDEVICE Status move(Team& team, const Replica<D, L>& r, const Batch& batch,
                              const Stage& stage, const Stream& stream, const Trajectory& kept,
                              Progress& at, Result& result) {
    const bool overdamped = stage.kind == Stage::Kind::brownian;
    const bool tilted = box_tilted<D>(r.box);
    const double most = 0.5 * r.scales.max_sigma;
    Skin skin(D, r.scales, build_cost(r));
    const auto noise = [&](const std::uint32_t* purposes, int i, double* out) {
        draw_normals<D>(stream, purposes, std::uint32_t(at.md_step), r.order[i], out);
    };
    if (overdamped) {
        // In place of the velocities stands what the last step left for the next, or would have.
        // Langevin's last step has used this time's noise up: then it is the velocities'.
        const bool used = at.moved_by == Stage::Kind::langevin;
        team.each(r.n, [&](int i) {
            noise(used ? batch.purposes.velocity : batch.purposes.noise, i, r.v[i].r);
        });
    } else if (stage.draw_velocities) {
        const double width = potentials::square_root(stage.temperature.at(0.0));
        team.each(r.n, [&](int i) {
            noise(batch.purposes.velocity, i, r.v[i].r);
            for (int a = 0; a < D; ++a) r.v[i].r[a] *= width;
        });
    }
    Status status = Status::ran;
    bool rebuild = true;
    double half_kick = 0.0;
    for (std::int64_t step = 0;; ++step) {
        if (rebuild) {
            ++result.outcome.builds;
            const Built built = general_list(team, r, skin.renew(), result.row_needed);
            if (built != Built::done) return Status::not_finite;
        }
        dynamics_forces<Formula>(team, r, tilted, half_kick);
        if (!overdamped) half_kick = 0.5 * stage.dt;
        if (step > 0 && batch.trajectory.every > 0 && at.md_step % batch.trajectory.every == 0)
            keep_frame(team, r, kept, at.frames++, !overdamped);
        if (step >= stage.steps) break;
        if ((step & 31) == 0 && team.any(team.rank() == 0 && *batch.stop != 0)) {
            status = Status::interrupted;
            break;
        }
        const double temperature = stage.temperature.at(double(step));
        ++at.md_step;
        ++result.outcome.steps;
        const double decay = ::exp(-stage.friction * stage.dt);
        const double width = potentials::square_root(temperature * (1.0 - decay * decay));
        const double mobility = overdamped ? stage.dt / stage.friction : 0.0;
        const double heat = 0.5 * potentials::square_root(2.0 * temperature * mobility);
        const double half = 0.5 * stage.dt;
        const double reach = skin.reach();
        bool far = false, failed = false, infinite = false;
        team.each(r.n, [&](int i) {
            const Point<D> before = r.x[i];
            Point<D> x = before;
            Point<D> v = r.v[i];
            const Point<D> f = r.f[i];
            const Point<D> built = r.built[i];
            double random[D];
            if (overdamped || width > 0.0) noise(batch.purposes.noise, i, random);
            double from_built = 0.0, from_here = 0.0;
            for (int a = 0; a < D; ++a) {
                if (overdamped) {
                    // x += dt/friction F + sqrt(2 T dt/friction) (R + R')/2, R' the next step's R.
                    x.r[a] += mobility * f.r[a] + heat * (v.r[a] + random[a]);
                    v.r[a] = random[a];
                } else {
                    // Half a kick, half a drift, friction and noise, half a drift.
                    v.r[a] += half * f.r[a];
                    x.r[a] += half * v.r[a];
                    v.r[a] *= decay;
                    if (width > 0.0) v.r[a] += width * random[a];
                    x.r[a] += half * v.r[a];
                }
                from_built += (x.r[a] - built.r[a]) * (x.r[a] - built.r[a]);
                from_here += (x.r[a] - before.r[a]) * (x.r[a] - before.r[a]);
            }
            r.x[i] = x;
            r.v[i] = v;
            if (!(from_built < reach * reach)) far = true;
            if (!(from_here < most * most)) failed = true;
            if (!(from_here < 1e300)) infinite = true;
        });
        far = team.any(far || failed);
        if (far && team.any(failed)) {
            status = team.any(infinite) ? Status::not_finite : Status::unstable;
            break;
        }
        rebuild = skin.used_up(far, [&] { return largest_distance(team, r); });
    }
    if (overdamped)  // what stood there was noise
        team.each(r.n, [&](int i) { r.v[i] = Point<D>{}; });
    team.sync();
    at.moved_by = stage.kind;
    return status;
}

}  // namespace amorph::engine::device
