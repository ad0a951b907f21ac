/* A stand-in for NVIDIA's management library, with the prototypes of its header for what nomoat calls: two boards of 100 and 200 W whose
   counters run since the boot of the machine. With WATTS_TOLD their power is told as so many times what the counters say, in per cent. */
#include <stdio.h>
#include <time.h>

#ifndef WATTS_TOLD
#define WATTS_TOLD 100
#endif

typedef int nvmlReturn_t;
typedef struct nvmlDevice_st { unsigned index; } *nvmlDevice_t;

static struct nvmlDevice_st boards[2] = {{0}, {1}};

nvmlReturn_t nvmlInit_v2(void) { return 0; }

const char *nvmlErrorString(nvmlReturn_t code) { return code ? "made up" : "success"; }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = 2;
    return 0;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (index > 1) return 2;
    *device = &boards[index];
    return 0;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    snprintf(uuid, length, "GPU-made-up-%u", device->index);
    return 0;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts) {
    *milliwatts = 100u * 1000u * (device->index + 1) / 100u * WATTS_TOLD;
    return 0;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned long long milliseconds = now.tv_sec * 1000ull + now.tv_nsec / 1000000;
    *millijoules = milliseconds * 100 * (device->index + 1);
    return 0;
}
