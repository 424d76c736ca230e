// Stages of every kind, against the engine's own kernels.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "twins.h"

namespace {

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
        {"many steps at pressure with wide strains",
         "soft_sphere",
         2,
         400,
         1,
         0.25,
         0.0,
         false,
         false,
         {[] {
             Stage stage = press(0.05);
             stage.steps = 45;
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
            check_close(twin.boxes[9 * r + 4], copy.boxes[r].h[1][1], 1.0, 1e-10, what + ": box");
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

}  // namespace

void test_staging() {
    timed("general", test_general);
    timed("stages", test_stages);
    timed("minima_of_stages", test_minima_of_stages);
    timed("bonds_alone", test_bonds_alone);
    timed("endings_of_stages", test_endings_of_stages);
}
