/* A libnvidia-ml.so.1 for tests: two GPUs whose facts and failures come from a text file.
 *
 * stub_gpus.py compiles it and writes the file. It reaches a process by two variables that are set
 * before that process starts: LD_LIBRARY_PATH and NVML_STUB_STATE.
 *
 * The file is read again on every call, so a test changes the world by replacing it (write + rename).
 * One "key=value" a line; a missing key or file means the default. Keys (N is 0..7, K is 0..3):
 *   count=2  driver=570.86.15  cuda=12080  init=CODE  delay_us=0  log=PATH (appends one function name a call)
 *   fail=FUNCTION:CODE   hang=FUNCTION|*   (a hung call returns once the key is gone)   absent=FUNCTION
 *   gpuN.err=CODE (every call on that GPU)  gpuN.name gpuN.uuid gpuN.bus=00000000:01:00.0 gpuN.cc=9.0
 *   gpuN.total gpuN.reserved gpuN.used (MiB; used excludes reserved)  gpuN.mem=na (NOT_SUPPORTED, unified memory)
 *   gpuN.util gpuN.memutil gpuN.temp gpuN.power (mW; na = NOT_SUPPORTED) gpuN.limit (mW) gpuN.mig=na|0|1
 *   gpuN.procs=PID:MIB,PID:na  gpuN.gprocs=...  gpuN.flood=COUNT (so many more processes: pids from 1 on)
 *   gpuN.mig=1 gpuN.migs=COUNT  gpuN.migK.uuid, .name, .total, ... (a part takes the keys of a card)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINIT = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, FUNCTION_NOT_FOUND = 13, BAD_VERSION = 25, MAX = 8, PARTS = 4 };
typedef unsigned int u32;
typedef unsigned long long u64;
typedef struct { int i; } *Dev;
/* The cards, and behind them PARTS parts of each; a handle points to its own number. */
static struct { int i; } devs[MAX + MAX * PARTS];
static _Atomic int inited;                       /* nvmlInit is reference counted */

__attribute__((constructor)) static void number(void) {
    for (int i = 0; i < MAX + MAX * PARTS; i++) devs[i].i = i;
}
static int card_of(Dev d) { return d->i < MAX ? d->i : (d->i - MAX) / PARTS; }

static char *get(const char *key, const char *dflt, char out[512]) {
    const char *path = getenv("NVML_STUB_STATE");
    size_t n = strlen(key);
    char line[1024];
    FILE *f = path ? fopen(path, "r") : NULL;
    snprintf(out, 512, "%s", dflt);
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!strncmp(line, key, n) && line[n] == '=') snprintf(out, 512, "%s", line + n + 1);
    }
    if (f) fclose(f);
    return out;
}
static long num(const char *key, long dflt) {
    char b[512];
    get(key, "", b);
    return *b ? strtol(b, NULL, 0) : dflt;
}
static char *gpu(Dev d, const char *key, const char *dflt, char out[512]) {
    char k[64];
    if (d->i < MAX) snprintf(k, sizeof k, "gpu%d.%s", d->i, key);
    else snprintf(k, sizeof k, "gpu%d.mig%d.%s", card_of(d), (d->i - MAX) % PARTS, key);
    return get(k, dflt, out);
}
static long gnum(Dev d, const char *key, long dflt) {
    char b[512];
    gpu(d, key, "", b);
    return *b ? strtol(b, NULL, 0) : dflt;
}
static int is_na(Dev d, const char *key) { char b[512]; return !strcmp(gpu(d, key, "", b), "na"); }

/* Every entry point starts here: log, delay, hang, injected failure, then the state NVML itself checks. */
static int enter(const char *fn, int needs_init) {
    char b[512], *colon;
    FILE *f;
    if (*get("log", "", b) && (f = fopen(b, "a"))) { fprintf(f, "%s\n", fn); fclose(f); }
    if (num("delay_us", 0)) usleep(num("delay_us", 0));
    while (*get("hang", "", b) && (!strcmp(b, "*") || !strcmp(b, fn))) usleep(10000);
    if (!strcmp(get("absent", "", b), fn)) return FUNCTION_NOT_FOUND;
    if ((colon = strchr(get("fail", "", b), ':'))) { *colon = 0; if (!strcmp(b, fn)) return atoi(colon + 1); }
    return needs_init && !inited ? UNINIT : OK;
}
static int enter_dev(const char *fn, Dev d) {
    int rc = enter(fn, 1);
    if (rc) return rc;
    if (!d || card_of(d) >= num("count", 2)) return INVALID;
    return gnum(d, "err", 0);
}
#define ENTER(d) do { int rc_ = enter_dev(__func__, d); if (rc_) return rc_; } while (0)
#define SYS() do { int rc_ = enter(__func__, 1); if (rc_) return rc_; } while (0)
static int text(const char *s, char *out, u32 len) {
    if (strlen(s) + 1 > len) return TOO_SMALL;
    strcpy(out, s);
    return OK;
}
static char *uuid_of(Dev d, char b[512]) {
    char dflt[64];
    snprintf(dflt, sizeof dflt, "%s-00000000-0000-0000-0000-%012d", d->i < MAX ? "GPU" : "MIG", d->i);
    return gpu(d, "uuid", dflt, b);
}
static char *bus_of(Dev d, char b[512]) {
    char dflt[64];
    snprintf(dflt, sizeof dflt, "00000000:%02X:00.0", d->i + 1);
    return gpu(d, "bus", dflt, b);
}

int nvmlInitWithFlags(u32 flags) {
    int rc = enter(__func__, 0);
    (void)flags;
    if (!rc) rc = num("init", 0);
    if (!rc) inited++;
    return rc;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { SYS(); inited--; return OK; }
const char *nvmlErrorString(int rc) { static char s[32]; snprintf(s, sizeof s, "stub error %d", rc); return s; }
int nvmlSystemGetDriverVersion(char *out, u32 len) { char b[512]; SYS(); return text(get("driver", "570.86.15", b), out, len); }
int nvmlSystemGetNVMLVersion(char *out, u32 len) { SYS(); return text("12.570.86.15", out, len); }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { SYS(); *v = num("cuda", 12080); return OK; }
int nvmlDeviceGetCount_v2(u32 *n) { SYS(); *n = num("count", 2); return OK; }
int nvmlDeviceGetHandleByIndex_v2(u32 i, Dev *d) {
    SYS();
    if ((long)i >= num("count", 2) || i >= MAX) return INVALID;
    *d = (Dev)&devs[i];
    return gnum(*d, "err", 0);                    /* as the driver: a lost GPU fails already here */
}
static int find(const char *want, Dev *d, char *(*of)(Dev, char *)) {
    char b[512];
    for (long i = 0; i < num("count", 2) && i < MAX; i++)
        if (!strcmp(of((Dev)&devs[i], b), want)) { *d = (Dev)&devs[i]; return gnum(*d, "err", 0); }
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByUUID(const char *u, Dev *d) { SYS(); return find(u, d, uuid_of); }
int nvmlDeviceGetHandleByPciBusId_v2(const char *p, Dev *d) { SYS(); return find(p, d, bus_of); }
int nvmlDeviceGetIndex(Dev d, u32 *i) { ENTER(d); *i = d->i; return OK; }
int nvmlDeviceGetMinorNumber(Dev d, u32 *i) { ENTER(d); *i = d->i; return OK; }
int nvmlDeviceGetName(Dev d, char *out, u32 len) { char b[512]; ENTER(d); return text(gpu(d, "name", "NVIDIA Stub 24GB", b), out, len); }
int nvmlDeviceGetUUID(Dev d, char *out, u32 len) { char b[512]; ENTER(d); return text(uuid_of(d, b), out, len); }
int nvmlDeviceGetCudaComputeCapability(Dev d, int *major, int *minor) {
    char b[512];
    ENTER(d);
    return sscanf(gpu(d, "cc", "8.9", b), "%d.%d", major, minor) == 2 ? OK : NOT_SUPPORTED;
}

typedef struct { u64 total, free, used; } Memory;                                   /* v1: used includes reserved */
typedef struct { u32 version; u64 total, reserved, free, used; } Memory2;           /* v2: it does not */
_Static_assert(sizeof(Memory2) == 40, "nvmlMemory_v2 = 40 | 2 << 24");
static void memory(Dev d, Memory2 *m) {
    m->total = (u64)gnum(d, "total", 24564) << 20;
    m->reserved = (u64)gnum(d, "reserved", 512) << 20;
    m->used = (u64)gnum(d, "used", 0) << 20;
    m->free = m->total > m->reserved + m->used ? m->total - m->reserved - m->used : 0;
}
int nvmlDeviceGetMemoryInfo(Dev d, Memory *out) {
    Memory2 m;
    ENTER(d);
    if (is_na(d, "mem")) return NOT_SUPPORTED;
    memory(d, &m);
    *out = (Memory){m.total, m.free, m.used + m.reserved};
    return OK;
}
int nvmlDeviceGetMemoryInfo_v2(Dev d, Memory2 *m) {
    ENTER(d);
    if (m->version != (sizeof *m | 2u << 24)) return BAD_VERSION;
    if (is_na(d, "mem")) return NOT_SUPPORTED;
    memory(d, m);
    return OK;
}
typedef struct { u32 gpu, memory; } Utilization;
int nvmlDeviceGetUtilizationRates(Dev d, Utilization *u) {
    ENTER(d);
    if (is_na(d, "util")) return NOT_SUPPORTED;
    *u = (Utilization){gnum(d, "util", 0), gnum(d, "memutil", 0)};
    return OK;
}
#define NUMBER(fn, key, dflt) \
    int fn(Dev d, u32 *v) { ENTER(d); if (is_na(d, key)) return NOT_SUPPORTED; *v = gnum(d, key, dflt); return OK; }
NUMBER(nvmlDeviceGetPowerUsage, "power", 30000)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "limit", 450000)
int nvmlDeviceGetTemperature(Dev d, u32 sensor, u32 *v) {
    ENTER(d);
    if (sensor) return INVALID;
    if (is_na(d, "temp")) return NOT_SUPPORTED;
    *v = gnum(d, "temp", 40);
    return OK;
}
int nvmlDeviceGetMigMode(Dev d, u32 *current, u32 *pending) {
    char b[512];
    ENTER(d);
    if (!strcmp(gpu(d, "mig", "na", b), "na")) return NOT_SUPPORTED;
    *current = *pending = atoi(b);
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(Dev d, u32 *n) { ENTER(d); *n = PARTS; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(Dev d, u32 k, Dev *out) {
    ENTER(d);
    if (k >= PARTS || (long)k >= gnum(d, "migs", 0)) return NOT_FOUND;
    *out = (Dev)&devs[MAX + d->i * PARTS + k];
    return OK;
}
typedef struct { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
_Static_assert(sizeof(Pci) == 68, "nvmlPciInfo_t");
int nvmlDeviceGetPciInfo_v3(Dev d, Pci *p) {
    char b[512];
    ENTER(d);
    memset(p, 0, sizeof *p);
    snprintf(p->bus_id, sizeof p->bus_id, "%.31s", bus_of(d, b));
    snprintf(p->legacy, sizeof p->legacy, "%.15s", p->bus_id + 4);
    sscanf(p->bus_id, "%x:%x:%x", &p->domain, &p->bus, &p->device);
    p->id = 0x268410DE;
    return OK;
}
typedef struct { u32 pid; u64 used; u32 gpu_instance, compute_instance; } Process;  /* v2 and v3: 24 bytes */
_Static_assert(sizeof(Process) == 24, "nvmlProcessInfo_t");
static int processes(Dev d, const char *key, u32 *count, Process *out) {
    char b[512], *save = NULL;
    u32 n = 0, room = out ? *count : 0;
    for (char *t = strtok_r(gpu(d, key, "", b), ",", &save); t; t = strtok_r(NULL, ",", &save), n++) {
        char *mib = strchr(t, ':');
        if (n < room)
            out[n] = (Process){strtoul(t, NULL, 10), mib && strcmp(mib + 1, "na") ? strtoull(mib + 1, NULL, 10) << 20 : ~0ull, ~0u, ~0u};
    }
    for (u32 more = gnum(d, "flood", 0), pid = 1; pid <= more; pid++, n++)
        if (n < room) out[n] = (Process){pid, 0, ~0u, ~0u};
    *count = n;
    return n > room ? TOO_SMALL : OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Dev d, u32 *n, Process *out) { ENTER(d); return processes(d, "procs", n, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Dev d, u32 *n, Process *out) { ENTER(d); return processes(d, "gprocs", n, out); }
