// The engine's inner functions, one set of them for each instruction set.
#pragma once

#include <atomic>
#include <cstdint>

#include "stage.h"
#include "workspace.h"

namespace amorph::engine {

enum class Status : std::int32_t {
    converged = 0,  // to the tolerance of the last minimisation
    step_limit = 1,
    not_finite = 2,  // a position or force ceased to be a number
    interrupted = 3,
    ran = 4,            // all stages done, the last of them not a minimisation
    unstable = 5,       // a particle moved farther in a time step than half the largest sigma
    box_too_small = 6,  // the box shrank below twice the cutoff
    box_unbounded = 7,  // it grew beyond a thousand times its volume
};

struct Outcome {
    Status status;
    std::int32_t stage;     // the one it ended in
    std::int64_t steps;     // of all stages
    std::int64_t products;  // of the Hessian with a vector
    std::int64_t builds;    // of the neighbour list
    double max_force;       // largest |F| over the particles
    double energy;
    double virial[6];  // sum over pairs of u'(r) r_a r_b / r: xx, yy, zz, yz, xz, xy
};

// What is kept of a replica on its way through stages with a time step: every `every` steps the
// positions (unwrapped) and velocities, (frames, n, dimension) in the order of the ids.
struct Trajectory {
    std::int64_t every = 0;
    std::int64_t frames = 0;
    double* positions = nullptr;
    double* velocities = nullptr;
};

struct Task {
    Box* box;  // changed at fixed pressure and by rescaling
    const PairTable* table;
    const Stage* stages;
    int n_stages;
    Stream stream;
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
