/* A shim between a program and the C library that makes calls on files fail, or records them.
 *
 * LD_PRELOAD loads it. It looks only at files under one folder. Everything it does is set in a
 * control file of 4 KB that all processes and the test map into memory (`struct control`), so a
 * test can change it while the program runs; `faults.py` is the other side of it.
 *
 * Writes through mapped memory cannot be seen here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { OPEN, READ, WRITE, TRUNCATE, ALLOCATE, SYNC, RENAME, UNLINK, MSYNC, MKDIR, LINK, CALLS };
enum action { NOTHING, FAIL, SHORT, KILL_BEFORE, KILL_AFTER, KILL_TORN, LOST };
enum role { MAIN = 1, OTHER = 2 };
enum record { R_WRITE = 1, R_TRUNCATE, R_CREATE, R_RENAME, R_UNLINK, R_MKDIR, R_RMDIR, R_LINK,
              R_SYNC_BEGIN, R_SYNC_END, R_MARK };

struct control { /* `faults.py` has the same layout */
    uint32_t action, calls, roles, error;
    uint64_t nth, span;     /* the matching calls nth … nth + span - 1, from 1; span 0: no end */
    uint64_t chance;        /* of 2^32, in place of nth; 0: nth counts */
    uint64_t random;        /* state of the generator */
    uint64_t matched, hits; /* calls that matched; calls that were acted on */
    int32_t main;           /* the process with the role MAIN; all others have OTHER */
    uint32_t logging;
    uint32_t wanted, phase; /* act in this phase only, 0: in each; the program sets its phase */
    uint64_t sequence;      /* the next number in the log */
    uint64_t counts[2][CALLS];
    char only[256];         /* act on paths that contain this; empty: on all */
    char folder[1024], log[1024];
    char boot[256]; /* stands for /proc/sys/kernel/random/boot_id, as if after a restart */
};

struct header {
    uint32_t kind, role, pid, path_size, other_size, unused;
    uint64_t sequence, inode, offset, size;
};

static struct control *control;
static int log_fd = -1;
static pid_t log_owner;


static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

#define REAL(name)                                  \
    (__extension__({                                \
        static __typeof__(&name) found_;            \
        if (!found_) found_ = (__typeof__(&name))real(#name); \
        found_;                                     \
    }))

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("M3RAG_FAULTS");
    if (!path) return;
    int fd = REAL(open64)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) control = at;
}

/* Paths ---------------------------------------------------------------------------------------- */

static int inside(const char *path) {
    size_t n = strlen(control->folder);
    return n && !strncmp(path, control->folder, n) && (path[n] == '/' || !path[n]);
}

static int of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return inside(path);
}

static int of_name(int dir, const char *name, char *path) {
    path[0] = 0;
    if (!name) return 0;
    if (name[0] != '/') {
        if (dir == AT_FDCWD) {
            if (!getcwd(path, PATH_MAX - 1)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t n = readlink(link, path, PATH_MAX - 1);
            if (n < 0) return 0;
            path[n] = 0;
        }
        strncat(path, "/", PATH_MAX - strlen(path) - 1);
    }
    strncat(path, name, PATH_MAX - strlen(path) - 1);
    return inside(path);
}

/* The decision --------------------------------------------------------------------------------- */

static int role(void) { return getpid() == control->main ? MAIN : OTHER; }

static int by_chance(void) {
    uint64_t old = __atomic_load_n(&control->random, __ATOMIC_RELAXED), new;
    do {
        new = old;
        new ^= new << 13, new ^= new >> 7, new ^= new << 17;
    } while (!__atomic_compare_exchange_n(&control->random, &old, new, 0, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return (new >> 32) < control->chance;
}

/* Return what to do with a call, and count it. */
static int decide(enum call call, const char *path) {
    int who = role();
    __atomic_add_fetch(&control->counts[who - 1][call], 1, __ATOMIC_RELAXED);
    uint32_t action = control->action;
    if (action == NOTHING || !(control->calls >> call & 1) || !(control->roles & who)) return NOTHING;
    if (control->wanted && control->wanted != control->phase) return NOTHING;
    if (control->only[0] && !strstr(path, control->only)) return NOTHING;
    uint64_t n = __atomic_add_fetch(&control->matched, 1, __ATOMIC_RELAXED);
    if (control->chance) {
        if (!by_chance()) return NOTHING;
    } else if (n < control->nth || (control->span && n >= control->nth + control->span)) {
        return NOTHING;
    }
    __atomic_add_fetch(&control->hits, 1, __ATOMIC_RELAXED);
    if (action == KILL_BEFORE) kill(getpid(), SIGKILL);
    return action;
}

static int failed(void) {
    errno = (int)control->error;
    return -1;
}

static void killed_after(int action) {
    if (action == KILL_AFTER || action == KILL_TORN) kill(getpid(), SIGKILL);
}

/* The log -------------------------------------------------------------------------------------- */

static void record(enum record kind, const char *path, const char *other, uint64_t inode,
                   uint64_t offset, const void *data, uint64_t size) {
    if (!control->logging) return;
    int saved = errno;
    if (log_fd < 0 || log_owner != getpid()) {
        log_fd = REAL(open64)(control->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        log_owner = getpid();
    }
    struct header h = {kind, role(), getpid(), strlen(path), strlen(other), 0, 0, inode, offset, size};
    size_t bytes = data ? size : 0, total = sizeof h + h.path_size + h.other_size + bytes;
    char *buffer = malloc(total);
    if (!buffer || log_fd < 0) abort();
    memcpy(buffer + sizeof h, path, h.path_size);
    memcpy(buffer + sizeof h + h.path_size, other, h.other_size);
    if (bytes) memcpy(buffer + sizeof h + h.path_size + h.other_size, data, bytes);
    h.sequence = __atomic_fetch_add(&control->sequence, 1, __ATOMIC_SEQ_CST);
    memcpy(buffer, &h, sizeof h);
    if (REAL(write)(log_fd, buffer, total) != (ssize_t)total) abort();
    free(buffer);
    errno = saved;
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static uint64_t inode_at(const char *path) {
    struct stat found;
    return lstat(path, &found) ? 0 : found.st_ino;
}

/* Record what a copy inside the kernel wrote. */
static void record_copy(int fd, const char *path, off64_t at, ssize_t n) {
    if (n <= 0 || !control->logging) return;
    char again[PATH_MAX], *data = malloc((size_t)n);
    snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
    int reader = REAL(open64)(again, O_RDONLY | O_CLOEXEC);
    if (!data || reader < 0 || REAL(pread64)(reader, data, (size_t)n, at) != n) abort();
    close(reader);
    record(R_WRITE, path, "", inode_of(fd), (uint64_t)at, data, (uint64_t)n);
    free(data);
}

/* A program calls it with what it wants to have in the log. */
void m3rag_mark(const char *text) {
    if (control) record(R_MARK, "", "", 0, 0, text, strlen(text));
}

/* Opening -------------------------------------------------------------------------------------- */

static int opened(int dir, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (control && control->boot[0] && name && !strcmp(name, "/proc/sys/kernel/random/boot_id"))
        name = control->boot;
    if (!control || !of_name(dir, name, path)) return REAL(openat64)(dir, name, flags, mode);
    int action = decide(OPEN, path);
    if (action == FAIL) return failed();
    int there = !(flags & O_CREAT) || inode_at(path) != 0;
    int fd = REAL(openat64)(dir, name, flags, mode);
    if (fd >= 0 && !there) record(R_CREATE, path, "", inode_of(fd), 0, NULL, 0);
    if (fd >= 0 && there && (flags & O_TRUNC)) record(R_TRUNCATE, path, "", inode_of(fd), 0, NULL, 0);
    killed_after(action);
    return fd;
}

#define MODE(flags)                              \
    mode_t mode = 0;                             \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {     \
        va_list rest;                            \
        va_start(rest, flags);                   \
        mode = va_arg(rest, mode_t);             \
        va_end(rest);                            \
    }

int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int openat(int dir, const char *name, int flags, ...) { MODE(flags) return opened(dir, name, flags, mode); }
int openat64(int dir, const char *name, int flags, ...) { MODE(flags) return opened(dir, name, flags, mode); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* Reading and writing -------------------------------------------------------------------------- */

#define DECIDE_FD(call, fd)                                  \
    char path[PATH_MAX];                                     \
    int ours = control && of_fd(fd, path);                   \
    int action = ours ? decide(call, path) : NOTHING;        \
    if (action == FAIL) return failed();

ssize_t read(int fd, void *data, size_t n) {
    DECIDE_FD(READ, fd)
    return REAL(read)(fd, data, action == SHORT && n > 1 ? n / 2 : n);
}

ssize_t pread64(int fd, void *data, size_t n, off64_t at) {
    DECIDE_FD(READ, fd)
    return REAL(pread64)(fd, data, action == SHORT && n > 1 ? n / 2 : n, at);
}
ssize_t pread(int fd, void *data, size_t n, off_t at) { return pread64(fd, data, n, at); }

/* Return how much of a write to try. */
static size_t part(int action, size_t n) {
    return (action == SHORT || action == KILL_TORN) && n > 1 ? n / 2 : n;
}

static void wrote(int ours, int fd, const char *path, const void *data, ssize_t n, int64_t at) {
    if (!ours || n <= 0 || !control->logging) return;
    if (at < 0) at = lseek64(fd, 0, SEEK_CUR) - n;
    record(R_WRITE, path, "", inode_of(fd), (uint64_t)at, data, (uint64_t)n);
}

ssize_t write(int fd, const void *data, size_t n) {
    DECIDE_FD(WRITE, fd)
    ssize_t done = action == LOST ? (ssize_t)n : REAL(write)(fd, data, part(action, n));
    if (action != LOST) wrote(ours, fd, path, data, done, -1);
    killed_after(action);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    DECIDE_FD(WRITE, fd)
    ssize_t done = action == LOST ? (ssize_t)n : REAL(pwrite64)(fd, data, part(action, n), at);
    if (action != LOST) wrote(ours, fd, path, data, done, at);
    killed_after(action);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return pwrite64(fd, data, n, at); }

/* A vector is written as its parts, one after the other, until one is short. */
static ssize_t vector(int fd, const struct iovec *parts, int n, int64_t at) {
    ssize_t total = 0;
    for (int i = 0; i < n; i++) {
        if (!parts[i].iov_len) continue;
        ssize_t done = at < 0 ? write(fd, parts[i].iov_base, parts[i].iov_len)
                              : pwrite64(fd, parts[i].iov_base, parts[i].iov_len, at + total);
        if (done < 0) return total ? total : -1;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    char path[PATH_MAX];
    if (!control || !of_fd(fd, path)) return REAL(writev)(fd, parts, n);
    return vector(fd, parts, n, -1);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) {
    char path[PATH_MAX];
    if (!control || !of_fd(fd, path)) return REAL(pwritev64)(fd, parts, n, at);
    return vector(fd, parts, n, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) { return pwritev64(fd, parts, n, at); }

ssize_t copy_file_range(int in, off64_t *from, int fd, off64_t *to, size_t n, unsigned flags) {
    DECIDE_FD(WRITE, fd)
    ssize_t done = REAL(copy_file_range)(in, from, fd, to, part(action, n), flags);
    if (ours && done > 0) record_copy(fd, path, (to ? *to : lseek64(fd, 0, SEEK_CUR)) - done, done);
    killed_after(action);
    return done;
}

ssize_t sendfile64(int fd, int in, off64_t *from, size_t n) {
    DECIDE_FD(WRITE, fd)
    ssize_t done = REAL(sendfile64)(fd, in, from, part(action, n));
    if (ours && done > 0) record_copy(fd, path, lseek64(fd, 0, SEEK_CUR) - done, done);
    killed_after(action);
    return done;
}
ssize_t sendfile(int fd, int in, off_t *from, size_t n) { return sendfile64(fd, in, from, n); }

/* Sizes ---------------------------------------------------------------------------------------- */

int ftruncate64(int fd, off64_t size) {
    DECIDE_FD(TRUNCATE, fd)
    int result = action == LOST ? 0 : REAL(ftruncate64)(fd, size);
    if (ours && !result && action != LOST) record(R_TRUNCATE, path, "", inode_of(fd), (uint64_t)size, NULL, 0);
    killed_after(action);
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int truncate64(const char *name, off64_t size) {
    char path[PATH_MAX];
    int ours = control && of_name(AT_FDCWD, name, path), action = ours ? decide(TRUNCATE, path) : NOTHING;
    if (action == FAIL) return failed();
    int result = REAL(truncate64)(name, size);
    if (ours && !result) record(R_TRUNCATE, path, "", inode_at(path), (uint64_t)size, NULL, 0);
    killed_after(action);
    return result;
}
int truncate(const char *name, off_t size) { return truncate64(name, size); }

static void grew(int fd, const char *path) {
    struct stat found;
    if (control->logging && !fstat(fd, &found))
        record(R_TRUNCATE, path, "", found.st_ino, (uint64_t)found.st_size, NULL, 0);
}

int fallocate64(int fd, int mode, off64_t at, off64_t n) {
    DECIDE_FD(ALLOCATE, fd)
    int result = REAL(fallocate64)(fd, mode, at, n);
    if (ours && !result) grew(fd, path);
    killed_after(action);
    return result;
}
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }

int posix_fallocate64(int fd, off64_t at, off64_t n) {
    char path[PATH_MAX];
    int ours = control && of_fd(fd, path), action = ours ? decide(ALLOCATE, path) : NOTHING;
    if (action == FAIL) return (int)control->error;
    int result = REAL(posix_fallocate64)(fd, at, n);
    if (ours && !result) grew(fd, path);
    killed_after(action);
    return result;
}
int posix_fallocate(int fd, off_t at, off_t n) { return posix_fallocate64(fd, at, n); }

/* Syncing -------------------------------------------------------------------------------------- */

/* The writes before R_SYNC_BEGIN are on the disk once R_SYNC_END is in the log. */
#define SYNC_CALL(name, fd)                                                   \
    DECIDE_FD(SYNC, fd)                                                       \
    if (ours) record(R_SYNC_BEGIN, path, "", inode_of(fd), 0, NULL, 0);       \
    int result = action == LOST ? 0 : REAL(name)(fd);                         \
    if (ours && !result && action != LOST)                                    \
        record(R_SYNC_END, path, "", inode_of(fd), 0, NULL, 0);               \
    killed_after(action);                                                     \
    return result;

int fsync(int fd) { SYNC_CALL(fsync, fd) }
int fdatasync(int fd) { SYNC_CALL(fdatasync, fd) }

/* It is not known here which file is mapped: `only` sees the empty path. */
int msync(void *at, size_t n, int flags) {
    int action = control && control->folder[0] ? decide(MSYNC, "") : NOTHING;
    if (action == FAIL) return failed();
    int result = REAL(msync)(at, n, flags);
    killed_after(action);
    return result;
}

/* Names ---------------------------------------------------------------------------------------- */

static int moved(int dir, const char *name, int to_dir, const char *to_name, unsigned flags) {
    char path[PATH_MAX], other[PATH_MAX];
    int from_ours = control && of_name(dir, name, path), to_ours = control && of_name(to_dir, to_name, other);
    int action = from_ours || to_ours ? decide(RENAME, to_ours ? other : path) : NOTHING;
    if (action == FAIL) return failed();
    if (action == LOST) return 0;
    uint64_t inode = from_ours ? inode_at(path) : 0;
    int result = flags ? REAL(renameat2)(dir, name, to_dir, to_name, flags)
                       : REAL(renameat)(dir, name, to_dir, to_name);
    if ((from_ours || to_ours) && !result) record(R_RENAME, path, other, inode, flags, NULL, 0);
    killed_after(action);
    return result;
}

int rename(const char *name, const char *to) { return moved(AT_FDCWD, name, AT_FDCWD, to, 0); }
int renameat(int dir, const char *name, int to_dir, const char *to) { return moved(dir, name, to_dir, to, 0); }
int renameat2(int dir, const char *name, int to_dir, const char *to, unsigned flags) {
    return moved(dir, name, to_dir, to, flags);
}

static int removed(int dir, const char *name, int flags) {
    char path[PATH_MAX];
    int ours = control && of_name(dir, name, path), action = ours ? decide(UNLINK, path) : NOTHING;
    if (action == FAIL) return failed();
    if (action == LOST) return 0;
    int result = REAL(unlinkat)(dir, name, flags);
    if (ours && !result) record(flags & AT_REMOVEDIR ? R_RMDIR : R_UNLINK, path, "", 0, 0, NULL, 0);
    killed_after(action);
    return result;
}

int unlink(const char *name) { return removed(AT_FDCWD, name, 0); }
int unlinkat(int dir, const char *name, int flags) { return removed(dir, name, flags); }
int rmdir(const char *name) { return removed(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int dir, const char *name, mode_t mode) {
    char path[PATH_MAX];
    int ours = control && of_name(dir, name, path), action = ours ? decide(MKDIR, path) : NOTHING;
    if (action == FAIL) return failed();
    int result = REAL(mkdirat)(dir, name, mode);
    if (ours && !result) record(R_MKDIR, path, "", inode_at(path), 0, NULL, 0);
    killed_after(action);
    return result;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int linkat(int dir, const char *name, int to_dir, const char *to_name, int flags) {
    char path[PATH_MAX], other[PATH_MAX];
    int from_ours = control && of_name(dir, name, path), ours = control && of_name(to_dir, to_name, other);
    int action = ours ? decide(LINK, other) : NOTHING;
    if (action == FAIL) return failed();
    int result = REAL(linkat)(dir, name, to_dir, to_name, flags);
    if (ours && !result) record(R_LINK, from_ours ? path : "", other, inode_at(other), 0, NULL, 0);
    killed_after(action);
    return result;
}
int link(const char *name, const char *to) { return linkat(AT_FDCWD, name, AT_FDCWD, to, 0); }
