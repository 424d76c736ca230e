// A replica's way through its stages. Part of a kernel: see kernels.cc.
#pragma once

#include "dynamics.h"
#include "minimize.h"

namespace amorph::engine::AMORPH_ISA {

// What a replica that failed is given: nothing that could be taken for a result.
inline void mark_not_finite(Outcome& out) {
    const double nan = __builtin_nan("");
    out.energy = out.max_force = nan;
    for (double& v : out.virial) v = nan;
}

template <int D>
Outcome measure(Workspace& w, const Inner& inner, const Task& task) {
    Outcome out{};
    if (!inner.build_neighbors(w, *task.box, *task.table, 0.0)) {
        out.status = Status::not_finite;
        mark_not_finite(out);
        return out;
    }
    out.builds = 1;
    inner.measure_forces(w, *task.box, *task.table, out.energy, out.virial);
    out.max_force = __builtin_sqrt(max_squared<D>(w, w.f));
    out.status = Status::ran;
    return out;
}

template <int D>
Outcome run(Workspace& w, const Inner& inner, const Task& task) {
    Outcome out{};
    out.status = Status::ran;
    std::int64_t md_step = 0;
    std::int64_t frames = 0;
    Stage::Kind moved_by = Stage::Kind::minimize;  // the last stage with a temperature
    for (int k = 0; k < task.n_stages; ++k) {
        const Stage& stage = task.stages[k];
        out.stage = k;
        switch (stage.kind) {
            case Stage::Kind::minimize:
                out.status = stage.at_pressure
                                 ? Minimization<D, true>(w, inner, task, stage, out).run()
                                 : Minimization<D, false>(w, inner, task, stage, out).run();
                break;
            case Stage::Kind::langevin:
            case Stage::Kind::brownian:
                out.status =
                    Dynamics<D>(w, inner, task, stage, out, moved_by, md_step, frames).run();
                moved_by = stage.kind;
                break;
            case Stage::Kind::rescale:
                strain_all(
                    w, *task.box,
                    __builtin_log(stage.volume / task.box->volume(D)) / (D * stage.steps_left));
                out.status = Status::ran;
                break;
        }
        if (out.status != Status::ran && out.status != Status::converged) break;
    }
    if (out.status == Status::not_finite || out.status == Status::unstable ||
        out.status == Status::box_too_small) {
        mark_not_finite(out);
        return out;
    }
    Outcome last = measure<D>(w, inner, task);
    out.energy = last.energy;
    out.max_force = last.max_force;
    for (int k = 0; k < 6; ++k) out.virial[k] = last.virial[k];
    if (last.status == Status::not_finite) {
        out.status = last.status;
        mark_not_finite(out);
    }
    return out;
}

}  // namespace amorph::engine::AMORPH_ISA
