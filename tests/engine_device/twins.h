// What the tests of the GPU's algorithms share: batches, and a run of their twins on the processor.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef AMORPH_FEW_CASES
#include "emulated_block.h"
#endif

#include "../../hoomd_plugin/engine/batch.h"
#include "../../hoomd_plugin/engine/gpu/cases.h"
#include "../../hoomd_plugin/engine/gpu/gpu.h"
#include "../../hoomd_plugin/engine/gpu/pack.h"
#include "../../hoomd_plugin/engine/gpu/plan.h"
#include "../../hoomd_plugin/engine/gpu/run.h"

using namespace amorph::engine;
namespace device = amorph::engine::device;
namespace potentials = amorph::potentials;

// Counts and prints what is not ok; the program's exit status follows from the count.
void check(bool ok, const std::string& what);
void check_close(double a, double b, double scale, double tolerance, const std::string& what);
int failure_count();
void timed(const char* name, void (*test)());

// All that there is, or for a quicker build a few that cover the ways of the code.
template <class Visit>
void visit_case(int potential, int dimension, int lanes, Visit visit) {
#ifdef AMORPH_FEW_CASES
    using device::Case;
    if (potential == 0 && dimension == 2 && lanes == 1)
        return visit(Case<potentials::HarmonicMorseShape, 2, 1>{});
    if (potential == 0 && dimension == 2 && lanes == 4)
        return visit(Case<potentials::HarmonicMorseShape, 2, 4>{});
    if (potential == 2 && dimension == 3 && lanes == 2)
        return visit(Case<potentials::SoftSphere, 3, 2>{});
    if (potential == potentials::table_index && dimension == 2 && lanes == 4)
        return visit(Case<potentials::Table, 2, 4>{});
    throw std::logic_error("not among the few cases");
#else
    device::visit_case(potentials::All{}, potential, dimension, lanes, visit);
#endif
}

constexpr device::DeviceLimits large_card{227 * 1024, 228 * 1024, 1024};

// A batch with what it points to.
struct System {
    int dimension, n;
    std::vector<PotentialTable> tables;
    std::vector<std::int32_t> type;
    std::vector<Box> boxes;
    std::vector<double> positions, velocities;
    bool type_each = false;
    // Bonds of replica r from bond_first[r] on, or one network for all.
    std::vector<std::int64_t> bond_first;
    std::vector<std::int32_t> bonded;
    std::vector<double> bond_stiffness, bond_length;
    std::int64_t every = 0, frames = 0;
    std::vector<double> kept, kept_velocities;

    std::int64_t count() const { return std::int64_t(positions.size()) / (n * dimension); }
    Replicas replicas() {
        Replicas r{};
        r.dimension = dimension;
        r.n_particles = n;
        r.n_replicas = count();
        r.type = type.data();
        r.type_each = type_each;
        r.boxes = boxes.data();
        r.box_each = boxes.size() > 1;
        r.positions = positions.data();
        if (!velocities.empty()) r.velocities = velocities.data();
        return r;
    }
    // Room for what is kept every so many time steps.
    void keep(std::int64_t interval, std::int64_t number) {
        every = interval;
        frames = number;
        kept.assign(positions.size() * std::size_t(number), std::nan(""));
        kept_velocities = kept;
    }
    Work work(std::vector<Stage> stages = {}) {
        Work w;
        w.key = {77, 5, 11};
        w.purposes = {{1, 2}, {3, 4}};
        w.bond_first = bond_first;
        w.bonds = {std::int64_t(bond_length.size()), bonded.data(), bond_stiffness.data(),
                   bond_length.data()};
        w.trajectory = {every, frames, kept.empty() ? nullptr : kept.data(),
                        kept.empty() ? nullptr : kept_velocities.data()};
        w.instruction_set = "generic";
        for (const PotentialTable& table : tables) w.tables.push_back(&table);
        w.stages = std::move(stages);
        return w;
    }
    const Box& box(std::int64_t r) const { return boxes[boxes.size() > 1 ? std::size_t(r) : 0]; }
    const PairTable& table(std::int64_t r) const {
        return tables[tables.size() > 1 ? std::size_t(r) : 0].view();
    }
    const std::int32_t* types(std::int64_t r) const {
        return type.data() + (type_each ? r * n : 0);
    }
};

// A table of n_types kinds, all of them different.
PotentialTable make_table(const std::string& name, int n_types, double shift = 0.0);
// Replicas on a lattice that is shaken, some of them outside of the box, or without any order.
System make_system(const std::string& name, int dimension, int n, int n_types, double density,
                   double tilt, int replicas = 1, unsigned seed = 1, bool random = false);

struct Options {
    int threads = 0;     // 0: SerialTeam
    bool block = false;  // of so many threads, whole warps
    device::DeviceLimits limits = large_card;
    double row = 0.0;  // instead of the expected one
    std::int32_t stop = 0;
    bool general = false;  // the kernels for any stages, though one minimisation is all
};

struct Twin {
    std::vector<device::Result> results;
    std::vector<double> positions, velocities, forces, kept, kept_velocities, boxes;
    device::Plan plan{};
    int reruns = 0;
};

using Arena = std::unique_ptr<char, void (*)(void*)>;
// Filled with NaN, and with indices out of bounds.
Arena make_arena(std::size_t bytes);
// Points into `packed`.
device::Batch make_batch(device::Packed& packed);
// As Runner in gpu.cc does it.
Twin run_twin(System& system, const Work& work, const Options& options = {});

struct Measured {
    double energy = 0.0, energy_scale = 0.0;
    double virial[6] = {};
    double virial_scale = 0.0;
    double max_force = 0.0;
    std::vector<double> forces;
};

// Every pair, over every image within two boxes.
Measured measure_all(const System& s, std::int64_t replica, const std::vector<double>& positions);
void compare(const Twin& twin, const System& s, std::int64_t replica, const Measured& m,
             double force_scale, const std::string& what);
bool same_bits(const std::vector<double>& a, const std::vector<double>& b);
bool same_outcome(const Outcome& a, const Outcome& b);
bool same(const Twin& a, const Twin& b);

Stage quench(double tolerance = 1e-10, std::int64_t steps = 20000);
Stage press(double pressure);
Stage shrink(double volume, int steps_left);
Stage dynamics(Stage::Kind kind, std::int64_t steps, double friction, bool draw);
// A ring through all particles, and some bonds across it; some of them long.
void bind(System& s, bool each);
// A few steps of everything, with bonds and a trajectory.
System make_busy(const char* potential, int dimension, int n);
std::vector<Stage> busy_stages(const System& s, bool at_pressure);
