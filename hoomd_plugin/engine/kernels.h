// The engine's inner functions, one set of them for each instruction set.
#pragma once

#include <atomic>
#include <cstdint>

#include "workspace.h"

namespace amorph::engine {

enum class Status : std::int32_t {
    converged = 0,
    step_limit = 1,
    not_finite = 2,
    interrupted = 3,
};

// FIRE 2 (Guenole et al. 2020). Times are in units of 1/sqrt(largest pair stiffness), mass 1;
// the largest move of a step in units of the largest sigma.
struct FireSettings {
    double dt_start = 0.15;
    double dt_max = 0.5;
    double dt_min = 0.002;
    double max_move = 0.1;
    double grow = 1.1;
    double shrink = 0.5;
    double mixing = 0.25;
    double mixing_decay = 0.99;
    int delay = 5;
};

// Newton's method, tried once FIRE has brought the largest force below `start` (in units of the
// largest stiffness times the largest sigma; 0: never). It may move no particle farther than
// `reach` largest sigmas; where it fails, FIRE goes on to a tenth of the force.
struct NewtonSettings {
    double start = 1e-5;
    double reach = 0.05;
    double forcing = 0.01;
    int max_products = 1000;
};

struct Outcome {
    Status status;
    std::int64_t steps;     // of FIRE and Newton's method
    std::int64_t products;  // of the Hessian with a vector
    std::int64_t builds;    // of the neighbour list
    double max_force;       // largest |F| over the particles
    double energy;
    double virial[6];  // sum over pairs of u'(r) r_a r_b / r: xx, yy, zz, yz, xz, xy
};

struct Task {
    const Box* box;
    const PairTable* table;
    double tolerance;
    std::int64_t max_steps;
    FireSettings fire;
    NewtonSettings newton;
    const std::atomic<bool>* stop;
};

// Minimise from the workspace's positions, and leave the minimum there.
using MinimizeKernel = Outcome (*)(Workspace&, const Task&);
// Energy, virial and forces at the workspace's positions (Outcome's steps are 0).
using MeasureKernel = Outcome (*)(Workspace&, const Task&);
// Energy and -u'(r)/r of single pairs of types (0, 0) at n distances.
using PairKernel = void (*)(const PairTable&, std::int64_t n, const double* r, double* energy,
                            double* force_over_r);

struct PotentialKernels {
    MinimizeKernel minimize[2];  // [dimension - 2]
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
