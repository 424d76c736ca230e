// Forces, lists and minimisation: against every image of every pair, against the engine's own
// kernels, and one thread against several.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "twins.h"

namespace {

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
    {"table", 2, 90, 2, 1.5, 0.2},                    //
    {"table", 2, 368, 1, 1.2, 0.0},                   //
    {"table", 2, 368, 368, 1.2, 0.0},                 // a type each
    {"table", 3, 300, 3, 1.3, 0.1},                   //
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
        {"table", 2, 80, 2, 1.6, 0.2, true},
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

// Boxes, types and tables of each replica's own.
void test_each_its_own(const char* potential) {
    System s = make_system(potential, 2, 120, 3, 1.6, 0.0, 3, 8);
    s.boxes.push_back(s.boxes[0]);
    s.boxes.push_back(s.boxes[0]);
    s.boxes[1].rescale(1.05);
    s.boxes[2].h[0][1] = 3.0;
    s.tables.push_back(make_table(potential, 3, 0.03));
    s.tables.push_back(make_table(potential, 3, -0.02));
    std::mt19937 engine(1);
    for (int i = 0; i < 240; ++i) s.type.push_back(std::int32_t(engine() % 3));
    s.type_each = true;
    const Twin twin = run_twin(s, s.work(), {.threads = 2});
    for (std::int64_t r = 0; r < 3; ++r) {
        const Measured m = measure_all(s, r, s.positions);
        compare(twin, s, r, m, m.max_force,
                potential + (" of replica " + std::to_string(r)) + " with its own");
    }
}
void test_each_its_own() {
    for (const char* potential : {"harmonic_morse", "table"}) test_each_its_own(potential);
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

}  // namespace

void test_minimising() {
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
}
