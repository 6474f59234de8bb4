// An OpenAI-shaped stand-in for an engine, one epoll loop: plain answers, event streams, and when its clients leave.
//
// usage: upstream            (listens on a free port of 127.0.0.1 and prints "port N")
//
// What a request gets stands in its body, where every proxy leaves it: "BENCH mode=M id=I chunks=N pace=U gate=G END"
//   mode=plain    an answer of about 1 KB
//   mode=stream   N chunks (0: endless), one each U microseconds, all streams on one tick; U=0: as fast as it goes
//                 gate=G: one chunk, and the others once G such streams are open
//   mode=quiet    one chunk, then nothing
//   mode=silent   nothing at all
// Requests with an id are reported: "open I NS" when read, "close I NS BYTES" when the client left before the end.
#define _GNU_SOURCE
#include "shared.h"
#include <sys/timerfd.h>

enum { INPUT_BYTES = 64 * 1024, MAX_FDS = 65536, CHUNKS_A_BLOCK = 16 };
enum mode { IDLE, SILENT, QUIET, GATED, PACED, FAST };

struct connection {
    int fd;
    enum mode mode;
    long id, chunks_left, bytes, pace_us;
    int endless, slot;             // slot: index in `paced`
    char *input;
    size_t filled;
    const char *pending;           // what the socket did not take of a shared text
    size_t pending_bytes;
    char rest[512];                // ... or of a text of its own
};

static struct connection *connections[MAX_FDS];
static struct connection *paced[MAX_FDS];
static int paced_count, gated_count, epoll_fd, timer_fd, stamp_offset;
static long timer_us;
static char plain[4096], block[32 * 1024], stamped[512];
static size_t plain_bytes, block_bytes, chunk_bytes, stamped_bytes;

static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                                  "transfer-encoding: chunked\r\n\r\n";
static const char LAST[] = "{\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\","
                           "\"created\":1700000000,\"model\":\"llm\",\"choices\":[{\"index\":0,\"delta\":{},"
                           "\"finish_reason\":\"stop\"}]}";
static char stream_end[512];
static size_t stream_end_bytes;

static size_t frame(char *out, const char *event) {
    return (size_t)sprintf(out, "%zx\r\ndata: %s\n\n\r\n", strlen(event) + 8, event);
}

static void prepare(void) {
    char event[512], words[900];
    memset(words, 0, sizeof words);
    while (strlen(words) < 620) strcat(words, "a plain answer of some length ");
    char body[2048];
    int length = sprintf(body,
        "{\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1700000000,"
        "\"model\":\"llm\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\","
        "\"refusal\":null,\"annotations\":null,\"tool_calls\":[],\"reasoning\":null},\"logprobs\":null,"
        "\"finish_reason\":\"stop\",\"stop_reason\":null}],\"usage\":{\"prompt_tokens\":230,\"total_tokens\":358,"
        "\"completion_tokens\":128}}", words);
    plain_bytes = (size_t)sprintf(plain, "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\n"
                                         "content-length: %d\r\n\r\n%s", length, body);
    sprintf(event,
        "{\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
        "\"model\":\"llm\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%c%0*d\"},\"logprobs\":null,"
        "\"finish_reason\":null}]}", STAMP_MARK, STAMP_DIGITS, 0);
    stamped_bytes = frame(stamped, event);
    stamp_offset = (int)(strchr(stamped, STAMP_MARK) - stamped) + 1;
    *strchr(event, STAMP_MARK) = ' ';
    for (int i = 0; i < CHUNKS_A_BLOCK; i++) block_bytes += frame(block + block_bytes, event);
    chunk_bytes = block_bytes / CHUNKS_A_BLOCK;
    stream_end_bytes = frame(stream_end, LAST);
    stream_end_bytes += frame(stream_end + stream_end_bytes, "[DONE]");
    strcpy(stream_end + stream_end_bytes, "0\r\n\r\n");
    stream_end_bytes += 5;
}

static void want(struct connection *it, int writing) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (writing ? EPOLLOUT : 0), .data.fd = it->fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, it->fd, &event);
}

static void set_timer(long us) {
    if (us == timer_us) return;
    timer_us = us;
    struct timespec each = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    struct itimerspec timer = {.it_interval = each, .it_value = each};
    timerfd_settime(timer_fd, 0, &timer, NULL);
}

static void leave_pace(struct connection *it) {
    paced[it->slot] = paced[--paced_count];
    paced[it->slot]->slot = it->slot;
    if (!paced_count) set_timer(0);
}

static void rest(struct connection *it) {
    if (it->mode == PACED) leave_pace(it);
    if (it->mode == GATED) gated_count--;
    it->mode = IDLE;
}

static void finish(struct connection *it) {
    int64_t at = now_ns();
    if (it->mode != IDLE && it->id) {
        printf("close %ld %lld %ld\n", it->id, (long long)at, it->bytes);
        fflush(stdout);
    }
    rest(it);
    connections[it->fd] = NULL;
    close(it->fd);
    free(it->input);
    free(it);
}

// Returns 0 when the client is gone. What the socket does not take stays pending; `text` must live on unless copied.
static int put(struct connection *it, const char *text, size_t length, int copied) {
    ssize_t sent = send(it->fd, text, length, MSG_NOSIGNAL);
    if (sent < 0) {
        if (!would_block()) return 0;
        sent = 0;
    }
    it->bytes += sent;
    if ((size_t)sent < length) {
        it->pending_bytes = length - (size_t)sent;
        if (copied) memcpy(it->rest, text + sent, it->pending_bytes);
        it->pending = copied ? it->rest : text + sent;
        want(it, 1);
    }
    return 1;
}

static int end_stream(struct connection *it) {
    rest(it);
    return put(it, stream_end, stream_end_bytes, 0);
}

static int put_stamped(struct connection *it) {
    char digits[STAMP_DIGITS + 1];
    sprintf(digits, "%0*lld", STAMP_DIGITS, (long long)now_ns());
    memcpy(stamped + stamp_offset, digits, STAMP_DIGITS);
    if (!put(it, stamped, stamped_bytes, 1)) return 0;
    return it->endless || --it->chunks_left > 0 || it->pending_bytes ? 1 : end_stream(it);
}

static int put_block(struct connection *it) {
    size_t length = block_bytes;
    if (!it->endless && it->chunks_left < CHUNKS_A_BLOCK) length = (size_t)it->chunks_left * chunk_bytes;
    if (!put(it, block, length, 0)) return 0;
    it->chunks_left -= CHUNKS_A_BLOCK;
    return it->endless || it->chunks_left > 0 || it->pending_bytes ? 1 : end_stream(it);
}

static int run(struct connection *it) {
    if (!it->pace_us) {
        it->mode = FAST;
        want(it, 1);
        return 1;
    }
    it->mode = PACED;
    it->slot = paced_count;
    paced[paced_count++] = it;
    set_timer(it->pace_us);
    return put_stamped(it);
}

static int wait_at_gate(struct connection *it, int gate) {
    it->mode = GATED;
    if (++gated_count < gate) return put_stamped(it);
    gated_count = 0;
    for (int fd = 0; fd < MAX_FDS; fd++)
        if (connections[fd] && connections[fd]->mode == GATED && connections[fd] != it && !run(connections[fd]))
            finish(connections[fd]);
    return run(it);
}

static long option(const char *spec, const char *name, long missing) {
    const char *found = strstr(spec, name);
    return found ? strtol(found + strlen(name), NULL, 10) : missing;
}

static int answer_get(struct connection *it) {
    static const char health[] = "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: 0\r\n\r\n";
    static char models[1024];
    if (strncmp(it->input, "GET /health", 11) == 0) return put(it, health, sizeof health - 1, 0);
    static const char list[] =
        "{\"object\":\"list\",\"model_path\":\"llm\",\"data\":[{\"id\":\"llm\",\"object\":\"model\",\"created\":1700000000,"
        "\"owned_by\":\"vllm\",\"root\":\"llm\",\"parent\":null,\"max_model_len\":32768}]}";
    int length = sprintf(models, "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\n"
                                 "content-length: %zu\r\n\r\n%s", sizeof list - 1, list);
    return put(it, models, (size_t)length, 0);
}

static int answer(struct connection *it, const char *body) {
    const char *spec = strstr(body, "BENCH mode=");
    it->bytes = 0;
    it->id = 0;
    if (!spec || strncmp(spec, "BENCH mode=plain", 16) == 0) return put(it, plain, plain_bytes, 0);
    char copy[200] = {0};
    strncpy(copy, spec, sizeof copy - 1);
    char *end = strstr(copy, " END");
    if (end) *end = 0;
    it->id = option(copy, "id=", 0);
    it->chunks_left = option(copy, "chunks=", 0);
    it->endless = it->chunks_left == 0;
    it->pace_us = option(copy, "pace=", 0);
    int gate = (int)option(copy, "gate=", 0);
    if (it->id) {
        printf("open %ld %lld\n", it->id, (long long)now_ns());
        fflush(stdout);
    }
    if (strncmp(copy, "BENCH mode=silent", 17) == 0) {
        it->mode = SILENT;
        return 1;
    }
    if (!put(it, STREAM_HEAD, sizeof STREAM_HEAD - 1, 0)) return 0;
    if (strncmp(copy, "BENCH mode=quiet", 16) == 0) {
        it->mode = QUIET;
        it->endless = 1;
        return put_stamped(it);
    }
    return gate ? wait_at_gate(it, gate) : run(it);
}

static int read_requests(struct connection *it) {
    ssize_t got = recv(it->fd, it->input + it->filled, INPUT_BYTES - 1 - it->filled, 0);
    if (got <= 0) return got < 0 && would_block();
    it->filled += (size_t)got;
    it->input[it->filled] = 0;
    char *head_end;
    while (it->mode == IDLE && (head_end = strstr(it->input, "\r\n\r\n"))) {
        *head_end = 0;
        long length = content_length(it->input);
        int is_get = strncmp(it->input, "GET ", 4) == 0;
        if (length < 0 && !is_get && strcasestr(it->input, "transfer-encoding:")) {
            fprintf(stderr, "upstream: a request with a chunked body is not understood\n");
            return 0;
        }
        *head_end = '\r';
        size_t head_bytes = (size_t)(head_end - it->input) + 4, body_bytes = length > 0 ? (size_t)length : 0;
        if (it->filled < head_bytes + body_bytes) return it->filled < INPUT_BYTES - 1;
        char next = it->input[head_bytes + body_bytes];
        it->input[head_bytes + body_bytes] = 0;
        if (!(is_get ? answer_get(it) : answer(it, it->input + head_bytes))) return 0;
        it->input[head_bytes + body_bytes] = next;
        it->filled -= head_bytes + body_bytes;
        memmove(it->input, it->input + head_bytes + body_bytes, it->filled + 1);
    }
    return 1;
}

static int write_on(struct connection *it) {
    if (it->pending_bytes) {
        size_t length = it->pending_bytes;
        const char *text = it->pending;
        it->pending_bytes = 0;
        ssize_t sent = send(it->fd, text, length, MSG_NOSIGNAL);
        if (sent < 0 && !would_block()) return 0;
        if (sent < 0) sent = 0;
        it->bytes += sent;
        it->pending = text + sent;
        it->pending_bytes = length - (size_t)sent;
        if (it->pending_bytes) return 1;
        if (it->mode != IDLE && !it->endless && it->chunks_left <= 0) return end_stream(it);
    }
    if (it->mode == FAST) return put_block(it);
    want(it, 0);
    return 1;
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        set_no_delay(fd);
        struct connection *it = calloc(1, sizeof *it);
        it->fd = fd;
        it->input = malloc(INPUT_BYTES);
        connections[fd] = it;
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void tick(void) {
    uint64_t ticks;
    if (read(timer_fd, &ticks, sizeof ticks) < 0) return;
    for (int i = paced_count - 1; i >= 0; i--) {
        struct connection *it = paced[i];
        if (!it->pending_bytes && !put_stamped(it)) finish(it);
    }
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    prepare();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = timer_fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    struct epoll_event events[512];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 512, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) accept_all(listener);
            else if (fd == timer_fd) tick();
            else {
                struct connection *it = connections[fd];
                uint32_t what = events[i].events;
                if (!it) continue;
                // A client that has shut down its side has left: none of ours does so and goes on reading.
                int alive = !(what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
                if (alive && what & EPOLLIN) alive = read_requests(it);
                if (alive && what & EPOLLOUT) alive = write_on(it);
                if (!alive) finish(it);
            }
        }
    }
}
