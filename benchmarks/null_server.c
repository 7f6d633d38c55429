/* A server that does nothing: it answers every request with bytes read from files at its start.
 * It shows the limit of the load generator: no tracking server can be measured as faster.
 *
 * Usage: null_server PORT DIR
 * DIR holds one file per route, named after the path behind "/mlflow/" with "_" for "/": runs_get,
 * runs_log-batch, ... A path without a file is answered with "{}".
 * It uses one thread and epoll, and supports only HTTP/1.1 with keep-alive and Content-Length.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_ROUTES = 64, MAX_FDS = 4096, MAX_HEAD = 16384, EVENTS = 64 };

struct route {
    char name[128];
    char *bytes; /* head and body, ready to be sent */
    size_t size;
};

struct connection {
    char head[MAX_HEAD];
    size_t head_size;
    size_t body_left;          /* missing bytes of the request's body */
    const struct route *route; /* the answer when the body is complete */
    size_t sent;
};

static struct route routes[MAX_ROUTES];
static size_t route_count = 1; /* routes[0] is the answer to everything else */
static struct connection *connections[MAX_FDS];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void make_route(struct route *route, const char *name, const char *body, size_t body_size) {
    char head[160];
    int head_size = snprintf(head, sizeof head,
                             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: %zu\r\n\r\n", body_size);
    snprintf(route->name, sizeof route->name, "%s", name);
    route->size = (size_t)head_size + body_size;
    route->bytes = malloc(route->size);
    if (!route->bytes) die("malloc");
    memcpy(route->bytes, head, (size_t)head_size);
    memcpy(route->bytes + head_size, body, body_size);
}

static void read_routes(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) die(path);
    struct dirent *entry;
    while ((entry = readdir(dir)) && route_count < MAX_ROUTES) {
        if (entry->d_name[0] == '.') continue;
        char full[4096];
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        FILE *file = fopen(full, "rb");
        if (!file) die(full);
        fseek(file, 0, SEEK_END);
        size_t size = (size_t)ftell(file);
        rewind(file);
        char *body = malloc(size + 1);
        if (!body || fread(body, 1, size, file) != size) die(full);
        fclose(file);
        make_route(&routes[route_count++], entry->d_name, body, size);
        free(body);
    }
    closedir(dir);
}

static const struct route *find_route(const char *head) {
    const char *path = strstr(head, "/mlflow/");
    if (!path) return &routes[0];
    char name[128];
    size_t i = 0;
    for (path += 8; *path && *path != ' ' && *path != '?' && i < sizeof name - 1; path++)
        name[i++] = *path == '/' ? '_' : *path;
    name[i] = 0;
    for (size_t r = 1; r < route_count; r++)
        if (!strcmp(routes[r].name, name)) return &routes[r];
    return &routes[0];
}

/* The head is complete: find the route and the missing part of the body.
 * Returns the bytes of the buffer that belong to this request. */
static size_t take_head(struct connection *c, const char *end) {
    size_t head_size = (size_t)(end - c->head) + 4, length = 0;
    const char *line = strcasestr(c->head, "\r\ncontent-length:");
    if (line && line < end) length = strtoul(line + 17, NULL, 10);
    size_t here = c->head_size - head_size;
    if (here > length) here = length;
    c->body_left = length - here;
    c->route = find_route(c->head);
    c->sent = 0;
    return head_size + here;
}

/* Returns 0 if the answer was sent, 1 if the socket is full, -1 if it is closed. */
static int answer(int fd, struct connection *c) {
    while (c->sent < c->route->size) {
        ssize_t n = write(fd, c->route->bytes + c->sent, c->route->size - c->sent);
        if (n < 0) return errno == EAGAIN ? 1 : -1;
        c->sent += (size_t)n;
    }
    c->route = NULL;
    return 0;
}

static int receive(int fd, struct connection *c) {
    static char sink[1 << 18];
    for (;;) {
        if (c->route && c->body_left) {
            size_t want = c->body_left < sizeof sink ? c->body_left : sizeof sink;
            ssize_t n = read(fd, sink, want);
            if (n <= 0) return n < 0 && errno == EAGAIN ? 0 : -1;
            c->body_left -= (size_t)n;
        } else if (c->route) {
            int state = answer(fd, c);
            if (state) return state;
        } else {
            ssize_t n = read(fd, c->head + c->head_size, MAX_HEAD - 1 - c->head_size);
            if (n <= 0) return n < 0 && errno == EAGAIN ? 0 : -1;
            c->head_size += (size_t)n;
            c->head[c->head_size] = 0;
            char *end = strstr(c->head, "\r\n\r\n");
            if (!end && c->head_size == MAX_HEAD - 1) return -1;
            if (!end) continue;
            size_t used = take_head(c, end);
            c->head_size -= used;
            memmove(c->head, c->head + used, c->head_size);
        }
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 512)) die("listen");
    return fd;
}

static void accept_all(int listener, int poll) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd] = calloc(1, sizeof(struct connection));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (!connections[fd] || epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) die("accept");
    }
}

static void serve(int fd, int poll) {
    int state = receive(fd, connections[fd]);
    if (state < 0) {
        close(fd);
        free(connections[fd]);
        connections[fd] = NULL;
        return;
    }
    struct epoll_event event = {.events = state ? EPOLLOUT : EPOLLIN, .data.fd = fd};
    epoll_ctl(poll, EPOLL_CTL_MOD, fd, &event);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT DIR\n", argv[0]);
        return 2;
    }
    make_route(&routes[0], "", "{}", 2);
    read_routes(argv[2]);
    int listener = listen_on(atoi(argv[1])), poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[EVENTS];
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event)) die("epoll");
    for (;;) {
        int count = epoll_wait(poll, ready, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener) accept_all(listener, poll);
            else serve(ready[i].data.fd, poll);
        }
    }
}
