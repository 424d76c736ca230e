// Many independent replicas, minimised by a team of threads: the engine's face to C++ callers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace amorph::engine {

// The formulas by name, and the instruction sets this processor can run, widest first.
std::vector<std::string> potential_names();
// Names of the parameters by pair of types, in the order PotentialTable takes them.
std::vector<std::string> pair_parameter_names(int potential);
std::vector<std::string> instruction_sets();
// -1 when there is none of that name.
int find_potential(const std::string& name);

// A pair potential as a table (see potentials/table.h), as its maker lays it out.
struct Tabulated {
    int n_types;
    int n_breaks;
    int bits;
    double max_stiffness;
    const double* sigma;         // (n_types, n_types), as r_cut
    const double* r_cut;         //
    const double* coefficients;  // (n_types, n_types, 2 + n_breaks): place, wall, breaks
    const double* cells;         // (n_cells, 8), copied
    std::size_t n_cells;
};

// A potential with its parameters, ready for the kernels.
class PotentialTable {
  public:
    // Throws std::invalid_argument for a table whose pairs of types reach beyond its cells.
    explicit PotentialTable(const Tabulated& tabulated);
    // sigma and each pair parameter are n_types x n_types, row-major.
    PotentialTable(int potential, int n_types, const double* sigma,
                   const std::vector<const double*>& pair_parameters);
    // Particles that do not meet: their diameter is a unit of length only.
    static PotentialTable none(int n_types, double diameter);
    int potential() const { return potential_; }
    const PairTable& view() const { return view_; }
    std::size_t n_cells() const { return n_cells_; }  // of a tabulated potential

  private:
    PotentialTable() = default;
    int potential_ = 0;
    std::vector<double> coefficients_;
    std::vector<double> r_cut_;
    std::shared_ptr<double[]> cells_;
    std::size_t n_cells_ = 0;
    PairTable view_;
};

// Replicas of equal size. What can be shared by all of them is given once, or once for each.
struct Replicas {
    int dimension;
    int n_particles;
    std::int64_t n_replicas;
    const std::int32_t* type;  // (n_particles,) or (n_replicas, n_particles)
    bool type_each;
    Box* boxes;  // changed only where there is one for each
    bool box_each;
    double* positions;   // (n_replicas, n_particles, dimension), in and out
    double* velocities;  // the same, or null: at rest, and not given back
};

// What is done to them.
struct Work {
    std::string instruction_set;
    std::vector<const PotentialTable*> tables;  // one, or one for each
    std::vector<Stage> stages;                  // none: only measure
    RandomKey key;                              // of the first replica
    Purposes purposes{};
    Trajectory trajectory{};  // of replica 0; the others' follow, frames * n * dimension apart
    // Bonds of all replicas one after another, those of replica r from bond_first[r] on; or one
    // network for all of them, if bond_first has but two entries. Empty: none.
    std::vector<std::int64_t> bond_first;
    Bonds bonds{};
    int n_threads = 1;
};

struct ReplicaResult {
    Outcome outcome;
    double seconds;
};

// Calls `work(replica, workspace)` for every replica, each on one of n_threads threads, while the
// calling thread waits and calls `poll(done)` about ten times a second; when that returns false,
// `stop` is raised and the call returns early. A replica's result depends on nothing but itself:
// not on the threads, not on its neighbours in the batch. Returns whether all were done.
bool for_each_replica(std::int64_t n_replicas, int n_threads, std::atomic<bool>& stop,
                      const std::function<void(std::int64_t, Workspace&)>& work,
                      const std::function<bool(std::int64_t)>& poll);

// Take every replica through the stages, or only measure it; results is (n_replicas,), forces may
// be null.
bool run_replicas(const Replicas& replicas, const Work& work, ReplicaResult* results,
                  double* forces, const std::function<bool(std::int64_t)>& poll);

// Uniform positions in a box for replicas key.replica, key.replica + 1, ...; `purposes` are
// the two purpose codes of the counter (for x and y, and for z).
void random_positions(const RandomKey& key, const std::uint32_t* purposes,
                      const Replicas& replicas);

// Energy and -u'(r)/r of pairs of types (0, 0).
void evaluate_pairs(const PotentialTable& table, const std::string& instruction_set, std::int64_t n,
                    const double* r, double* energy, double* force_over_r);

}  // namespace amorph::engine
