/* Preloaded into a process, it writes down what the process does to the files below a folder, in order and whole:
   so that the disk can be put together as it was at any moment, and as a loss of power could have left it.

   TRACED names the folder, TRACE the file that is written to. A record is: what was done (one byte), the lengths of a
   path and of a second one (two bytes each), an offset and a length (eight bytes each), then the paths and the data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 1024
static char *names[MOST];
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
static const char *root;

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))
typedef ssize_t (*write_t)(int, const void *, size_t);

__attribute__((constructor)) static void begin(void) {
    root = getenv("TRACED");
    const char *trace = getenv("TRACE");
    if (root && trace) out = open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    unsetenv("LD_PRELOAD"); /* children are of no interest */
}

static void tell(char what, const char *path, const char *second, int64_t offset, int64_t length, const void *data) {
    char head[21];
    uint16_t sizes[2] = {(uint16_t)strlen(path), (uint16_t)(second ? strlen(second) : 0)};
    head[0] = what;
    memcpy(head + 1, sizes, 4);
    memcpy(head + 5, &offset, 8);
    memcpy(head + 13, &length, 8);
    struct iovec parts[4] = {{head, 21}, {(void *)path, sizes[0]}, {(void *)second, sizes[1]},
                             {(void *)data, data ? (size_t)length : 0}};
    if (writev(out, parts, 4) < 0) abort();
}

static const char *traced(const char *path) {
    return out >= 0 && path && strncmp(path, root, strlen(root)) == 0 ? path : NULL;
}

static const char *name_of(int fd) { return out >= 0 && fd >= 0 && fd < MOST ? names[fd] : NULL; }

static void note(int fd, const char *path) {
    if (fd < 0 || fd >= MOST) return;
    free(names[fd]);
    names[fd] = path ? strdup(path) : NULL;
}

static int opened(int directory, const char *path, int flags, mode_t mode) {
    static int (*real)(int, const char *, int, ...);
    if (!real) real = REAL(int (*)(int, const char *, int, ...), "openat");
    const char *mine = traced(path);
    struct stat there;
    pthread_mutex_lock(&turn);
    int existed = mine && stat(path, &there) == 0;
    int fd = real(directory, path, flags, mode);
    if (fd >= 0) {
        note(fd, mine);
        if (mine && !existed) tell('c', path, NULL, 0, 0, NULL);
        if (mine && existed && (flags & O_TRUNC)) tell('t', path, NULL, 0, 0, NULL);
    }
    pthread_mutex_unlock(&turn);
    return fd;
}

#define MODE(flags, mode)                                    \
    mode_t mode = 0;                                         \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                   \
        va_list rest;                                        \
        va_start(rest, flags);                               \
        mode = va_arg(rest, mode_t);                         \
        va_end(rest);                                        \
    }

int open(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, mode) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, mode) return opened(at, path, flags, mode); }

int close(int fd) {
    pthread_mutex_lock(&turn);
    note(fd, NULL);
    pthread_mutex_unlock(&turn);
    return REAL(int (*)(int), "close")(fd);
}

ssize_t write(int fd, const void *data, size_t length) {
    pthread_mutex_lock(&turn);
    const char *path = name_of(fd);
    struct stat now;
    off_t at = !path ? 0 : (fcntl(fd, F_GETFL) & O_APPEND) && fstat(fd, &now) == 0 ? now.st_size : lseek(fd, 0, SEEK_CUR);
    ssize_t done = REAL(write_t, "write")(fd, data, length);
    if (path && done > 0) tell('w', path, NULL, at, done, data);
    pthread_mutex_unlock(&turn);
    return done;
}

static ssize_t written(int fd, const void *data, size_t length, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = REAL(ssize_t (*)(int, const void *, size_t, off64_t), "pwrite64");
    pthread_mutex_lock(&turn);
    ssize_t done = real(fd, data, length, at);
    if (name_of(fd) && done > 0) tell('w', name_of(fd), NULL, at, done, data);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return written(fd, data, length, at); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return written(fd, data, length, at); }

static int cut(int fd, off64_t length) {
    static int (*real)(int, off64_t);
    if (!real) real = REAL(int (*)(int, off64_t), "ftruncate64");
    pthread_mutex_lock(&turn);
    int done = real(fd, length);
    if (name_of(fd) && done == 0) tell('t', name_of(fd), NULL, length, 0, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut(fd, length); }

static int synced(int fd, const char *name) {
    pthread_mutex_lock(&turn);
    int done = REAL(int (*)(int), name)(fd);
    if (name_of(fd) && done == 0) tell('s', name_of(fd), NULL, 0, 0, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

static int named(int done, char what, const char *path, const char *second) {
    if (done == 0 && traced(path)) tell(what, path, second, 0, 0, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

int rename(const char *old, const char *new) {
    pthread_mutex_lock(&turn);
    return named(REAL(int (*)(const char *, const char *), "rename")(old, new), 'r', old, new);
}
int renameat(int from, const char *old, int to, const char *new) {
    pthread_mutex_lock(&turn);
    return named(REAL(int (*)(int, const char *, int, const char *), "renameat")(from, old, to, new), 'r', old, new);
}
int unlink(const char *path) {
    pthread_mutex_lock(&turn);
    return named(REAL(int (*)(const char *), "unlink")(path), 'u', path, NULL);
}
int unlinkat(int at, const char *path, int flags) {
    pthread_mutex_lock(&turn);
    return named(REAL(int (*)(int, const char *, int), "unlinkat")(at, path, flags), 'u', path, NULL);
}
int mkdir(const char *path, mode_t mode) {
    pthread_mutex_lock(&turn);
    return named(REAL(int (*)(const char *, mode_t), "mkdir")(path, mode), 'd', path, NULL);
}
int mkdirat(int at, const char *path, mode_t mode) {
    pthread_mutex_lock(&turn);
    return named(REAL(int (*)(int, const char *, mode_t), "mkdirat")(at, path, mode), 'd', path, NULL);
}
