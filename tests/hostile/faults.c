/* Makes the k-th call that writes under a folder fail, as a full or a broken disk does, or sends the process a signal.

   cc -shared -fPIC -o faults.so faults.c -ldl; LD_PRELOAD=faults.so with
     FAULT_UNDER   the folder: calls on other files are let through
     FAULT_LOG     a file that gets a letter a call: w(rite), r(ename), f(sync), m(kdir), u(nlink)
     FAULT_AT      which call, from 1 on; 0 for none
     FAULT_KIND    "EIO" once; "ENOSPC" from then on; "short": half of the write, and ENOSPC from then on; "signal N"
   Writes of C++ streams go past it: they call the kernel from within libc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long calls;
static pid_t whose;

static int under(const char *path) {
    const char *folder = getenv("FAULT_UNDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int under_fd(int fd) {
    char link[40], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return under(path);
}

/* 0 to go on, -1 with errno set to fail, 1 for half of it. */
static int fault(char letter) {
    const char *log = getenv("FAULT_LOG"), *at = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND");
    if (whose != getpid()) { whose = getpid(); calls = 0; }
    long call = ++calls, when = at ? atol(at) : 0;
    if (log) {
        int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (fd >= 0) { syscall(SYS_write, fd, &letter, 1); syscall(SYS_close, fd); }
    }
    if (!when || !kind || call < when) return 0;
    if (strncmp(kind, "signal ", 7) == 0) {
        if (call == when) raise(atoi(kind + 7));
        return 0;
    }
    if (strcmp(kind, "EIO") == 0) { errno = EIO; return call == when ? -1 : 0; }
    if (letter == 'u') return 0; /* a full disk lets one remove */
    if (strcmp(kind, "short") == 0 && call == when && letter == 'w') return 1;
    errno = ENOSPC;
    return -1;
}

#define NEXT(name) ((name##_t) dlsym(RTLD_NEXT, #name))

typedef ssize_t (*write_t)(int, const void *, size_t);
ssize_t write(int fd, const void *bytes, size_t count) {
    int found = under_fd(fd) ? fault('w') : 0;
    return found < 0 ? -1 : NEXT(write)(fd, bytes, found ? (count + 1) / 2 : count);
}

typedef ssize_t (*sendfile_t)(int, int, off_t *, size_t);
ssize_t sendfile(int to, int from, off_t *offset, size_t count) {
    int found = under_fd(to) ? fault('w') : 0;
    return found < 0 ? -1 : NEXT(sendfile)(to, from, offset, found ? (count + 1) / 2 : count);
}

typedef sendfile_t sendfile64_t;
ssize_t sendfile64(int to, int from, off_t *offset, size_t count) {
    int found = under_fd(to) ? fault('w') : 0;
    return found < 0 ? -1 : NEXT(sendfile64)(to, from, offset, found ? (count + 1) / 2 : count);
}

typedef ssize_t (*copy_file_range_t)(int, off_t *, int, off_t *, size_t, unsigned);
ssize_t copy_file_range(int from, off_t *at, int to, off_t *offset, size_t count, unsigned flags) {
    int found = under_fd(to) ? fault('w') : 0;
    return found < 0 ? -1 : NEXT(copy_file_range)(from, at, to, offset, found ? (count + 1) / 2 : count, flags);
}

typedef int (*rename_t)(const char *, const char *);
int rename(const char *from, const char *to) {
    return under(from) && fault('r') < 0 ? -1 : NEXT(rename)(from, to);
}

typedef int (*renameat_t)(int, const char *, int, const char *);
int renameat(int one, const char *from, int other, const char *to) {
    return under(from) && fault('r') < 0 ? -1 : NEXT(renameat)(one, from, other, to);
}

typedef int (*fsync_t)(int);
int fsync(int fd) { return under_fd(fd) && fault('f') < 0 ? -1 : NEXT(fsync)(fd); }

typedef int (*mkdir_t)(const char *, mode_t);
int mkdir(const char *path, mode_t mode) { return under(path) && fault('m') < 0 ? -1 : NEXT(mkdir)(path, mode); }

typedef int (*unlink_t)(const char *);
int unlink(const char *path) { return under(path) && fault('u') < 0 ? -1 : NEXT(unlink)(path); }
