// The load: one epoll loop that sends one prepared request over and over, or holds many streams at once.
//
// usage: load loop    PORT REQUEST_FILE CONNECTIONS WARM_MS WINDOW_MS PIDS
//        load streams PORT REQUEST_FILE STREAMS     WARM_MS WINDOW_MS PIDS
//
// Counted is what happens within the window only. PIDS (a,b,c or "") are the processes of the server under test, whose
// processor time is read at both ends of the window. Prints one JSON object.
#define _GNU_SOURCE
#include "shared.h"

enum { HEAD_BYTES = 16 * 1024, READ_BYTES = 64 * 1024, MAX_CONNECTIONS = 8192, STARTING_AT_ONCE = 64 };
enum { START_LIMIT_SECONDS = 20, MAX_ERRORS = 200, MAX_PIDS = 64 };
enum framing { HEAD, LENGTH, CHUNKED, UNTIL_CLOSE };

struct connection {
    int fd, ok, started;
    enum framing framing;
    int64_t sent_at, first_byte_at;
    long remaining, window_bytes;
    size_t head_filled;
    char *head;
    char tail[5];                  // the end of a chunked body, to see its last chunk
    int stamp_digits;              // of a stamp that has begun; -1: none
    int64_t stamp;
};

struct samples {
    uint32_t *us10;                // tenths of a microsecond
    size_t count, room;
};

static struct connection connections[MAX_CONNECTIONS];
static struct samples latencies, first_bytes, delays;
static struct sockaddr_in address;
static char request[64 * 1024], buffer[READ_BYTES + 1];
static size_t request_bytes;
static int epoll_fd, connection_count, streaming, counting;
static int opened, started;
static long requests, errors, reconnects, chunks, bytes;
static long pids[MAX_PIDS];
static int pid_count;

static void add(struct samples *to, int64_t ns) {
    if (!counting) return;
    if (to->count == to->room) {
        to->room = to->room ? to->room * 2 : 1 << 16;
        to->us10 = realloc(to->us10, to->room * sizeof *to->us10);
    }
    to->us10[to->count++] = ns < 0 ? 0 : ns / 100 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 100);
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, struct samples *of) {
    if (!of->count) return;
    qsort(of->us10, of->count, sizeof *of->us10, by_value);
    const size_t last = of->count - 1;
    printf(",\"%s_p50_us\":%.1f,\"%s_p90_us\":%.1f,\"%s_p99_us\":%.1f,\"%s_max_us\":%.1f", name,
           of->us10[last / 2] / 10.0, name, of->us10[last * 90 / 100] / 10.0, name, of->us10[last * 99 / 100] / 10.0,
           name, of->us10[last] / 10.0);
}

static double cpu_seconds(void) {
    double total = 0;
    for (int i = 0; i < pid_count; i++) {
        char path[64], text[1024];
        snprintf(path, sizeof path, "/proc/%ld/stat", pids[i]);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        size_t got = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[got] = 0;
        unsigned long user = 0, system = 0;
        char *after_name = strrchr(text, ')');
        if (after_name) sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
        total += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    }
    return total;
}

static void send_request(struct connection *it) {
    it->framing = HEAD;
    it->head_filled = 0;
    it->first_byte_at = 0;
    it->stamp_digits = -1;
    it->sent_at = now_ns();
    if (send(it->fd, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes && errno != EPIPE &&
        errno != ECONNRESET)
        die("send");
}

static void open_connection(struct connection *it) {
    it->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (it->fd < 0 || connect(it->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    set_no_delay(it->fd);
    fcntl(it->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = it};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, it->fd, &event);
    send_request(it);
}

static void open_more(void) {
    while (opened < connection_count && opened - started < STARTING_AT_ONCE) open_connection(&connections[opened++]);
}

static void reopen(struct connection *it) {
    close(it->fd);
    reconnects++;
    open_connection(it);
}

static void read_stamps(struct connection *it, const char *at, const char *end, int64_t now) {
    while (at < end) {
        if (it->stamp_digits < 0) {
            if (!(at = memchr(at, STAMP_MARK, (size_t)(end - at)))) return;
            at++;
            it->stamp_digits = 0;
            it->stamp = 0;
        }
        while (at < end && it->stamp_digits < STAMP_DIGITS && *at >= '0' && *at <= '9') {
            it->stamp = it->stamp * 10 + (*at++ - '0');
            it->stamp_digits++;
        }
        if (it->stamp_digits == STAMP_DIGITS) {
            add(&delays, now - it->stamp);
            chunks += counting;
        }
        if (at < end || it->stamp_digits == STAMP_DIGITS) it->stamp_digits = -1;
    }
}

static void complete(struct connection *it, int64_t now) {
    if (it->ok) {
        add(&latencies, now - it->sent_at);
        if (it->first_byte_at) add(&first_bytes, it->first_byte_at - it->sent_at);
        requests += counting;
    } else {
        errors++;
    }
}

// Returns whether the answer is at its end.
static int read_body(struct connection *it, const char *body, size_t length, int64_t now) {
    if (length) {
        if (!it->first_byte_at) it->first_byte_at = now;
        if (!it->started) {
            it->started = 1;
            started++;
        }
        if (counting) {
            bytes += (long)length;
            it->window_bytes += (long)length;
        }
        if (streaming) read_stamps(it, body, body + length, now);
    }
    if (it->framing == LENGTH) return (it->remaining -= (long)length) <= 0;
    if (it->framing == UNTIL_CLOSE) return 0;
    if (length >= sizeof it->tail) {
        memcpy(it->tail, body + length - sizeof it->tail, sizeof it->tail);
    } else {
        memmove(it->tail, it->tail + length, sizeof it->tail - length);
        memcpy(it->tail + sizeof it->tail - length, body, length);
    }
    return memcmp(it->tail, "0\r\n\r\n", sizeof it->tail) == 0;
}

static int read_head(struct connection *it, const char *text, size_t length, int64_t now) {
    if (!it->head) it->head = malloc(HEAD_BYTES + 1);
    size_t before = it->head_filled, taken = length;
    if (taken > HEAD_BYTES - before) taken = HEAD_BYTES - before;
    memcpy(it->head + before, text, taken);
    it->head_filled += taken;
    it->head[it->head_filled] = 0;
    char *end = strstr(it->head, "\r\n\r\n");
    if (!end) {
        if (it->head_filled == HEAD_BYTES) die("the head of an answer is too long");
        return 0;
    }
    *end = 0;
    it->ok = strncmp(it->head, "HTTP/1.1 200", 12) == 0;
    it->remaining = content_length(it->head);
    it->framing = it->remaining >= 0 ? LENGTH : strcasestr(it->head, "\ntransfer-encoding:") ? CHUNKED : UNTIL_CLOSE;
    memset(it->tail, 0, sizeof it->tail);
    size_t used = (size_t)(end - it->head) + 4 - before;
    return read_body(it, text + used, length - used, now);
}

static void on_readable(struct connection *it) {
    ssize_t got = recv(it->fd, buffer, READ_BYTES, 0);
    int64_t now = now_ns();
    if (got < 0 && would_block()) return;
    if (got <= 0) {
        if (it->framing == UNTIL_CLOSE) complete(it, now);
        else if (it->framing != HEAD || it->head_filled) errors++;
        if (streaming) errors++;
        if (errors < MAX_ERRORS) reopen(it);
        return;
    }
    int ended = it->framing == HEAD ? read_head(it, buffer, (size_t)got, now) : read_body(it, buffer, (size_t)got, now);
    if (!ended) return;
    complete(it, now);
    if (streaming) errors++;
    if (errors < MAX_ERRORS) send_request(it);
}

static int more_bytes(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static void print_shares(void) {
    static long each[MAX_CONNECTIONS];
    double sum = 0, squares = 0;
    for (int i = 0; i < connection_count; i++) {
        each[i] = connections[i].window_bytes;
        sum += (double)each[i];
        squares += (double)each[i] * (double)each[i];
    }
    qsort(each, (size_t)connection_count, sizeof *each, more_bytes);
    printf(",\"bytes_slowest\":%ld,\"bytes_p1\":%ld,\"bytes_median\":%ld,\"bytes_fastest\":%ld,\"jain\":%.4f", each[0],
           each[connection_count / 100], each[connection_count / 2], each[connection_count - 1],
           squares > 0 ? sum * sum / (connection_count * squares) : 0);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: load loop|streams PORT REQUEST_FILE CONNECTIONS WARM_MS WINDOW_MS PIDS\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    streaming = strcmp(argv[1], "streams") == 0;
    address = loopback(atoi(argv[2]));
    FILE *file = fopen(argv[3], "r");
    if (!file) die(argv[3]);
    request_bytes = fread(request, 1, sizeof request, file);
    fclose(file);
    connection_count = atoi(argv[4]);
    if (connection_count > MAX_CONNECTIONS) die("too many connections");
    int64_t warm_ns = atoll(argv[5]) * 1000000, window_ns = atoll(argv[6]) * 1000000;
    for (char *pid = strtok(argv[7], ","); pid && pid_count < MAX_PIDS; pid = strtok(NULL, ",")) pids[pid_count++] = atol(pid);

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int64_t start_deadline = now_ns() + (int64_t)START_LIMIT_SECONDS * 1000000000, next = 0, window_began = 0;
    double cpu_before = 0;
    struct epoll_event events[512];
    while (errors < MAX_ERRORS) {
        open_more();
        int64_t now = now_ns();
        if (!next && (started == connection_count || now > start_deadline)) next = now + warm_ns;
        if (next && now >= next) {
            if (counting) break;
            counting = 1;
            window_began = now;
            next = now + window_ns;
            cpu_before = cpu_seconds();
        }
        int64_t until = next ? next : start_deadline;
        int count = epoll_wait(epoll_fd, events, 512, (int)((until - now) / 1000000) + 1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) on_readable(events[i].data.ptr);
    }
    double cpu = counting ? cpu_seconds() - cpu_before : 0;
    double seconds = counting ? (double)(now_ns() - window_began) / 1e9 : 0;
    printf("{\"connections\":%d,\"started\":%d,\"errors\":%ld,\"reconnects\":%ld,\"seconds\":%.6f,\"cpu_seconds\":%.3f,"
           "\"requests\":%ld,\"chunks\":%ld,\"bytes\":%ld", connection_count, started, errors, reconnects, seconds, cpu,
           requests, chunks, bytes);
    print_samples("latency", &latencies);
    print_samples("first_byte", &first_bytes);
    print_samples("delay", &delays);
    if (streaming) print_shares();
    printf("}\n");
    return 0;
}
