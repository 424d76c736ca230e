// Teams of threads against one thread, and a block's own code with CUDA emulated: built with
// AMORPH_FEW_CASES, and for the thread sanitizer. `teams blocks` and `teams races` run a half each.
#include <cmath>
#include <cstdio>
#include <string>

#include "twins.h"

namespace {

// A block's shuffles, scans and barriers give the same bits as one thread.
void test_blocks() {
    struct {
        const char* potential;
        int dimension, n, steps, warps;
        double tilt, row;
    } const cases[] = {{"harmonic_morse", 2, 39, 20, 2, 0.0, 0.0},   // four lanes
                       {"harmonic_morse", 2, 220, 4, 3, 0.2, 12.0},  // an overflow
                       {"harmonic_morse", 2, 700, 4, 3, 0.0, 0.0},   // in cells
                       {"soft_sphere", 3, 210, 4, 2, 0.0, 0.0},      // two lanes
                       {"table", 2, 39, 20, 2, 0.1, 0.0}};
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

}  // namespace

int main(int argc, char** argv) {
    const std::string part = argc > 1 ? argv[1] : "";
    if (part != "blocks") timed("races", test_races);
    if (part != "races") timed("blocks", test_blocks);
    if (failure_count() == 0) std::printf("all passed\n");
    return failure_count() == 0 ? 0 : 1;
}
