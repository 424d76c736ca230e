// A replica's way through its stages, from the caller's arrays and back: ../run.h for a team.
#pragma once

#include "dynamics.h"

namespace amorph::engine::device {

// What a replica that failed is given: nothing that could be taken for a result.
AMORPH_HOSTDEVICE inline void mark_not_finite(Outcome& out) {
    const double nan = ::nan("");
    out.energy = out.max_force = nan;
    for (double& v : out.virial) v = nan;
}

// One minimisation at fixed volume, or a measurement alone: what most work is, in kernels of its
// own that need not hold the rest.
template <class Formula, int D, int L, class Team>
AMORPH_HOSTDEVICE void run_stage(Team& team, const Replica<D, L>& r, const Batch& batch,
                                 Result& result) {
    Outcome& out = result.outcome;
    if (batch.n_stages > 0) {
        out.status = minimize<Formula, false>(team, r, batch.stage, batch.stop, result);
    } else {
        out.builds = 1;
        const Built built = build_list(team, r, 0.0, result.row_needed);
        out.status = built == Built::done ? Status::ran : Status::not_finite;
    }
    if (result.row_needed > 0) return;
    if (out.status == Status::not_finite)
        mark_not_finite(out);
    else
        measure_forces<Formula, false>(team, r, out);
}

template <class Formula, int D, int L, class Team>
AMORPH_APART AMORPH_HOSTDEVICE void general_measure(Team& team, const Replica<D, L>& r,
                                                    Outcome& out) {
    measure_forces<Formula, true>(team, r, out);
}

// Any stages, one after another.
template <class Formula, int D, int L, class Team>
AMORPH_HOSTDEVICE void run_stages(Team& team, const Replica<D, L>& r, const Batch& batch,
                                  std::int64_t replica, Result& result) {
    Outcome& out = result.outcome;
    out.status = Status::ran;
    Stream stream = batch.stream;
    stream.replica += std::uint32_t(replica);
    Trajectory kept = batch.trajectory;
    const std::int64_t frames = replica * kept.frames * r.n * D;
    if (kept.positions != nullptr) kept.positions += frames;
    if (kept.velocities != nullptr) kept.velocities += frames;
    Progress at;
    for (int k = 0; k < batch.n_stages; ++k) {
        const Stage& stage = batch.stages[k];
        out.stage = k;
        switch (stage.kind) {
            case Stage::Kind::minimize:
                out.status = minimize<Formula, true>(team, r, stage, batch.stop, result);
                break;
            case Stage::Kind::langevin:
            case Stage::Kind::brownian:
                out.status = move<Formula>(team, r, batch, stage, stream, kept, at, result);
                break;
            case Stage::Kind::rescale: {
                const double volume = StrainMotion::box_volume<D>(r.box);
                strain_all(team, r, ::log(stage.volume / volume) / (D * stage.steps_left));
                out.status = Status::ran;
                break;
            }
        }
        if (result.row_needed > 0) return;
        if (out.status != Status::ran && out.status != Status::converged) break;
    }
    const bool failed = out.status == Status::not_finite || out.status == Status::unstable ||
                        out.status == Status::box_too_small;
    if (!failed && general_list(team, r, 0.0, result.row_needed) != Built::done) {
        if (result.row_needed > 0) return;
        out.status = Status::not_finite;
    }
    if (failed || out.status == Status::not_finite)
        mark_not_finite(out);
    else
        general_measure<Formula>(team, r, out);
}

// One replica from the caller's arrays and back. `General`: whatever there may be to do; only then
// may there be bonds.
template <class Formula, int D, int L, bool Shared, bool General, class Team>
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
    double* const box = batch.boxes + (batch.box_each ? replica * 9 : 0);
    team.each(9, [&](int k) { r.box[k] = box[k]; });
    const std::int64_t offset = replica * r.n * D;
    double* const positions = batch.positions + offset;
    double* const velocities =
        General && batch.velocities != nullptr ? batch.velocities + offset : nullptr;
    team.each(r.n, [&](int i) {
        const int from = r.order[i] * D;
        Point<D> x, v;
        for (int a = 0; a < D; ++a) {
            x.r[a] = positions[from + a];
            v.r[a] = velocities != nullptr ? velocities[from + a] : 0.0;
            if (General && r.image != nullptr) r.image[i * D + a] = 0;
        }
        r.x[i] = x;
        r.v[i] = v;
        r.f[i] = Point<D>{};
    });
    team.sync();

    Result result{};
    if constexpr (General)
        run_stages<Formula>(team, r, batch, replica, result);
    else
        run_stage<Formula>(team, r, batch, result);

    if (result.row_needed == 0) {
        double* const forces = batch.forces != nullptr ? batch.forces + offset : nullptr;
        team.each(r.n, [&](int i) {
            const int to = r.order[i] * D;
            if (batch.n_stages > 0) {
                Point<D> x = r.x[i];
                double s[D];
                wrap<D>(r.box, x.r, s);
                for (int a = 0; a < D; ++a) positions[to + a] = x.r[a];
                if (velocities != nullptr)
                    for (int a = 0; a < D; ++a) velocities[to + a] = r.v[i].r[a];
            }
            if (forces != nullptr)
                for (int a = 0; a < D; ++a) forces[to + a] = r.f[i].r[a];
        });
        if (General && batch.box_each && batch.n_stages > 0)
            team.each(9, [&](int k) { box[k] = r.box[k]; });
    }
    if (team.rank() == 0) batch.results[replica] = result;
    team.sync();
}

}  // namespace amorph::engine::device
