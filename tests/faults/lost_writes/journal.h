/* The shim's own side: the journal, its lock, and what is below the watched folder. shim.c has the calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))
#define NAME_MAX_BYTES 1024

/* The same numbers are in disk.py. */
enum { WRITE = 1, LENGTH, CREATE, UNLINK, RENAME, SYNC, EXCHANGE };

struct record {
    uint32_t kind, first_size;                     /* of the first name or of the data, which follow the record */
    uint64_t inode, folder, second_folder, number; /* number: an offset, a length, a mode, a place in the journal */
    uint32_t second_size, padding;                 /* of the second name, which follows the first */
};

struct entry {
    uint64_t folder;
    char name[NAME_MAX_BYTES];
};

static long (*raw)(long, ...);
static char folder[PATH_MAX];
static size_t folder_size;
static int journal = -1;
static long sync_us;
static pthread_mutex_t *lock;

static void die(void) {
    raw(SYS_kill, (long)getpid(), SIGKILL);
    for (;;) pause();
}

static int open_raw(const char *path, int flags, int mode) { return raw(SYS_openat, AT_FDCWD, path, flags, mode); }

__attribute__((constructor)) static void begin(void) {
    if (raw) return;
    raw = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    const char *watched = getenv("LOST_WRITES_FOLDER"), *path = getenv("LOST_WRITES_JOURNAL");
    if (!watched || !path) return;
    char beside[PATH_MAX];
    strncpy(folder, watched, sizeof folder - 1);
    folder_size = strlen(folder);
    const char *slow = getenv("LOST_WRITES_SYNC_US");
    sync_us = slow ? atol(slow) : 0;
    if (strlen(path) + 8 > sizeof beside) abort();
    strcat(strcpy(beside, path), ".lock");
    /* The journal's number is high, so that it is in no program's way. */
    int low = open_raw(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    journal = raw(SYS_fcntl, low, F_DUPFD_CLOEXEC, 900);
    raw(SYS_close, low);
    /* Whoever creates the lock's file makes the mutex; it appears under its name when it is whole. */
    char draft[PATH_MAX + 16];
    strcpy(draft, beside);
    char *digit = draft + strlen(draft);
    *digit++ = '.';
    for (long pid = getpid(); pid; pid /= 10) *digit++ = '0' + pid % 10;
    *digit = 0;
    int file = open_raw(draft, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    raw(SYS_ftruncate, file, (long)sizeof *lock);
    lock = mmap(NULL, sizeof *lock, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(lock, &shared);
    raw(SYS_close, file);
    if (raw(SYS_linkat, AT_FDCWD, draft, AT_FDCWD, beside, 0) != 0) {
        munmap(lock, sizeof *lock);
        file = open_raw(beside, O_RDWR | O_CLOEXEC, 0);
        lock = mmap(NULL, sizeof *lock, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        raw(SYS_close, file);
    }
    raw(SYS_unlinkat, AT_FDCWD, draft, 0);
    if (journal < 0 || lock == MAP_FAILED) abort();
}

static void take(void) {
    if (pthread_mutex_lock(lock) != 0) die();
}

/* Every change ends through here, so that errno is the change's own. */
static long give(long result, int error) {
    pthread_mutex_unlock(lock);
    errno = error;
    return result;
}

static void append(struct record *record, const void *first, size_t first_size, const void *second, size_t second_size) {
    struct iovec parts[] = {{record, sizeof *record}, {(void *)first, first_size}, {(void *)second, second_size}};
    record->first_size = first_size;
    record->second_size = second_size;
    if (raw(SYS_writev, journal, parts, 3) != (long)(sizeof *record + first_size + second_size)) die();
}

static int is_below(int fd) {
    char link[64] = "/proc/self/fd/", path[PATH_MAX], digits[16];
    int count = 0;
    do digits[count++] = '0' + fd % 10;
    while (fd /= 10);
    char *end = link + strlen(link);
    while (count) *end++ = digits[--count];
    *end = 0;
    long size = raw(SYS_readlinkat, AT_FDCWD, link, path, sizeof path);
    return size >= (long)folder_size && !memcmp(path, folder, folder_size) &&
           (size == (long)folder_size || path[folder_size] == '/');
}

/* The inode of a file or folder below the watched one, else 0. */
static uint64_t watched(int fd) {
    struct stat found;
    int before = errno;
    if (journal < 0 || fd < 0 || fstat(fd, &found) != 0 || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)) ||
        !is_below(fd)) {
        errno = before;
        return 0;
    }
    return found.st_ino;
}

/* The folder's inode and the name in it; 0 when it is not below the watched folder. */
static int place(int at, const char *path, struct entry *entry) {
    char parent[PATH_MAX];
    if (journal < 0 || !path || strlen(path) >= sizeof parent) return 0;
    strcpy(parent, path);
    size_t size = strlen(parent);
    while (size > 1 && parent[size - 1] == '/') parent[--size] = 0;
    char *slash = strrchr(parent, '/');
    const char *name = slash ? slash + 1 : parent;
    if (strlen(name) >= NAME_MAX_BYTES) return 0;
    strcpy(entry->name, name);
    if (slash) slash[slash == parent] = 0;
    int before = errno;
    int fd = raw(SYS_openat, at, slash ? parent : ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    entry->folder = watched(fd);
    if (fd >= 0) raw(SYS_close, fd);
    errno = before;
    return entry->folder != 0;
}

static int stat_entry(int at, const char *path, struct stat *found) {
    int before = errno, result = fstatat(at, path, found, AT_SYMLINK_NOFOLLOW);
    errno = before;
    return result == 0;
}
