// What the upstream and the load generator have in common.
#ifndef PMPCTL_BENCH_SHARED_H
#define PMPCTL_BENCH_SHARED_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// A paced chunk tells when it was written: this mark, then the monotonic clock in nanoseconds.
#define STAMP_MARK '@'
#define STAMP_DIGITS 19

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void set_no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline int would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK; }

// The length that a head announces, or -1. Heads are NUL-terminated here.
static inline long content_length(const char *head) {
    const char *found = strcasestr(head, "\ncontent-length:");
    return found ? strtol(found + strlen("\ncontent-length:"), NULL, 10) : -1;
}

#endif
