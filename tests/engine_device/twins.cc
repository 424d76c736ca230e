// The GPU's algorithms on the processor: against every image of every pair, against the engine's
// own kernels, one thread against several, and against a block's code with CUDA emulated. Prints
// what failed. Built with AMORPH_FEW_CASES there are `twins blocks` and, for the thread sanitizer,
// `twins races`.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#ifdef AMORPH_FEW_CASES
#include "emulated_block.h"
#endif

#include "../../hoomd_plugin/engine/batch.h"
#include "../../hoomd_plugin/engine/device/cases.h"
#include "../../hoomd_plugin/engine/device/gpu.h"
#include "../../hoomd_plugin/engine/device/pack.h"
#include "../../hoomd_plugin/engine/device/plan.h"
#include "../../hoomd_plugin/engine/device/run.h"

using namespace amorph::engine;
namespace device = amorph::engine::device;
namespace potentials = amorph::potentials;

namespace {

int failures = 0;

void check(bool ok, const std::string& what) {
    if (ok) return;
    ++failures;
    std::printf("FAILED: %s\n", what.c_str());
}

void check_close(double a, double b, double scale, double tolerance, const std::string& what) {
    const double error = std::fabs(a - b) / scale;
    if (!(error <= tolerance)) {
        char text[200];
        std::snprintf(text, sizeof text, ": %.17g, expected %.17g (relative error %.2e)", a, b,
                      error);
        check(false, what + text);
    }
}

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
        w.seed = 77;
        w.first_replica = 5;
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
PotentialTable make_table(const std::string& name, int n_types, double shift = 0.0) {
    const int potential = find_potential(name);
    const auto names = pair_parameter_names(potential);
    const auto pairs = std::size_t(n_types * n_types);
    std::vector<double> sigma(pairs);
    std::vector<std::vector<double>> parameters(names.size(), std::vector<double>(pairs));
    for (int s = 0; s < n_types; ++s)
        for (int t = 0; t < n_types; ++t) {
            const std::size_t at = std::size_t(s * n_types + t);
            const double u = n_types > 1 ? double(s + t) / (2 * n_types - 2) : 0.5;
            sigma[at] = 0.8 + 0.2 * u + shift;
            for (std::size_t k = 0; k < names.size(); ++k) {
                double& p = parameters[k][at];
                if (names[k] == "binding") p = 0.1 + 0.05 * u;
                if (names[k] == "stiffness") p = 5.0 + u;
                if (names[k] == "alpha") p = 6.0 + u;
                if (names[k] == "b0") p = 5.0;
                if (names[k] == "a0") p = 5.89;
                if (names[k] == "a1") p = 17.9 + u;
                if (names[k] == "a2") p = 2.49;
                if (names[k] == "b1") p = 1.823;
                if (names[k] == "b2") p = 40.0;
                if (names[k] == "a3") p = 1.823;
                if (names[k] == "r_cut") p = 2.4 + 0.1 * u;
            }
        }
    std::vector<const double*> pointers;
    for (const auto& p : parameters) pointers.push_back(p.data());
    return {potential, n_types, sigma.data(), pointers};
}

// Replicas on a lattice that is shaken, some of them outside of the box, or without any order.
System make_system(const std::string& name, int dimension, int n, int n_types, double density,
                   double tilt, int replicas = 1, unsigned seed = 1, bool random = false) {
    System s;
    s.dimension = dimension;
    s.n = n;
    s.tables.push_back(make_table(name, n_types));
    std::mt19937 engine(seed);
    std::uniform_real_distribution<double> uniform(-0.5, 0.5);
    for (int i = 0; i < n; ++i) s.type.push_back(std::int32_t(engine() % unsigned(n_types)));
    const double side = std::pow(n / density, 1.0 / dimension);
    Box box{};
    for (int a = 0; a < 3; ++a) box.h[a][a] = a < dimension ? side : 1.0;
    box.h[0][1] = tilt * side;
    if (dimension == 3) {
        box.h[0][2] = -0.4 * tilt * side;
        box.h[1][2] = 0.7 * tilt * side;
    }
    s.boxes.push_back(box);
    const int cells = int(std::ceil(std::pow(n, 1.0 / dimension) - 1e-9));
    for (int r = 0; r < replicas; ++r)
        for (int i = 0; i < n; ++i) {
            double f[3] = {};
            int rest = i;
            for (int a = 0; a < dimension; ++a) {
                f[a] =
                    random ? uniform(engine) : (rest % cells + 0.4 * uniform(engine)) / cells - 0.5;
                rest /= cells;
            }
            if (i % 7 == 0) f[0] += 3.0;
            for (int a = 0; a < dimension; ++a) {
                double x = 0.0;
                for (int b = a; b < dimension; ++b) x += box.h[a][b] * f[b];
                s.positions.push_back(x);
            }
        }
    return s;
}

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
Arena make_arena(std::size_t bytes) {
    auto* p = static_cast<char*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64));
    std::memset(p, 0xff, bytes);
    return {p, std::free};
}

device::Batch make_batch(device::Packed& packed) {
    device::Batch batch = packed.batch;
    batch.order = packed.order.data();
    batch.type = packed.type.data();
    batch.first_of_type = packed.first_of_type.data();
    batch.boxes = packed.boxes.data();
    batch.coefficients = packed.coefficients.data();
    batch.r_cut = packed.r_cut.data();
    batch.scales = packed.scales.data();
    if (!packed.bond_first.empty()) batch.bond_first = packed.bond_first.data();
    batch.bonds = packed.bonds.data();
    packed.stages = device::stages_with(packed, packed.schedules.data());
    batch.stages = packed.stages.data();
    return batch;
}

// As Runner in gpu.cc does it.
Twin run_twin(System& system, const Work& work, const Options& options = {}) {
    const Replicas replicas = system.replicas();
    device::Packed packed = device::pack(replicas, work);
    if (options.row > 0.0) packed.shape.row = options.row;
    const bool general = packed.general || options.general;
    const auto count = std::size_t(replicas.n_replicas);
    Twin twin;
    twin.positions = system.positions;
    twin.forces.assign(twin.positions.size(), std::nan(""));
    twin.results.resize(count);
    volatile std::int32_t stop = options.stop;
    device::Batch batch = make_batch(packed);
    twin.velocities = system.velocities;
    twin.kept = system.kept;
    twin.kept_velocities = system.kept_velocities;
    batch.positions = twin.positions.data();
    batch.forces = twin.forces.data();
    if (!twin.velocities.empty()) batch.velocities = twin.velocities.data();
    if (!twin.kept.empty()) {
        batch.trajectory.positions = twin.kept.data();
        batch.trajectory.velocities = twin.kept_velocities.data();
    }
    batch.results = twin.results.data();
    batch.stop = &stop;

    std::vector<std::int64_t> queue(count);
    for (std::size_t r = 0; r < count; ++r) queue[r] = std::int64_t(r);
    int least_capacity = 0;
    while (true) {
        twin.plan = device::make_plan(packed.shape, options.limits, least_capacity);
        batch.layout = twin.plan.layout;
        const Arena shared = make_arena(batch.layout.shared_bytes);
        const Arena global = make_arena(batch.layout.global_bytes);
        visit_case(packed.potential, packed.dimension, twin.plan.lanes, [&](auto of) {
            using Of = decltype(of);
            const auto all = [&](auto& team) {
                using Formula = typename Of::Formula;
                constexpr int D = Of::dimension, L = Of::lanes;
                for (const std::int64_t r : queue)
                    if (general)
                        device::run_replica<Formula, D, L, false, true>(team, batch, shared.get(),
                                                                        global.get(), r);
                    else
                        device::run_replica<Formula, D, L, false, false>(team, batch, shared.get(),
                                                                         global.get(), r);
            };
#ifdef AMORPH_FEW_CASES
            if (options.block) {
                device::BlockTeam::Storage storage;
                emulated::Block block(options.threads);
                blockDim.x = unsigned(options.threads);
                std::vector<std::thread> threads;
                for (int rank = 0; rank < options.threads; ++rank)
                    threads.emplace_back([&, rank] {
                        emulated::block = &block;
                        threadIdx.x = unsigned(rank);
                        device::BlockTeam team(storage);
                        all(team);
                    });
                for (auto& thread : threads) thread.join();
                return;
            }
#endif
            if (options.threads == 0) {
                device::SerialTeam team;
                all(team);
                return;
            }
            device::ThreadTeam::Meeting meeting(options.threads);
            std::vector<std::thread> threads;
            for (int rank = 0; rank < options.threads; ++rank)
                threads.emplace_back([&, rank] {
                    device::ThreadTeam team(meeting, rank);
                    all(team);
                });
            for (auto& thread : threads) thread.join();
        });
        std::vector<std::int64_t> again;
        int longest = 0;
        for (const std::int64_t r : queue)
            if (twin.results[std::size_t(r)].row_needed > 0) {
                again.push_back(r);
                longest = std::max(longest, int(twin.results[std::size_t(r)].row_needed));
            }
        if (again.empty()) {
            twin.boxes = packed.boxes;
            return twin;
        }
        queue = again;
        least_capacity = longest + longest / 4;
        ++twin.reruns;
    }
}

template <class Potential>
void evaluate(double r2, const double* c, double& u, double& f) {
    Potential::evaluate(r2, c, u, f);
}
template <class... Potentials>
auto evaluation(potentials::List<Potentials...>, int potential) {
    using Function = void (*)(double, const double*, double&, double&);
    static constexpr Function all[] = {evaluate<Potentials>...};
    return all[potential];
}

struct Measured {
    double energy = 0.0, energy_scale = 0.0;
    double virial[6] = {};
    double virial_scale = 0.0;
    double max_force = 0.0;
    std::vector<double> forces;
};

// Every pair, over every image within two boxes.
Measured measure_all(const System& s, std::int64_t replica, const std::vector<double>& positions) {
    const int d = s.dimension;
    const PairTable& table = s.table(replica);
    const Box& box = s.box(replica);
    const std::int32_t* type = s.types(replica);
    const auto pair = evaluation(potentials::All{}, s.tables.front().potential());
    std::vector<double> x(positions.begin() + replica * s.n * d,
                          positions.begin() + (replica + 1) * s.n * d);
    for (int i = 0; i < s.n; ++i) {
        double f[3];
        std::int32_t images[3];
        box.wrap(d, x.data() + i * d, f, images);
    }
    Measured m;
    m.forces.assign(x.size(), 0.0);
    std::vector<double> c(std::size_t(table.n_coefficients));
    for (int i = 0; i < s.n; ++i)
        for (int j = 0; j < i; ++j) {
            for (int k = 0; k < table.n_coefficients; ++k)
                c[std::size_t(k)] =
                    table.coefficients[(type[i] * table.n_coefficients + k) * table.stride +
                                       type[j]];
            const double r_cut = table.r_cut[type[i] * table.stride + type[j]];
            for (int kz = d == 3 ? -2 : 0; kz <= (d == 3 ? 2 : 0); ++kz)
                for (int ky = -2; ky <= 2; ++ky)
                    for (int kx = -2; kx <= 2; ++kx) {
                        const double k[3] = {double(kx), double(ky), double(kz)};
                        double r[3] = {}, r2 = 0.0;
                        for (int a = 0; a < d; ++a) {
                            r[a] = x[std::size_t(j * d + a)] - x[std::size_t(i * d + a)];
                            for (int b = a; b < d; ++b) r[a] += box.h[a][b] * k[b];
                            r2 += r[a] * r[a];
                        }
                        if (r2 >= r_cut * r_cut) continue;
                        double u, f;
                        pair(r2, c.data(), u, f);
                        m.energy += u;
                        m.energy_scale += std::fabs(u);
                        m.virial_scale += std::fabs(f) * r2;
                        static constexpr int component[3][3] = {{0, 5, 4}, {5, 1, 3}, {4, 3, 2}};
                        for (int a = 0; a < d; ++a) {
                            m.forces[std::size_t(i * d + a)] -= f * r[a];
                            m.forces[std::size_t(j * d + a)] += f * r[a];
                            for (int b = a; b < d; ++b)
                                m.virial[component[a][b]] -= f * r[a] * r[b];
                        }
                    }
        }
    for (int i = 0; i < s.n; ++i) {
        double f2 = 0.0;
        for (int a = 0; a < d; ++a) f2 += m.forces[i * d + a] * m.forces[i * d + a];
        m.max_force = std::max(m.max_force, std::sqrt(f2));
    }
    return m;
}

void compare(const Twin& twin, const System& s, std::int64_t replica, const Measured& m,
             double force_scale, const std::string& what) {
    const Outcome& o = twin.results[std::size_t(replica)].outcome;
    const double energy = std::max(m.energy_scale, 1e-300);
    const double virial = std::max(m.virial_scale, 1e-300);
    check_close(o.energy, m.energy, energy, 1e-12, what + ", energy");
    for (int k = 0; k < 6; ++k)
        check_close(o.virial[k], m.virial[k], virial, 1e-12,
                    what + ", virial " + std::to_string(k));
    check_close(o.max_force, m.max_force, force_scale, 1e-12, what + ", largest force");
    const std::size_t from = std::size_t(replica) * std::size_t(s.n * s.dimension);
    double worst = 0.0;
    for (std::size_t k = 0; k < m.forces.size(); ++k) {
        const double error = std::fabs(twin.forces[from + k] - m.forces[k]);
        worst = std::isnan(error) ? error : std::max(worst, error);
        if (std::isnan(worst)) break;
    }
    check_close(worst, 0.0, force_scale, 1e-12, what + ", forces");
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

bool same_outcome(const Outcome& a, const Outcome& b) {
    return a.status == b.status && a.steps == b.steps && a.builds == b.builds &&
           std::memcmp(&a.max_force, &b.max_force, sizeof(double)) == 0 &&
           std::memcmp(&a.energy, &b.energy, sizeof(double)) == 0 &&
           std::memcmp(a.virial, b.virial, sizeof a.virial) == 0;
}

bool same(const Twin& a, const Twin& b) {
    for (std::size_t r = 0; r < a.results.size(); ++r)
        if (!same_outcome(a.results[r].outcome, b.results[r].outcome)) return false;
    return same_bits(a.positions, b.positions) && same_bits(a.velocities, b.velocities) &&
           same_bits(a.forces, b.forces) && same_bits(a.kept, b.kept) &&
           same_bits(a.kept_velocities, b.kept_velocities) && same_bits(a.boxes, b.boxes);
}

Stage quench(double tolerance = 1e-10, std::int64_t steps = 20000) {
    Stage stage{};
    stage.kind = Stage::Kind::minimize;
    stage.steps = steps;
    stage.tolerance = tolerance;
    stage.newton.start = 0.0;
    return stage;
}

struct Configuration {
    const char* potential;
    int dimension, n, n_types;
    double density, tilt;
};

// Densities at which boxes are wide enough; 0: the narrowest box there may be.
const Configuration configurations[] = {
    {"harmonic_morse", 2, 90, 2, 1.6, 0.0},           // four lanes
    {"harmonic_morse", 2, 180, 3, 1.6, 0.0},          // two
    {"harmonic_morse", 2, 368, 2, 1.6, 0.0},          // one
    {"harmonic_morse", 2, 368, 368, 1.6, 0.0},        // a type each: no table in shared memory
    {"harmonic_morse", 2, 90, 2, 1.6, 0.3},           // tilted
    {"harmonic_morse", 2, 90, 2, 0.0, 0.0},           // the list reaches beyond half the box
    {"harmonic_morse", 2, 90, 2, 0.0, 0.5},           // and the box is tilted
    {"harmonic_morse_reduced", 2, 200, 2, 1.5, 0.1},  //
    {"harmonic_morse", 2, 1500, 2, 1.6, 0.0},         // in cells
    {"harmonic_morse", 2, 1500, 12, 1.6, 0.4},        // in cells, tilted
    {"soft_sphere", 2, 600, 2, 1.0, 0.0},             //
    {"morse", 2, 200, 2, 1.2, 0.2},                   //
    {"four_term", 2, 200, 1, 0.6, 0.0},               //
    {"harmonic_morse", 3, 180, 2, 1.2, 0.0},          // four lanes
    {"harmonic_morse", 3, 250, 1, 1.5, 0.2},          // two
    {"soft_sphere", 3, 900, 2, 1.4, 0.1},             // one, in cells
    {"morse", 3, 180, 3, 0.0, 0.3},                   //
    {"harmonic_morse", 2, 1, 1, 0.01, 0.0},           // nobody there
    {"soft_sphere", 3, 33, 2, 0.0, 0.0},              //
};

System make_configuration(const Configuration& c, int replicas = 1) {
    System s = make_system(c.potential, c.dimension, c.n, c.n_types,
                           c.density > 0.0 ? c.density : 1.0, c.tilt, replicas);
    if (c.density == 0.0) {
        double widths[3];
        s.boxes.front().widths(c.dimension, widths);
        const double narrowest = *std::min_element(widths, widths + c.dimension);
        const double factor = 2.0000001 * s.tables.front().view().max_cutoff / narrowest;
        s.boxes.front().rescale(factor);
        for (double& x : s.positions) x *= factor;
    }
    return s;
}

std::string describe(const Configuration& c) {
    char text[120];
    std::snprintf(text, sizeof text, "%s, d = %d, N = %d, %d types, density %g, tilt %g",
                  c.potential, c.dimension, c.n, c.n_types, c.density, c.tilt);
    return text;
}

void test_forces() {
    for (const Configuration& c : configurations) {
        System s = make_configuration(c);
        const std::string what = describe(c);
        const Measured m = measure_all(s, 0, s.positions);
        const double scale = std::max(m.max_force, 1e-300);
        const Twin serial = run_twin(s, s.work());
        check(serial.results[0].outcome.status == Status::ran, what + ": measured");
        compare(serial, s, 0, m, scale, what);
        check(same_bits(serial.positions, s.positions), what + ": a measurement moves nothing");
        for (const int threads : {2, 3, 8})
            check(same(serial, run_twin(s, s.work(), {.threads = threads})),
                  what + ": as with " + std::to_string(threads) + " threads");
    }
}

// A list holds every pair within its cutoff and the skin once from either end, and none much
// beyond.
void test_lists() {
    for (const Configuration& c : configurations) {
        System s = make_configuration(c);
        device::Packed packed = device::pack(s.replicas(), s.work());
        device::Batch batch = make_batch(packed);
        const device::Plan plan = device::make_plan(packed.shape, large_card, c.n);
        batch.layout = plan.layout;
        const Arena shared = make_arena(batch.layout.shared_bytes);
        const Arena global = make_arena(batch.layout.global_bytes);
        const double skin = 0.35;
        const int d = c.dimension;
        int missing = 0, wrong = 0, twice = 0;
        visit_case(packed.potential, d, plan.lanes, [&](auto of) {
            constexpr int D = decltype(of)::dimension;
            constexpr int L = decltype(of)::lanes;
            auto r =
                device::Replica<D, L>::template in<false>(batch, shared.get(), global.get(), 0);
            for (int i = 0; i < s.n; ++i)
                for (int a = 0; a < D; ++a)
                    r.x[i].r[a] = s.positions[std::size_t(r.order[i] * D + a)];
            device::SerialTeam team;
            team.use(r.partials, device::group_count(r.n * L));
            std::int32_t row_needed = 0;
            check(device::build_list(team, r, skin, row_needed) == device::Built::done,
                  describe(c) + ": a list is built");
            std::vector<int> listed(std::size_t(s.n));
            for (int i = 0; i < s.n; ++i) {
                std::fill(listed.begin(), listed.end(), 0);
                for (int column = i * L; column < (i + 1) * L; ++column)
                    for (int k = 0; k < r.counts[column]; ++k)
                        ++listed[r.list[k * r.columns + column]];
                for (int j = 0; j < s.n; ++j) {
                    double best = 1e300;
                    for (int kz = D == 3 ? -2 : 0; kz <= (D == 3 ? 2 : 0); ++kz)
                        for (int ky = -2; ky <= 2; ++ky)
                            for (int kx = -2; kx <= 2; ++kx) {
                                const double k[3] = {double(kx), double(ky), double(kz)};
                                double r2 = 0.0;
                                for (int a = 0; a < D; ++a) {
                                    double x = r.x[j].r[a] - r.x[i].r[a];
                                    for (int b = a; b < D; ++b) x += s.box(0).h[a][b] * k[b];
                                    r2 += x * x;
                                }
                                best = std::min(best, r2);
                            }
                    const double reach = r.r_cut[r.type[i] * r.n_types + r.type[j]] + skin;
                    if (i != j && best < reach * reach && listed[j] == 0) ++missing;
                    if (i == j || best > (reach + 1e-3) * (reach + 1e-3)) wrong += listed[j];
                    if (listed[j] > 1) ++twice;
                }
            }
        });
        check(missing == 0, describe(c) + ": " + std::to_string(missing) + " pairs are missing");
        check(wrong == 0 && twice == 0, describe(c) + ": pairs too many");
    }
}

void test_against_the_engine() {
    for (const Configuration& c : configurations) {
        System s = make_configuration(c);
        const Twin twin = run_twin(s, s.work(), {.threads = 2});
        ReplicaResult result{};
        std::vector<double> forces(s.positions.size());
        System copy = s;
        check(run_replicas(copy.replicas(), copy.work(), &result, forces.data(),
                           [](std::int64_t) { return true; }),
              "the engine measures");
        Measured m;
        m.energy = result.outcome.energy;
        m.energy_scale = std::max(std::fabs(m.energy), 1e-300);
        m.max_force = result.outcome.max_force;
        m.forces = forces;
        std::copy(result.outcome.virial, result.outcome.virial + 6, m.virial);
        for (const double v : m.virial) m.virial_scale = std::max(m.virial_scale, std::fabs(v));
        compare(twin, s, 0, m, std::max(m.max_force, 1e-300), describe(c) + ", engine");
    }
}

// From near a minimum both engines find that minimum; from random positions this one finds some
// minimum, with a list that is complete there.
void test_minimisation() {
    struct {
        const char* potential;
        int dimension, n, n_types;
        double density, tilt;
        bool from_near;  // where the engine, compiled without optimisation, does not take long
    } const cases[] = {
        {"harmonic_morse", 2, 80, 2, 1.6, 0.0, true},
        {"harmonic_morse", 2, 150, 2, 1.6, 0.3, true},
        {"harmonic_morse", 2, 368, 2, 1.6, 0.0, false},
        {"soft_sphere", 2, 600, 2, 1.8, 0.0, false},
        {"harmonic_morse", 3, 140, 1, 1.2, 0.1, false},
        {"soft_sphere", 3, 200, 2, 1.8, 0.0, true},
    };
    for (const auto& c : cases) {
        const std::string what = std::string("quench of ") + c.potential +
                                 ", d = " + std::to_string(c.dimension) +
                                 ", N = " + std::to_string(c.n);
        System s = make_system(c.potential, c.dimension, c.n, c.n_types, c.density, c.tilt,
                               c.from_near ? 2 : 1, 3, true);
        const Twin twin = run_twin(s, s.work({quench()}));
        for (std::int64_t r = 0; r < s.count(); ++r) {
            const Outcome& o = twin.results[std::size_t(r)].outcome;
            check(o.status == Status::converged && o.max_force <= 1e-10, what + " converges");
            compare(twin, s, r, measure_all(s, r, twin.positions), 1.0, what + ", at the end");
            for (int i = 0; i < s.n; ++i) {
                double x[3] = {}, f[3];
                std::int32_t images[3] = {};
                for (int a = 0; a < s.dimension; ++a)
                    x[a] = twin.positions[std::size_t((r * s.n + i) * s.dimension + a)];
                s.box(r).wrap(s.dimension, x, f, images);
                check(images[0] == 0 && images[1] == 0 && images[2] == 0, what + ": in the box");
            }
        }
        if (!c.from_near) continue;
        System near = s;
        near.positions = twin.positions;
        std::mt19937 engine(7);
        std::uniform_real_distribution<double> uniform(-1e-4, 1e-4);
        for (double& x : near.positions) x += uniform(engine);
        const Twin again = run_twin(near, near.work({quench(1e-11)}));
        System engine_side = near;
        std::vector<ReplicaResult> results(2);
        run_replicas(engine_side.replicas(), near.work({quench(1e-11)}), results.data(), nullptr,
                     [](std::int64_t) { return true; });
        for (std::size_t r = 0; r < 2; ++r) {
            const Outcome& o = again.results[r].outcome;
            check_close(o.energy, results[r].outcome.energy, std::fabs(o.energy) + 1.0, 1e-12,
                        what + ", energy as the engine's");
            const std::int64_t more = o.steps - results[r].outcome.steps;
            check(std::llabs(more) <= 10, what + ": as many steps as the engine's FIRE, not " +
                                              std::to_string(more) + " more than " +
                                              std::to_string(o.steps - more));
            double worst = 0.0;
            const std::size_t size = std::size_t(s.n * s.dimension);
            for (std::size_t k = r * size; k < (r + 1) * size; ++k) {
                const double off = std::fabs(again.positions[k] - engine_side.positions[k]);
                if (off < 1.0) worst = std::max(worst, off);  // else another image
            }
            check_close(worst, 0.0, 1.0, 1e-9, what + ", positions as the engine's");
        }
    }
}

// Whatever the threads and the memory, the bits are the same.
void test_reproducibility() {
    struct {
        const char* potential;
        int dimension, n;
        double tilt;
        int steps;
    } const cases[] = {{"harmonic_morse", 2, 60, 0.0, 400},
                       {"harmonic_morse", 2, 160, 0.2, 200},
                       {"harmonic_morse", 2, 800, 0.0, 40},
                       {"soft_sphere", 3, 150, 0.0, 300},
                       {"soft_sphere", 3, 700, 0.1, 40}};
    for (const auto& c : cases) {
        System s = make_system(c.potential, c.dimension, c.n, 2, 1.5, c.tilt, 2, 5, true);
        const auto stages = {quench(1e-10, c.steps)};
        const std::string what =
            std::string("bits of ") + c.potential + ", N = " + std::to_string(c.n);
        const Twin serial = run_twin(s, s.work(stages));
        for (const int threads : {1, 2, 5})
            check(same(serial, run_twin(s, s.work(stages), {.threads = threads})),
                  what + " with " + std::to_string(threads) + " threads");
        // A block's shared memory too small for the list, and for the state too.
        const auto first = serial.plan.layout.shared_bytes;
        const device::DeviceLimits no_list{first - 100, 2 * first, 0};
        const Twin list = run_twin(s, s.work(stages), {.limits = no_list});
        check(list.plan.layout.state_shared && !list.plan.layout.list_shared && !list.plan.shared,
              what + ": the list is not shared");
        check(same(serial, list), what + " with the list in global memory");
        const device::DeviceLimits none{device::partial_doubles(c.n * serial.plan.lanes) * 8 + 1000,
                                        2 * first, 0};
        const Twin global = run_twin(s, s.work(stages), {.threads = 3, .limits = none});
        check(!global.plan.layout.state_shared, what + ": nothing is shared");
        check(same(serial, global), what + " with all in global memory");
        // Alone, and after others.
        System alone = s;
        const std::size_t half = s.positions.size() / 2;
        alone.positions.assign(s.positions.begin() + std::ptrdiff_t(half), s.positions.end());
        const Twin one = run_twin(alone, s.work(stages));
        check(same_outcome(one.results[0].outcome, serial.results[1].outcome),
              what + " alone and after another");
    }
}

void test_overflow() {
    System s = make_system("harmonic_morse", 2, 300, 2, 1.6, 0.0, 3, 11, true);
    const auto stages = {quench(1e-10, 100)};
    const Twin roomy = run_twin(s, s.work(stages));
    check(roomy.reruns == 0, "the expected rows fit");
    for (const int threads : {0, 3}) {
        const Twin tight = run_twin(s, s.work(stages), {.threads = threads, .row = 12.0});
        check(tight.reruns > 0, "rows overflow");
        check(same(roomy, tight), "a run after an overflow gives the same");
    }
    // A cluster in a large box: the density tells nothing of the rows.
    System cluster = make_system("soft_sphere", 2, 400, 1, 1.0, 0.0, 1, 2, true);
    cluster.boxes.front().rescale(20.0);
    const Twin twin = run_twin(cluster, cluster.work());
    compare(twin, cluster, 0, measure_all(cluster, 0, cluster.positions),
            twin.results[0].outcome.max_force, "a cluster in a large box");
}

void test_endings() {
    for (const int n : {40, 150, 300, 700}) {
        System s = make_system("harmonic_morse", 2, n, 2, 1.6, 0.0, 2, 4, true);
        const std::string size = ", N = " + std::to_string(n);
        const auto ending = [](System& of, const std::vector<Stage>& stages, Options options = {}) {
            return run_twin(of, of.work(stages), options).results[0].outcome;
        };
        const std::vector<Stage> some{quench(1e-10, 20)};
        System broken = s;
        broken.positions[5] = std::nan("");
        for (const int threads : {0, 3}) {
            const Twin twin = run_twin(broken, broken.work(some), {.threads = threads});
            const Outcome& o = twin.results[0].outcome;
            check(o.status == Status::not_finite && std::isnan(o.energy) &&
                      std::isnan(o.max_force) && std::isnan(o.virial[0]),
                  "a NaN at the start is named" + size);
            check(twin.results[1].outcome.status == Status::step_limit,
                  "the next replica runs" + size);
        }
        check(ending(broken, {}).status == Status::not_finite, "a NaN is not measured" + size);
        System infinite = s;
        infinite.positions[8] = std::numeric_limits<double>::infinity();
        check(ending(infinite, some).status == Status::not_finite, "an infinity is named" + size);
        System coincident = s;
        coincident.positions[2] = coincident.positions[0];
        coincident.positions[3] = coincident.positions[1];
        check(ending(coincident, some).status == Status::not_finite,
              "particles at one place are named" + size);
        const Outcome limited = ending(s, {quench(1e-10, 7)});
        check(limited.status == Status::step_limit && limited.steps == 7,
              "the limit of steps is kept" + size);
        check(ending(s, some, {.threads = 2, .stop = 1}).status == Status::interrupted,
              "a stop is heard" + size);
    }
}

Stage press(double pressure) {
    Stage stage = quench(1e-11);
    stage.at_pressure = true;
    stage.pressure = pressure;
    stage.pressure_tolerance = 1e-8;
    return stage;
}

Stage shrink(double volume, int steps_left) {
    Stage stage{};
    stage.kind = Stage::Kind::rescale;
    stage.volume = volume;
    stage.steps_left = steps_left;
    return stage;
}

Stage dynamics(Stage::Kind kind, std::int64_t steps, double friction, bool draw) {
    static constexpr double at[] = {0.0, 10.0, 20.0};
    static constexpr double warm[] = {0.01, 0.04, 0.02};
    Stage stage{};
    stage.kind = kind;
    stage.steps = steps;
    stage.dt = 0.002;
    stage.friction = friction;
    stage.temperature = {3, at, warm, true};
    stage.draw_velocities = draw;
    return stage;
}

// A ring through all particles, and some bonds across it; some of them long.
void bind(System& s, bool each) {
    const std::int64_t networks = each ? s.count() : 1;
    s.bond_first = {0};
    for (std::int64_t r = 0; r < networks; ++r) {
        for (int i = 0; i < s.n; ++i) {
            const int across = (i + 7 + 5 * int(r)) % s.n;
            for (const int j : {(i + 1) % s.n, i % 3 == 0 ? across : i}) {
                if (i == j) continue;
                s.bonded.push_back(i);
                s.bonded.push_back(j);
                s.bond_stiffness.push_back(0.3 + 0.1 * (i % 4) + double(r));
                s.bond_length.push_back(0.9 + 0.1 * (i % 5));
            }
        }
        s.bond_first.push_back(std::int64_t(s.bond_length.size()));
    }
}

// A few steps of everything, with bonds and a trajectory.
System make_busy(const char* potential, int dimension, int n) {
    System s = make_system(potential, dimension, n, 2, 1.5, 0.1, 2, 5);
    s.boxes.push_back(s.boxes.front());
    for (const double x : s.positions) s.velocities.push_back(0.1 * std::sin(100.0 * x));
    bind(s, true);
    s.keep(2, 5);
    return s;
}
std::vector<Stage> busy_stages(const System& s, bool at_pressure) {
    double volume = 0.9;
    for (int a = 0; a < s.dimension; ++a) volume *= s.boxes.front().h[a][a];
    Stage last = at_pressure ? press(0.1) : quench();
    last.steps = 3;
    return {dynamics(Stage::Kind::langevin, 4, 2.0, true),
            dynamics(Stage::Kind::brownian, 4, 2.0, false), shrink(volume, 2), last};
}

// A block's shuffles, scans and barriers give the same bits as one thread.
void test_blocks() {
    struct {
        const char* potential;
        int dimension, n, steps, warps;
        double tilt, row;
    } const cases[] = {{"harmonic_morse", 2, 39, 20, 2, 0.0, 0.0},   // four lanes
                       {"harmonic_morse", 2, 220, 4, 3, 0.2, 12.0},  // an overflow
                       {"harmonic_morse", 2, 700, 4, 3, 0.0, 0.0},   // in cells
                       {"soft_sphere", 3, 210, 4, 2, 0.0, 0.0}};     // two lanes
    for (const auto& c : cases) {
        System s = make_system(c.potential, c.dimension, c.n, 2, 1.5, c.tilt, 2, 5, true);
        s.positions[7] = std::nan("");
        const auto stages = {quench(1e-10, c.steps)};
        const Twin serial = run_twin(s, s.work(stages), {.row = c.row});
        const Options options{.threads = 32 * c.warps, .block = true, .row = c.row};
        const Twin block = run_twin(s, s.work(stages), options);
        const std::string what = "bits of a block, N = " + std::to_string(c.n);
        check(block.reruns == serial.reruns && (c.row == 0.0 || block.reruns > 0), what);
        check(block.results[0].outcome.status == Status::not_finite, what + ", a NaN");
        check(same_outcome(serial.results[1].outcome, block.results[1].outcome), what);
        const auto half = std::ptrdiff_t(s.positions.size() / 2);
        check(std::equal(serial.positions.begin() + half, serial.positions.end(),
                         block.positions.begin() + half),
              what + ", positions");
    }
    for (const auto& [n, warps] : {std::pair(39, 2), {700, 3}}) {
        System s = make_busy("harmonic_morse", 2, n);
        const Work work = s.work(busy_stages(s, n == 39));
        const Twin serial = run_twin(s, work);
        const std::string what = "bits of a block through stages, N = " + std::to_string(n);
        check(serial.results[1].outcome.steps == 11 &&
                  std::isfinite(serial.results[1].outcome.energy),
              what + " to the end");
        check(same(serial, run_twin(s, work, {.threads = 32 * warps, .block = true})), what);
    }
}

// For the thread sanitizer: every way through the code, with more threads than cores.
void test_races() {
    struct {
        const char* potential;
        int dimension, n, steps;
        double tilt, row;
    } const cases[] = {{"harmonic_morse", 2, 60, 100, 0.0, 0.0},
                       {"harmonic_morse", 2, 300, 20, 0.2, 12.0},  // and an overflow
                       {"harmonic_morse", 2, 800, 20, 0.0, 0.0},   // in cells
                       {"soft_sphere", 3, 250, 30, 0.0, 0.0}};
    for (const auto& c : cases) {
        System s = make_system(c.potential, c.dimension, c.n, 2, 1.5, c.tilt, 2, 5, true);
        const auto stages = {quench(1e-10, c.steps)};
        const Twin serial = run_twin(s, s.work(stages), {.row = c.row});
        check(same(serial, run_twin(s, s.work(stages), {.threads = 4, .row = c.row})),
              "bits with threads, N = " + std::to_string(c.n));
        s.positions[7] = std::nan("");
        run_twin(s, s.work(stages), {.threads = 3});
    }
    for (const auto& [n, at_pressure] : {std::pair(60, true), {60, false}, {800, true}}) {
        System s = make_busy("harmonic_morse", 2, n);
        const Work work = s.work(busy_stages(s, at_pressure));
        check(same(run_twin(s, work), run_twin(s, work, {.threads = 4})),
              "bits with threads through stages, N = " + std::to_string(n));
    }
}

// Boxes, types and tables of each replica's own.
void test_each_its_own() {
    System s = make_system("harmonic_morse", 2, 120, 3, 1.6, 0.0, 3, 8);
    s.boxes.push_back(s.boxes[0]);
    s.boxes.push_back(s.boxes[0]);
    s.boxes[1].rescale(1.05);
    s.boxes[2].h[0][1] = 3.0;
    s.tables.push_back(make_table("harmonic_morse", 3, 0.03));
    s.tables.push_back(make_table("harmonic_morse", 3, -0.02));
    std::mt19937 engine(1);
    for (int i = 0; i < 240; ++i) s.type.push_back(std::int32_t(engine() % 3));
    s.type_each = true;
    const Twin twin = run_twin(s, s.work(), {.threads = 2});
    for (std::int64_t r = 0; r < 3; ++r) {
        const Measured m = measure_all(s, r, s.positions);
        compare(twin, s, r, m, m.max_force, "replica " + std::to_string(r) + " with its own");
    }
}

double largest_difference(const System& s, const std::vector<double>& a,
                          const std::vector<double>& b) {
    double worst = a.size() == b.size() ? 0.0 : 1e300;
    for (std::size_t k = 0; k < a.size() && k < b.size(); ++k) {
        if (std::isnan(a[k]) != std::isnan(b[k])) return 1e300;
        const double off = std::fabs(a[k] - b[k]);
        // Where rounding decides which side of the box a particle is on.
        const double side =
            s.boxes.front().h[k % std::size_t(s.dimension)][k % std::size_t(s.dimension)];
        if (off < 0.9 * side) worst = std::max(worst, off);
    }
    return worst;
}

// Stages of every kind end where the engine's do, as long as rounding takes to grow.
void test_stages() {
    using Kind = Stage::Kind;
    struct {
        const char* name;
        const char* potential;
        int dimension, n, n_types;
        double density, tilt;
        bool bonds, velocities;
        std::vector<Stage> stages;
    } const cases[] = {
        {"Langevin",
         "harmonic_morse",
         2,
         90,
         2,
         1.4,
         0.0,
         false,
         true,
         {dynamics(Kind::langevin, 40, 2.0, true)}},
        {"Langevin from given velocities",
         "soft_sphere",
         2,
         200,
         2,
         1.0,
         0.2,
         false,
         true,
         {dynamics(Kind::langevin, 40, 2.0, false)}},
        {"Langevin without friction",
         "harmonic_morse",
         2,
         150,
         2,
         1.0,
         0.0,
         false,
         true,
         {dynamics(Kind::langevin, 40, 0.0, true)}},
        {"Langevin in three dimensions",
         "soft_sphere",
         3,
         150,
         2,
         1.2,
         0.1,
         false,
         true,
         {dynamics(Kind::langevin, 30, 2.0, true)}},
        {"Brownian",
         "soft_sphere",
         2,
         800,
         2,
         1.0,
         0.0,
         false,
         true,
         {dynamics(Kind::brownian, 40, 2.0, false)}},
        {"Brownian in three dimensions",
         "soft_sphere",
         3,
         250,
         1,
         1.2,
         0.0,
         false,
         false,
         {dynamics(Kind::brownian, 20, 2.0, false)}},
        {"dynamics of both kinds",
         "soft_sphere",
         2,
         100,
         2,
         1.0,
         0.0,
         false,
         true,
         {dynamics(Kind::langevin, 10, 2.0, true), dynamics(Kind::brownian, 10, 2.0, false),
          dynamics(Kind::brownian, 10, 2.0, false), dynamics(Kind::langevin, 10, 2.0, false)}},
        {"bonds that move",
         "soft_sphere",
         2,
         120,
         2,
         1.0,
         0.0,
         true,
         true,
         {dynamics(Kind::langevin, 40, 2.0, true)}},
        {"compression",
         "soft_sphere",
         2,
         90,
         2,
         0.6,
         0.0,
         false,
         false,
         {shrink(140.0, 2), dynamics(Kind::langevin, 5, 1.0, true), shrink(130.0, 1)}},
        {"some steps at pressure", "soft_sphere", 2, 100, 2, 1.1, 0.0, false, false, {[] {
             Stage stage = press(0.05);
             stage.steps = 30;
             return stage;
         }()}},
        {"some steps at pressure, bonds, three dimensions",
         "soft_sphere",
         3,
         250,
         2,
         1.5,
         0.1,
         true,
         false,
         {[] {
             Stage stage = press(0.05);
             stage.steps = 20;
             return stage;
         }()}},
    };
    for (const auto& c : cases) {
        System s = make_system(c.potential, c.dimension, c.n, c.n_types, c.density, c.tilt, 2, 3);
        const std::string what = std::string("stages: ") + c.name;
        s.boxes.push_back(s.boxes.front());
        s.boxes[1].rescale(1.02);
        if (c.velocities)
            for (std::size_t k = 0; k < s.positions.size(); ++k)
                s.velocities.push_back(0.1 * std::sin(double(k)));
        if (c.bonds) bind(s, true);
        s.keep(10, 4);
        const Work work = s.work(c.stages);
        const Twin twin = run_twin(s, work, {.threads = 2});
        check(same(twin, run_twin(s, work)), what + ": as with one thread");
        System copy = s;
        std::vector<ReplicaResult> results(2);
        std::vector<double> forces(s.positions.size());
        run_replicas(copy.replicas(), copy.work(c.stages), results.data(), forces.data(),
                     [](std::int64_t) { return true; });
        for (std::size_t r = 0; r < 2; ++r) {
            const Outcome& o = twin.results[r].outcome;
            const Outcome& e = results[r].outcome;
            check(o.status == e.status && o.stage == e.stage && o.steps == e.steps,
                  what + ": ends as the engine's");
            check(std::isfinite(e.energy), what + ": the engine comes through");
            check_close(o.energy, e.energy, std::fabs(e.energy) + 1e-3, 1e-10, what + ": energy");
            check_close(o.virial[0], e.virial[0], std::fabs(e.virial[0]) + 1.0, 1e-9,
                        what + ": virial");
            check_close(twin.boxes[9 * r + 1 * 4], copy.boxes[r].h[1][1], 1.0, 1e-12,
                        what + ": box");
        }
        check_close(largest_difference(s, twin.positions, copy.positions), 0.0, 1.0, 1e-10,
                    what + ": positions");
        check_close(largest_difference(s, twin.velocities, copy.velocities), 0.0, 1.0, 1e-9,
                    what + ": velocities");
        check_close(largest_difference(s, twin.kept, copy.kept), 0.0, 1.0, 1e-10,
                    what + ": trajectory");
        check_close(largest_difference(s, twin.kept_velocities, copy.kept_velocities), 0.0, 1.0,
                    1e-9, what + ": velocities of the trajectory");
        check_close(largest_difference(s, twin.forces, forces), 0.0, 1.0, 1e-8, what + ": forces");
    }
}

// At fixed pressure, and of bonded particles, the minimum is the engine's.
void test_minima_of_stages() {
    for (const bool bonds : {false, true}) {
        System s = make_system("soft_sphere", 2, 80, 2, 1.5, 0.0, 2, 3, true);
        const std::string what = bonds ? "a network at pressure" : "pressure";
        s.boxes.push_back(s.boxes.front());
        if (bonds) bind(s, false);
        const std::vector<Stage> stages{press(1e-1), press(1e-2)};
        const Twin twin = run_twin(s, s.work(stages));
        System near = s;
        near.positions = twin.positions;
        std::memcpy(near.boxes.data(), twin.boxes.data(), twin.boxes.size() * sizeof(double));
        std::mt19937 engine(7);
        std::uniform_real_distribution<double> uniform(-1e-4, 1e-4);
        for (double& x : near.positions) x += uniform(engine);
        for (Box& box : near.boxes) box.rescale(1.0001);
        System engine_side = near;
        const Twin again = run_twin(near, near.work({press(1e-2)}));
        std::vector<ReplicaResult> results(2);
        run_replicas(engine_side.replicas(), engine_side.work({press(1e-2)}), results.data(),
                     nullptr, [](std::int64_t) { return true; });
        for (std::size_t r = 0; r < 2; ++r) {
            const Outcome& o = again.results[r].outcome;
            check(twin.results[r].outcome.status == Status::converged &&
                      o.status == Status::converged &&
                      results[r].outcome.status == Status::converged,
                  what + " is reached");
            const double volume = again.boxes[9 * r] * again.boxes[9 * r + 4];
            check_close(-(o.virial[0] + o.virial[1]) / (2.0 * volume), 1e-2, 1e-2, 1e-7,
                        what + ", as asked");
            check_close(o.energy, results[r].outcome.energy, std::fabs(o.energy), 1e-8,
                        what + ", energy as the engine's");
            check_close(again.boxes[9 * r], engine_side.boxes[r].h[0][0], 1.0, 1e-9,
                        what + ", box as the engine's");
        }
    }
}

// Particles that meet through bonds alone need no list, however far they go.
void test_bonds_alone() {
    for (const int dimension : {2, 3}) {
        System s = make_system("soft_sphere", dimension, 60, 2, 1.0, 0.1, 2, 9);
        bind(s, false);
        s.tables.clear();
        s.tables.push_back(PotentialTable::none(2, 1.0));
        const std::string what = "bonds alone, d = " + std::to_string(dimension);
        const Twin twin = run_twin(s, s.work({quench(1e-11)}), {.threads = 2});
        check(twin.results[0].outcome.status == Status::converged, what + " converge");
        check(twin.results[0].outcome.builds <= 2, what + " are not listed");
        System there = s;
        there.positions = twin.positions;
        std::vector<ReplicaResult> results(2);
        std::vector<double> forces(s.positions.size());
        run_replicas(there.replicas(), there.work(), results.data(), forces.data(),
                     [](std::int64_t) { return true; });
        check_close(results[0].outcome.max_force, 0.0, 1.0, 2e-11, what + ", the engine's forces");
        check_close(twin.results[1].outcome.energy, results[1].outcome.energy,
                    results[1].outcome.energy, 1e-12, what + ", energy");
    }
}

// What ends a replica on its way has the engine's name.
void test_endings_of_stages() {
    System s = make_system("soft_sphere", 2, 100, 2, 1.0, 0.0, 2, 3, true);
    s.boxes.push_back(s.boxes.front());
    Stage wild = dynamics(Stage::Kind::langevin, 100, 1.0, true);
    wild.dt = 50.0;
    const Twin unstable = run_twin(s, s.work({wild, quench()}), {.threads = 2});
    check(unstable.results[0].outcome.status == Status::unstable, "a wild time step is named");
    check(unstable.results[0].outcome.stage == 0 && std::isnan(unstable.results[0].outcome.energy),
          "and ends the replica");
    const Twin small = run_twin(s, s.work({quench(1e-8), press(1e4)}));
    check(small.results[0].outcome.status == Status::box_too_small, "a box too small is named");
    const Twin wide = run_twin(s, s.work({press(-1.0)}));
    check(wide.results[0].outcome.status == Status::box_unbounded, "a box without bounds is named");
    check(run_twin(s, s.work({dynamics(Stage::Kind::brownian, 9, 1.0, false)}), {.stop = 1})
                  .results[0]
                  .outcome.status == Status::interrupted,
          "a stop is heard in dynamics");
}

// The kernels for any stages give the bits of those for one minimisation.
void test_general() {
    System s = make_system("harmonic_morse", 2, 150, 2, 1.5, 0.0, 2, 5, true);
    const auto stages = {quench(1e-10, 300)};
    const Twin one = run_twin(s, s.work(stages));
    const Twin any = run_twin(s, s.work(stages), {.threads = 2, .general = true});
    check(same_bits(one.positions, any.positions), "bits of the kernels for any stages");
    check(one.results[0].outcome.steps == any.results[0].outcome.steps, "their steps");
}

void test_refusals() {
    const auto refused = [](System s, Work work, const std::string& words) {
        try {
            device::pack(s.replicas(), work);
        } catch (const std::invalid_argument& error) {
            check(std::string(error.what()).find(words) != std::string::npos,
                  "the refusal says " + words + ", not " + error.what());
            return;
        }
        check(false, "refused: " + words);
    };
    System s = make_system("harmonic_morse", 2, 100, 2, 1.6, 0.0);
    System large = s;
    large.n = 10001;
    refused(large, s.work(), "too large for the GPU");
    System other = s;
    other.tables.push_back(make_table("soft_sphere", 2));
    refused(other, other.work(), "one potential");
    std::string why_not;
    if (!gpu_available(why_not)) check(!why_not.empty(), "why there is no GPU");
}

void test_numbers() {
    using device::Number;
    double worst = 0.0;
    for (int k = -700000; k <= 700000; k += 7) {
        const double x = 1e-3 * k;
        const double error = std::fabs(exponential(Number(x)).v / std::exp(x) - 1.0);
        worst = std::max(worst, error / (1.0 + 0.5 * std::fabs(x)));
    }
    check_close(worst, 0.0, 1.0, 1e-15, "the exponential");
    check(exponential(Number(0.0)).v == 1.0, "exp(0) is 1");
    const double values[] = {-1e300, -700.0,      -1.0, -1e-9,       -0.0, 0.0,  1e-9,
                             0.5,    1.0 - 1e-16, 1.0,  1.0 + 3e-16, 2.5,  1e300};
    for (const double a : values)
        for (const double b : values) {
            const std::string what = " of " + std::to_string(a) + " and " + std::to_string(b);
            check(larger(Number(a), Number(b)).v == std::max(a, b), "the larger" + what);
            check(smaller(Number(a), Number(b)).v == std::min(a, b), "the smaller" + what);
            check((Number(a) > Number(b)) == (a > b), "the order" + what);
            check((Number(a) < Number(b)) == (a < b), "the order" + what);
        }
}

void test_plans() {
    for (const int dimension : {2, 3})
        for (const int n : {1, 10, 96, 97, 192, 193, 368, 385, 1000, 3000, 10000})
            for (const double row : {1.0, 33.0, 125.0})
                for (const std::int64_t kib : {64, 99, 163, 227}) {
                    const device::DeviceLimits limits{kib * 1024, (kib + 1) * 1024, 1024};
                    const device::Plan plan =
                        device::make_plan({n, dimension, 2, 8, row}, limits, 0);
                    const std::string what = "a plan for N = " + std::to_string(n);
                    check(plan.threads % 32 == 0 && plan.threads <= device::most_threads &&
                              plan.threads >= 32,
                          what + ": threads");
                    check(plan.layout.shared_bytes <= limits.shared_per_block, what + ": memory");
                    check(plan.blocks_per_multiprocessor >= 1, what + ": blocks");
                    check(plan.shared == (plan.layout.global_bytes == 0), what + ": global memory");
                    check(plan.layout.capacity >= 1 && plan.layout.columns >= n * plan.lanes,
                          what + ": room");
                    check(plan.lanes ==
                              device::make_plan({n, dimension, 5, 8, 2 * row}, large_card, 9).lanes,
                          what + ": lanes by N and d alone");
                }
    const device::Plan plan = device::make_plan({368, 2, 2, 8, 33.0}, large_card, 0);
    check(plan.lanes == 1 && plan.threads == 384 && plan.shared &&
              plan.blocks_per_multiprocessor == 2,
          "two replicas of 368 particles a multiprocessor");
}

void timed(const char* name, void (*test)()) {
    const auto start = std::chrono::steady_clock::now();
    test();
    std::printf("%-18s %.1f s\n", name,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "races") {
        timed("races", test_races);
    } else if (argc > 1 && std::string(argv[1]) == "blocks") {
        timed("blocks", test_blocks);
    } else {
        timed("numbers", test_numbers);
        timed("plans", test_plans);
        timed("refusals", test_refusals);
        timed("forces", test_forces);
        timed("lists", test_lists);
        timed("against_the_engine", test_against_the_engine);
        timed("each_its_own", test_each_its_own);
        timed("minimisation", test_minimisation);
        timed("reproducibility", test_reproducibility);
        timed("overflow", test_overflow);
        timed("endings", test_endings);
        timed("general", test_general);
        timed("stages", test_stages);
        timed("minima_of_stages", test_minima_of_stages);
        timed("bonds_alone", test_bonds_alone);
        timed("endings_of_stages", test_endings_of_stages);
    }
    if (failures == 0) std::printf("all passed\n");
    return failures == 0 ? 0 : 1;
}
