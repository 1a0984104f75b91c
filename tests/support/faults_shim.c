/* Loaded before the C library (LD_PRELOAD), this makes calls on some files fail and the wall clock wrong.

   FAULTS_TRIGGER names a file. While it exists, its text "<call> <part of a path> <count>" says which calls fail with
   EIO: `sync`, `write` or `read`, on files whose path holds the part. A count of 0 means each of them, 1 the next and
   no other, 2 the one after it, and so on: each counts it down, and the one that fails removes the file. A fourth word
   `kill-before` or `kill-after` has the whole process group killed there instead, and then there is `rename`, too.
   FAULTS_CLOCK names a file of eight bytes: seconds to add to the wall clock, read at every look. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static ssize_t text_of(const char *path, char *text, size_t size) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = real(file, text, size - 1);
    close(file);
    text[length < 0 ? 0 : length] = 0;
    return length;
}

enum { NOTHING, FAIL, KILL_AFTER };

static void kill_all(void) {
    kill(0, SIGKILL);
    for (;;) pause();
}

/* What is to become of this call on the file of that path; one that is to be killed before it does not return. */
static int met_at(const char *call, const char *path) {
    const char *trigger = getenv("FAULTS_TRIGGER");
    char text[512], wanted[16] = "", part[256] = "", what[16] = "";
    int count = 0;
    if (!trigger || text_of(trigger, text, sizeof text) <= 0) return NOTHING;
    if (sscanf(text, "%15s %255s %d %15s", wanted, part, &count, what) < 3 || strcmp(wanted, call)) return NOTHING;
    if (!strstr(path, part)) return NOTHING;
    if (count > 1) {
        FILE *counted = fopen(trigger, "w");
        /* Of one length whatever the count, since threads that count at once write over each other. */
        fprintf(counted, "%s %s %6d %s", wanted, part, count - 1, what);
        fclose(counted);
        return NOTHING;
    }
    /* Of two threads that fail at once, one removes it and the other goes on. */
    if (count == 1 && unlink(trigger)) return NOTHING;
    if (!strcmp(what, "kill-before")) kill_all();
    if (!strcmp(what, "kill-after")) return KILL_AFTER;
    if (*what) abort(); /* a word that is none: better no test than another one */
    errno = EIO;
    return FAIL;
}

static int met(const char *call, int file) {
    char path[PATH_MAX], link[64];
    if (!getenv("FAULTS_TRIGGER") || access(getenv("FAULTS_TRIGGER"), F_OK)) return NOTHING;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return NOTHING;
    path[length] = 0;
    return met_at(call, path);
}

#define INSTEAD(becomes, doing) \
    int becoming = becomes; \
    if (becoming == FAIL) return -1; \
    __typeof__(doing) done = doing; \
    if (becoming == KILL_AFTER) kill_all(); \
    return done

int fsync(int file) { REAL(fsync); INSTEAD(met("sync", file), real(file)); }
int fdatasync(int file) { REAL(fdatasync); INSTEAD(met("sync", file), real(file)); }

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    INSTEAD(met("write", file), real(file, data, size));
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    INSTEAD(met("write", file), real(file, data, size, at));
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    INSTEAD(met("write", file), real(file, data, size, at));
}

ssize_t read(int file, void *data, size_t size) {
    REAL(read);
    INSTEAD(met("read", file), real(file, data, size));
}

ssize_t pread(int file, void *data, size_t size, off_t at) {
    REAL(pread);
    INSTEAD(met("read", file), real(file, data, size, at));
}

ssize_t pread64(int file, void *data, size_t size, off64_t at) {
    REAL(pread64);
    INSTEAD(met("read", file), real(file, data, size, at));
}

/* By either name. */
static int renamed(const char *old, const char *new) {
    char both[2 * PATH_MAX];
    snprintf(both, sizeof both, "%s %s", old, new);
    return met_at("rename", both);
}

int rename(const char *old, const char *new) {
    REAL(rename);
    INSTEAD(renamed(old, new), real(old, new));
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    REAL(renameat2);
    INSTEAD(renamed(old, new), real(from, old, to, new, flags));
}

/* A library that binds its own way first (chDB's does) would call the C library past this one. */
void *dlopen(const char *path, int flags) {
    REAL(dlopen);
    return real(path, flags & ~RTLD_DEEPBIND);
}

static int64_t shift_seconds(void) {
    static volatile int64_t *shift;
    if (!shift) {
        const char *path = getenv("FAULTS_CLOCK");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (file < 0) return 0;
        void *mapped = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (mapped == MAP_FAILED) return 0;
        shift = mapped;
    }
    return *shift;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift_seconds();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed) now->tv_sec += shift_seconds();
    return failed;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
