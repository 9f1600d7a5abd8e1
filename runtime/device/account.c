// How much memory of each purpose a device has given out.

#include "runtime/device/device.h"

void amli_account(amli_device *device, amli_purpose purpose, size_t bytes, bool taken)
{
    if (!taken) {
        device->allocated[purpose] -= bytes;
        return;
    }
    device->allocated[purpose] += bytes;
    size_t sum = 0;
    for (int i = 0; i < AMLI_PURPOSES; i++)
        sum += device->allocated[i];
    if (sum > device->peak)
        device->peak = sum;
}
