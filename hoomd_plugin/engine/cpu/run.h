// A replica's way through its stages. Part of a kernel: see kernels.cc.
#pragma once

#include "../rules/stages.h"
#include "dynamics.h"
#include "minimize.h"

namespace amorph::engine::AMORPH_ISA {

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

// What moves a replica of the workspace.
template <int D>
class Way {
  public:
    Way(Workspace& w, const Inner& inner, const Task& task, Outcome& out)
        : w_(w), inner_(inner), task_(task), out_(out) {}

    Status minimize(const Stage& stage) {
        return stage.at_pressure ? Minimization<D, true>(w_, inner_, task_, stage, out_).run()
                                 : Minimization<D, false>(w_, inner_, task_, stage, out_).run();
    }
    Status move(const Stage& stage) {
        return Dynamics<D>(w_, inner_, task_, stage, out_, clock_).run();
    }
    void strain(double by) { strain_all(w_, *task_.box, by); }
    double volume() const { return task_.box->volume(D); }
    bool gave_up() const { return false; }
    bool measure() {
        const Outcome last = engine::AMORPH_ISA::measure<D>(w_, inner_, task_);
        out_.energy = last.energy;
        out_.max_force = last.max_force;
        for (int k = 0; k < 6; ++k) out_.virial[k] = last.virial[k];
        return last.status != Status::not_finite;
    }

  private:
    Workspace& w_;
    const Inner& inner_;
    const Task& task_;
    Outcome& out_;
    Clock clock_{};
};

template <int D>
Outcome run(Workspace& w, const Inner& inner, const Task& task) {
    Outcome out{};
    run_stages(Way<D>(w, inner, task, out), D, task.n_stages, task.stages, out);
    return out;
}

}  // namespace amorph::engine::AMORPH_ISA
