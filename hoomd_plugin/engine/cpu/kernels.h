// The engine's inner functions, one set of them for each instruction set.
#pragma once

#include <atomic>
#include <cstdint>

#include "../rules/outcome.h"
#include "../rules/stage.h"
#include "workspace.h"

namespace amorph::engine {

struct Task {
    Box* box;  // changed at fixed pressure and by rescaling
    const PairTable* table;
    const Stage* stages;
    int n_stages;
    RandomKey key;
    Purposes purposes;
    Trajectory trajectory;
    const std::atomic<bool>* stop;
};

// Take the workspace's particles through the stages, and leave them there.
using RunKernel = Outcome (*)(Workspace&, const Task&);
// Energy, virial and forces at the workspace's positions (Outcome's steps are 0).
using MeasureKernel = Outcome (*)(Workspace&, const Task&);
// Energy and -u'(r)/r of single pairs of types (0, 0) at n distances.
using PairKernel = void (*)(const PairTable&, std::int64_t n, const double* r, double* energy,
                            double* force_over_r);

struct PotentialKernels {
    RunKernel run[2];  // [dimension - 2]
    MeasureKernel measure[2];
    PairKernel pairs;
};

// By index in potentials::All.
const PotentialKernels& kernels_generic(int potential);
#ifdef AMORPH_X86_KERNELS
const PotentialKernels& kernels_avx2(int potential);
const PotentialKernels& kernels_avx512(int potential);
#endif

}  // namespace amorph::engine
