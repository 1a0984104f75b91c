/* Writes down every change that a program makes below one folder, and every sync of it, in the order in which the
 * kernel was asked. Preloaded into the program; disk.py reads the journal and says what a power cut may leave.
 *
 * LOST_WRITES_FOLDER   the folder, absolute and without links
 * LOST_WRITES_JOURNAL  the file to append to, outside the folder; its lock lies beside it, as <journal>.lock
 * LOST_WRITES_SYNC_US  how long a sync takes: the time in which a crash finds writes that are not durable
 *
 * A change and its record are made under one lock of all threads and processes, so the order is the real one. A
 * process that dies between the two leaves the lock broken; the next one to take it dies too, as in a power cut.
 * A sync is written down when it ends, with the place of the journal where it began: only what came before is durable.
 *
 * Not seen: stores into shared maps (SQLite's -shm needs no durability), and writes that bypass the C library.
 * test_lost_writes.py compares journal and folder byte by byte, so that neither can go unnoticed.
 */
#include "journal.h"

static void created(const struct entry *entry, const struct stat *made, const char *target) {
    struct record record = {CREATE, 0, made->st_ino, entry->folder, 0, made->st_mode, 0, 0};
    append(&record, entry->name, strlen(entry->name), target, target ? strlen(target) : 0);
}

static void changed_length(uint64_t inode, uint64_t length) {
    struct record record = {LENGTH, 0, inode, 0, 0, length, 0, 0};
    append(&record, NULL, 0, NULL, 0);
}

static void wrote(uint64_t inode, int64_t offset, const void *data, size_t size) {
    struct record record = {WRITE, 0, inode, 0, 0, offset, 0, 0};
    append(&record, data, size, NULL, 0);
}

/* offset -1: where the file's own position was, which is known afterwards also for a file that is only appended to. */
static long written(int fd, const struct iovec *parts, int count, int64_t offset) {
    uint64_t inode = watched(fd);
    if (!inode) return offset < 0 ? raw(SYS_writev, fd, parts, count) : raw(SYS_pwritev, fd, parts, count, offset, 0L);
    take();
    long done = offset < 0 ? raw(SYS_writev, fd, parts, count) : raw(SYS_pwritev, fd, parts, count, offset, 0L);
    int error = errno;
    if (done > 0) {
        int64_t at = offset < 0 ? raw(SYS_lseek, fd, 0L, SEEK_CUR) - done : offset;
        for (long left = done, part = 0; left > 0; part++) {
            size_t size = (long)parts[part].iov_len < left ? parts[part].iov_len : (size_t)left;
            if (size) wrote(inode, at, parts[part].iov_base, size);
            at += size;
            left -= size;
        }
    }
    return give(done, error);
}

PUBLIC ssize_t write(int fd, const void *data, size_t size) {
    begin();
    if (!watched(fd)) return raw(SYS_write, fd, data, size);
    struct iovec part = {(void *)data, size};
    return written(fd, &part, 1, -1);
}

PUBLIC ssize_t writev(int fd, const struct iovec *parts, int count) { return begin(), written(fd, parts, count, -1); }

PUBLIC ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    begin();
    if (!watched(fd)) return raw(SYS_pwrite64, fd, data, size, offset);
    struct iovec part = {(void *)data, size};
    return written(fd, &part, 1, offset);
}

PUBLIC ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

PUBLIC ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return begin(), written(fd, parts, count, offset);
}

PUBLIC ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}

PUBLIC int ftruncate64(int fd, off64_t length) {
    begin();
    uint64_t inode = watched(fd);
    if (!inode) return raw(SYS_ftruncate, fd, length);
    take();
    long done = raw(SYS_ftruncate, fd, length);
    int error = errno;
    if (done == 0) changed_length(inode, length);
    return give(done, error);
}

PUBLIC int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

PUBLIC int truncate64(const char *path, off64_t length) {
    begin();
    int fd = open_raw(path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int done = ftruncate64(fd, length), error = errno;
    raw(SYS_close, fd);
    errno = error;
    return done;
}

PUBLIC int truncate(const char *path, off_t length) { return truncate64(path, length); }

/* A file system may refuse this, and then programs write instead, which is seen. */
PUBLIC int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
    begin();
    if (!watched(fd)) return raw(SYS_fallocate, fd, mode, offset, size);
    errno = EOPNOTSUPP;
    return -1;
}

PUBLIC int fallocate(int fd, int mode, off_t offset, off_t size) { return fallocate64(fd, mode, offset, size); }

PUBLIC int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    return fallocate64(fd, 0, offset, size) == 0 ? 0 : errno;
}

PUBLIC int posix_fallocate(int fd, off_t offset, off_t size) { return posix_fallocate64(fd, offset, size); }

PUBLIC ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) {
    begin();
    if (!watched(to)) return raw(SYS_sendfile, to, from, offset, size);
    errno = EINVAL;
    return -1;
}

PUBLIC ssize_t sendfile(int to, int from, off_t *offset, size_t size) { return sendfile64(to, from, offset, size); }

static int opened(int at, const char *path, int flags, int mode) {
    struct entry entry;
    struct stat before, after;
    begin();
    if (!(flags & (O_CREAT | O_TRUNC)) || !place(at, path, &entry)) return raw(SYS_openat, at, path, flags, mode);
    take();
    int was_there = stat_entry(at, path, &before);
    int fd = raw(SYS_openat, at, path, flags, mode), error = errno;
    if (fd >= 0 && fstat(fd, &after) == 0) {
        if (!was_there)
            created(&entry, &after, NULL);
        else if ((flags & O_TRUNC) && S_ISREG(after.st_mode))
            changed_length(after.st_ino, 0);
    }
    return give(fd, error);
}

static int mode_of(int flags, va_list more) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; }

PUBLIC int openat(int at, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = mode_of(flags, more);
    va_end(more);
    return opened(at, path, flags, mode);
}

PUBLIC int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = mode_of(flags, more);
    va_end(more);
    return opened(AT_FDCWD, path, flags, mode);
}

PUBLIC int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
PUBLIC int open64(const char *, int, ...) __attribute__((alias("open")));

PUBLIC int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

PUBLIC int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* What makes an entry: a folder, a further name of a file, a symbolic link. */
static int made(int at, const char *path, const char *target, long number, long a, long b, long c, long d, long e) {
    struct entry entry;
    struct stat after;
    if (!place(at, path, &entry)) return raw(number, a, b, c, d, e);
    take();
    long done = raw(number, a, b, c, d, e);
    int error = errno;
    if (done == 0 && stat_entry(at, path, &after)) created(&entry, &after, target);
    return give(done, error);
}

PUBLIC int mkdirat(int at, const char *path, mode_t mode) {
    return begin(), made(at, path, NULL, SYS_mkdirat, at, (long)path, mode, 0, 0);
}

PUBLIC int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

PUBLIC int linkat(int from, const char *old, int to, const char *new, int flags) {
    return begin(), made(to, new, NULL, SYS_linkat, from, (long)old, to, (long)new, flags);
}

PUBLIC int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

PUBLIC int symlinkat(const char *target, int at, const char *path) {
    return begin(), made(at, path, target, SYS_symlinkat, (long)target, at, (long)path, 0, 0);
}

PUBLIC int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

PUBLIC int unlinkat(int at, const char *path, int flags) {
    struct entry entry;
    struct stat gone;
    begin();
    if (!place(at, path, &entry)) return raw(SYS_unlinkat, at, path, flags);
    take();
    int was_there = stat_entry(at, path, &gone);
    long done = raw(SYS_unlinkat, at, path, flags);
    int error = errno;
    if (done == 0 && was_there) {
        struct record record = {UNLINK, 0, gone.st_ino, entry.folder, 0, 0, 0, 0};
        append(&record, entry.name, strlen(entry.name), NULL, 0);
    }
    return give(done, error);
}

PUBLIC int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

PUBLIC int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

PUBLIC int remove(const char *path) {
    struct stat found;
    return stat_entry(AT_FDCWD, path, &found) && S_ISDIR(found.st_mode) ? rmdir(path) : unlink(path);
}

PUBLIC int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    struct entry source, target;
    struct stat moved;
    begin();
    if (!place(from, old, &source) || !place(to, new, &target)) return raw(SYS_renameat2, from, old, to, new, flags);
    take();
    int was_there = stat_entry(from, old, &moved);
    long done = raw(SYS_renameat2, from, old, to, new, flags);
    int error = errno;
    if (done == 0 && was_there) {
        uint32_t kind = flags & RENAME_EXCHANGE ? EXCHANGE : RENAME;
        struct record record = {kind, 0, moved.st_ino, source.folder, target.folder, 0, 0, 0};
        append(&record, source.name, strlen(source.name), target.name, strlen(target.name));
    }
    return give(done, error);
}

PUBLIC int renameat(int from, const char *old, int to, const char *new) { return renameat2(from, old, to, new, 0); }

PUBLIC int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

/* Nothing is synced in truth: what a program that was killed has written is kept anyway. */
static int synced(uint64_t inode) {
    struct timespec slow = {sync_us / 1000000, sync_us % 1000000 * 1000};
    struct record record = {SYNC, 0, inode, 0, 0, 0, 0, 0};
    take();
    record.number = raw(SYS_lseek, journal, 0L, SEEK_END);
    pthread_mutex_unlock(lock);
    raw(SYS_nanosleep, &slow, NULL);
    take();
    append(&record, NULL, 0, NULL, 0);
    return give(0, 0);
}

PUBLIC int fdatasync(int fd) {
    begin();
    uint64_t inode = watched(fd);
    return inode ? synced(inode) : (int)raw(SYS_fdatasync, fd);
}

PUBLIC int fsync(int fd) {
    begin();
    uint64_t inode = watched(fd);
    return inode ? synced(inode) : (int)raw(SYS_fsync, fd);
}

/* Calls that older C libraries have no function for come this way. */
PUBLIC long syscall(long number, ...) {
    va_list more;
    long a[6];
    begin();
    va_start(more, number);
    for (int at = 0; at < 6; at++) a[at] = va_arg(more, long);
    va_end(more);
    if (number == SYS_renameat2) return renameat2(a[0], (const char *)a[1], a[2], (const char *)a[3], a[4]);
    /* Both would write unseen; who asks for them has another way. */
    if (journal >= 0 && (number == SYS_io_uring_setup || (number == SYS_copy_file_range && watched(a[2])))) {
        errno = ENOSYS;
        return -1;
    }
    return raw(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

PUBLIC ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *to_at, size_t size, unsigned flags) {
    return syscall(SYS_copy_file_range, from, at, to, to_at, size, flags);
}

/* A library that binds its own way first (chDB's does) would call the C library past this shim. */
PUBLIC void *dlopen(const char *path, int flags) {
    static void *(*open_library)(const char *, int);
    if (!open_library) open_library = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return open_library(path, flags & ~RTLD_DEEPBIND);
}
