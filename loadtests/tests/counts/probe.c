// Loaded into the proxy by the tests that the check notices what it is there for: once for every request that arrives, this
// allocates from the proxy's own allocator and frees, or makes a system call. PROBE is `allocation` or `system-call`;
// PROBE_MALLOC and PROBE_SDALLOCX are where the binary has these functions, counted from its beginning.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int system_call;
static void *(*allocate)(size_t);
static void (*release)(void *, size_t, int);

static int first(struct dl_phdr_info *info, size_t size, void *base) {
    (void)size;
    *(ElfW(Addr) *)base = info->dlpi_addr;
    return 1;
}

__attribute__((constructor)) static void prepare(void) {
    const char *probe = getenv("PROBE"), *at_malloc = getenv("PROBE_MALLOC"), *at_sdallocx = getenv("PROBE_SDALLOCX");
    if (!probe || !at_malloc || !at_sdallocx) return;
    ElfW(Addr) base = 0;
    dl_iterate_phdr(first, &base);
    system_call = !strcmp(probe, "system-call");
    allocate = (void *(*)(size_t))(base + strtoul(at_malloc, 0, 16));
    release = (void (*)(void *, size_t, int))(base + strtoul(at_sdallocx, 0, 16));
}

ssize_t recv(int socket, void *buffer, size_t length, int flags) {
    static ssize_t (*next)(int, void *, size_t, int);
    if (!next) next = (ssize_t (*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
    ssize_t got = next(socket, buffer, length, flags);
    if (got > 4 && !memcmp(buffer, "GET ", 4)) {
        if (system_call) syscall(SYS_getppid);
        else release(allocate(24), 24, 0);
    }
    return got;
}
