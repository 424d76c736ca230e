// The GPU's algorithms on the processor. Prints what failed.
#include <cstdio>

#include "twins.h"

void test_minimising();
void test_staging();

int main() {
    test_minimising();
    test_staging();
    if (failure_count() == 0) std::printf("all passed\n");
    return failure_count() == 0 ? 0 : 1;
}
