#include "twins.h"

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
#include <type_traits>
#include <vector>

namespace {

int failures = 0;

}  // namespace

int failure_count() { return failures; }

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

void timed(const char* name, void (*test)()) {
    const auto start = std::chrono::steady_clock::now();
    test();
    std::printf("%-18s %.1f s\n", name,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

namespace {

// What the tables are of: terms A (1 - s / end)^p of s = r^2 below their ends, the breaks. They are
// polynomials in s, which cells hold to round-off, down to r = 0.
struct Term {
    double height, end;
    int power;
};

// Of a pair with these breaks; where there is but one, the other is 0.
std::vector<Term> terms(double inner, double cutoff) {
    std::vector<Term> all{{3.0, cutoff, 2}, {1.0, cutoff, 7}};
    if (inner > 0.0) all.push_back({1.5, inner, 2});
    return all;
}

void of_terms(double s, const double* breaks, double& u, double& force_over_r) {
    u = force_over_r = 0.0;
    for (const Term& term : terms(breaks[0], breaks[1])) {
        if (s >= term.end) continue;
        const double w = 1.0 - s / term.end;
        u += term.height * std::pow(w, term.power);
        force_over_r += 2.0 * term.height * term.power * std::pow(w, term.power - 1) / term.end;
    }
}

PotentialTable make_tabulated(int n_types, double shift) {
    using potentials::Cells;
    constexpr int bits = 3;
    constexpr double first = 1.0 / 16;
    const auto number = [](double x) { return potentials::high_bits(x) >> (20 - bits); };
    const auto beginning = [](int n) { return potentials::from_bits(n << (20 - bits), 0); };
    const auto pairs = std::size_t(n_types * n_types);
    std::vector<double> sigma(pairs), r_cut(pairs), coefficients;
    std::vector<double> cells(2 * Cells::size, 0.0);
    for (int s = 0; s < n_types; ++s)
        for (int t = 0; t < n_types; ++t) {
            const std::size_t at = std::size_t(s * n_types + t);
            const double u = n_types > 1 ? double(s + t) / (2 * n_types - 2) : 0.5;
            sigma[at] = 0.8 + 0.2 * u + shift;
            r_cut[at] = 1.1 * sigma[at];
            const double cutoff = r_cut[at] * r_cut[at];
            const double inner = (s + t) % 3 == 1 ? 0.0 : 0.6 * cutoff;
            const int wall = number(first) - 1;
            // A break at 0 lies below every distance.
            const double place = double(cells.size() / Cells::size) - (inner > 0.0 ? 0.0 : 1.0);
            coefficients.insert(coefficients.end(), {place, beginning(wall), inner, cutoff});
            for (int n = wall; n <= number(cutoff); ++n)
                for (const double from : {beginning(n), inner, cutoff}) {
                    // A cell, and one more for each break in it.
                    if (number(from) != n) continue;
                    std::vector<double> c(Cells::size, 0.0);
                    for (const Term& term : terms(inner, cutoff)) {
                        if (from >= term.end) continue;
                        const double w = 1.0 - beginning(n) / term.end;
                        double binomial = 1.0;
                        for (int k = 0; k <= term.power; ++k) {
                            const double value = term.height * binomial *
                                                 std::pow(w, term.power - k) *
                                                 std::pow(-1.0 / term.end, k);
                            if (k == 0)
                                c[7] += value;
                            else
                                c[std::size_t(k) - 1] -= 2.0 * k * value;
                            binomial *= double(term.power - k) / (k + 1);
                        }
                    }
                    cells.insert(cells.end(), c.begin(), c.end());
                }
        }
    Tabulated table{};
    table.n_types = n_types;
    table.n_breaks = 2;
    table.bits = bits;
    table.max_stiffness = 20.0;
    table.sigma = sigma.data();
    table.r_cut = r_cut.data();
    table.coefficients = coefficients.data();
    table.cells = cells.data();
    table.n_cells = cells.size() / Cells::size;
    return PotentialTable(table);
}

}  // namespace

// A table of n_types kinds, all of them different.
PotentialTable make_table(const std::string& name, int n_types, double shift) {
    if (name == potentials::Table::name) return make_tabulated(n_types, shift);
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
                   double tilt, int replicas, unsigned seed, bool random) {
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
    if (!packed.cells.empty()) batch.cells = packed.cells.data();
    batch.cells_at = packed.cells_at.data();
    batch.scales = packed.scales.data();
    if (!packed.bond_first.empty()) batch.bond_first = packed.bond_first.data();
    batch.bonds = packed.bonds.data();
    packed.stages = device::stages_with(packed, packed.schedules.data());
    batch.stages = packed.stages.data();
    return batch;
}

// As Runner in gpu.cc does it.
Twin run_twin(System& system, const Work& work, const Options& options) {
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

namespace {

template <class Potential>
void evaluate(double r2, const double* c, double& u, double& f) {
    if constexpr (std::is_same_v<Potential, potentials::Table>)
        of_terms(r2, c + potentials::Table::first_break, u, f);
    else
        Potential::evaluate(r2, c, u, f);
}
template <class... Potentials>
auto evaluation(potentials::List<Potentials...>, int potential) {
    using Function = void (*)(double, const double*, double&, double&);
    static constexpr Function all[] = {evaluate<Potentials>...};
    return all[potential];
}

}  // namespace

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

Stage quench(double tolerance, std::int64_t steps) {
    Stage stage{};
    stage.kind = Stage::Kind::minimize;
    stage.steps = steps;
    stage.tolerance = tolerance;
    stage.newton.start = 0.0;
    return stage;
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
