// A replica's way through its stages.
#pragma once

#include <cmath>

#include "outcome.h"
#include "stage.h"

namespace amorph::engine {

// Takes a replica through its stages and measures it where it ends. `way` is what moves it:
// minimize(stage), move(stage) and strain(logarithm of a factor) do a stage, volume() is the box's,
// measure() the end's energy, virial and forces, false where something is no number; once
// gave_up() is true nothing more is done, and nothing of the outcome counts.
template <class Way>
AMORPH_HOSTDEVICE AMORPH_INLINE void run_stages(Way&& way, int dimension, int n_stages,
                                                const Stage* stages, Outcome& out) {
    out.status = Status::ran;
    for (int k = 0; k < n_stages; ++k) {
        const Stage& stage = stages[k];
        out.stage = k;
        switch (stage.kind) {
            case Stage::Kind::minimize:
                out.status = way.minimize(stage);
                break;
            case Stage::Kind::langevin:
            case Stage::Kind::brownian:
                out.status = way.move(stage);
                break;
            case Stage::Kind::rescale:
                way.strain(::log(stage.volume / way.volume()) / (dimension * stage.steps_left));
                out.status = Status::ran;
                break;
        }
        if (way.gave_up()) return;
        if (!goes_on(out.status)) break;
    }
    if (!has_failed(out.status) && !way.measure() && !way.gave_up())
        out.status = Status::not_finite;
    if (way.gave_up()) return;
    if (has_failed(out.status)) mark_not_finite(out);
}

}  // namespace amorph::engine
