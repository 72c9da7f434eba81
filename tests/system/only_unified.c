/* Loaded into a daemon, it sees of a process's control groups (/proc/PID/cgroup) the unified tree alone, as on a machine
   that has no other. Slurm refuses to use the unified tree beside the old ones; the tree itself is the kernel's own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static int lists_groups(const char *path)
{
    size_t length = strlen(path);
    return length > 7 && !strncmp(path, "/proc/", 6) && !strcmp(path + length - 7, "/cgroup");
}

static int unified_of(int file)
{
    char text[65536] = "\n";
    ssize_t length = read(file, text + 1, sizeof text - 2);
    close(file);
    text[length < 0 ? 1 : length + 1] = 0;
    char *line = strstr(text, "\n0::");
    file = memfd_create("cgroup", MFD_CLOEXEC);
    if (line && dprintf(file, "%.*s\n", (int)strcspn(line + 1, "\n"), line + 1) < 0)
        return -1;
    lseek(file, 0, SEEK_SET);
    return file;
}

static int opened(const char *name, const char *path, int flags, mode_t mode)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    int file = real(path, flags, mode);
    return file >= 0 && lists_groups(path) ? unified_of(file) : file;
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened("open64", path, flags, mode);
}

FILE *fopen(const char *path, const char *how)
{
    FILE *(*real)(const char *, const char *) = (FILE *(*)(const char *, const char *))dlsym(RTLD_NEXT, "fopen");
    return lists_groups(path) ? fdopen(open(path, O_RDONLY), how) : real(path, how);
}

FILE *fopen64(const char *path, const char *how)
{
    return fopen(path, how);
}
