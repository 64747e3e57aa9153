/*
 * The CNI plugin as a runtime starts it: hands the call to the agent's socket, and the agent's answer to stdout. Where the
 * agent is away, hangs, speaks another protocol or refuses, it becomes the standalone plugin, on the same state. The frames
 * are those of src/cni/protocol/agent-frame.ts. stdout gets one JSON document or nothing; libc is all that is needed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TRIVET_SOCKET "/run/trivet/cni.sock"
#ifndef TRIVET_STANDALONE
#define TRIVET_STANDALONE "/opt/trivet/current/bin/trivet"
#endif
#define CONNECT_MS 200
#define GO_MS 1000 /* the kernel connects us to an agent that hangs too: only its word counts */
#define ASK_MS 20000 /* One at a time is standalone, which is costly: the others go on asking the agent for so long, */
#define TURN_MS 40000 /* and wait for their turn. */
#define STDIN_MS 10000
#define MAX_STDIN (8u << 20)
#define MAX_HEADER 4096u /* of the agent's lines */
#define MAX_REPLY (16u << 20)

/* The agent gives a call up after limit_ms, and we the agent after wait_ms. */
static const struct verb { const char *name; int limit_ms, wait_ms; } verbs[] = {
  {"ADD", 60000, 67000}, {"DEL", 15000, 22000}, {"CHECK", 15000, 22000}, {"GC", 30000, 37000}, {"STATUS", 1000, 2000},
  {"", 5000, 7000}, /* any other */
}, *const ADD = &verbs[0], *const STATUS = &verbs[4];

static struct text { char *at; size_t size; FILE *end; } conf; /* what the runtime sent on stdin */

static void start(struct text *text) { if (!(text->end = open_memstream(&text->at, &text->size))) _exit(1); }
static void put_json(FILE *to, const char *text, size_t size) {
  fputc('"', to);
  for (const unsigned char *at = (const unsigned char *)text; size-- > 0; at++)
    fprintf(to, *at < 0x20 || *at == '"' || *at == '\\' ? "\\u%04x" : "%c", *at);
  fputc('"', to);
}

static long long after(int ms) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000 + ms;
}

/* Reads until the text holds `size` bytes, or with 0 a line: 1. The end: 0; a failure or the deadline: -1. */
static int take(int fd, struct text *to, size_t size, long long until) {
  char piece[16384];
  while (size ? to->size < size : to->size == 0 || (to->size < MAX_HEADER && !memchr(to->at, '\n', to->size))) {
    struct pollfd one = {.fd = fd, .events = POLLIN, .revents = 0};
    long long left = until - after(0);
    int found = poll(&one, 1, left > 0 ? (int)left : 0);
    ssize_t got = found > 0 ? read(fd, piece, sizeof piece) : -1;
    if (found == 0) return -1;
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return (int)got;
    if (fwrite(piece, 1, (size_t)got, to->end) == 0 || fflush(to->end) != 0) return -1;
  }
  return 1;
}

static int write_all(int fd, const char *data, size_t size) {
  for (ssize_t written; size > 0; ) {
    if ((written = write(fd, data, size)) < 0 && errno != EINTR) return 0;
    if (written > 0) data += written, size -= (size_t)written;
  }
  return 1;
}

/* Copies the text at the top of the configuration under `key`; 0 if there is none, or one with escapes. */
static int configured(const char *key, char *to, size_t room) {
  int depth = 0, ours = 0, found = 0;
  for (const char *at = conf.at, *end = conf.at + conf.size; at < end; at++) {
    depth += *at == '{' || *at == '[' ? 1 : *at == '}' || *at == ']' ? -1 : 0;
    if (depth == 1 && *at == ',') ours = 0;
    if (*at != '"') continue;
    const char *begin = ++at;
    while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
    if (at >= end) return 0;
    size_t size = (size_t)(at - begin);
    const char *next = at + 1 + strspn(at + 1, " \t\r\n");
    if (depth == 1 && *next == ':') {
      ours = size == strlen(key) && memcmp(begin, key, size) == 0;
      if (ours) found = 0; /* of two, the last counts, as in JSON.parse */
    } else if (depth == 1 && ours && size < room && memchr(begin, '\\', size) == NULL) {
      snprintf(to, room, "%.*s", (int)size, begin);
      found = 1;
    }
  }
  return found;
}

static _Noreturn void fail(int code, const char *why, const char *what) {
  struct text out;
  char version[16], *message;
  if (!configured("cniVersion", version, sizeof version) || version[strspn(version, "0123456789.")])
    snprintf(version, sizeof version, "1.0.0");
  if (asprintf(&message, "%s%s", why, what) < 0) _exit(1);
  start(&out);
  fprintf(out.end, "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":", version, code);
  put_json(out.end, message, strlen(message));
  fputs("}\n", out.end), fclose(out.end);
  dprintf(STDERR_FILENO, "trivet: %s\n", message);
  write_all(STDOUT_FILENO, out.at, out.size);
  _exit(1);
}

/* Becomes the plugin that needs no agent. Where its program is, a file beside ours may say. */
static _Noreturn void standalone(const char *command, const char *why) {
  char program[PATH_MAX] = TRIVET_STANDALONE, beside[PATH_MAX] = "";
  ssize_t size = readlink("/proc/self/exe", beside, sizeof beside - 32);
  if (size > 0) strcpy(strrchr(beside, '/'), "/.trivet-standalone");
  int file = open(beside, O_RDONLY | O_CLOEXEC);
  if (file >= 0 && (size = read(file, beside, sizeof beside - 1)) > 0 && beside[0] == '/')
    beside[size] = '\0', snprintf(program, sizeof program, "%.*s", (int)strcspn(beside, "\r\n"), beside);
  int input = memfd_create("stdin", MFD_CLOEXEC);
  if (input < 0 || !write_all(input, conf.at, conf.size) || lseek(input, 0, SEEK_SET) != 0 || dup2(input, 0) != 0)
    fail(5, "stdin cannot be handed on: ", strerror(errno));
  dprintf(STDERR_FILENO, "trivet: %s: running %s\n", why, program);
  signal(SIGPIPE, SIG_DFL), alarm(0);
  execl(program, program, "cni", "--standalone", (char *)NULL);
  fail(strcmp(command, "STATUS") == 0 ? 50 : 11, "the agent is away, and no standalone plugin is at ", program);
}

static void put_request(FILE *to, const char *command, int limit_ms) {
  static const char *const kept[] = {"CNI_", "TRACEPARENT=", "TRACESTATE=", "BAGGAGE="};
  const char *comma = "";
  fprintf(to, "{\"protocol\":2,\"command\":");
  put_json(to, command, strlen(command));
  fprintf(to, ",\"stdinBytes\":%zu,\"deadlineMs\":%d,\"env\":{", conf.size, limit_ms);
  for (char **entry = environ; *entry; entry++) {
    const char *value = strchr(*entry, '=');
    size_t i = 0;
    while (i < 4 && strncmp(*entry, kept[i], strlen(kept[i])) != 0) i++;
    if (i == 4 || value == NULL) continue;
    put_json((fputs(comma, to), to), *entry, (size_t)(value - *entry));
    put_json((fputc(':', to), to), value + 1, strlen(value + 1));
    comma = ",";
  }
  fprintf(to, "}}\n");
}

/* One attempt. Gives the reason where nothing has been done, or what has been done may be done again. */
static const char *ask(const struct sockaddr_un *address, const struct verb *verb, const struct text *request) {
  struct text go, reply;
  size_t head, out, err;
  struct timeval patience = {.tv_usec = CONNECT_MS * 1000};
  int code, agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(agent, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* connect(2) waits as long as a write */
  if (connect(agent, (const struct sockaddr *)address, sizeof *address) != 0) return close(agent), "the agent cannot be reached";
  start(&go), start(&reply);
  int taken = write_all(agent, request->at, request->size) && take(agent, &go, 0, after(GO_MS)) == 1 && strstr(go.at, "\"go\":true");
  int sent = taken && write_all(agent, conf.at, conf.size + 1); /* it begins at the line end: up to here nothing has happened */
  long long until = after(verb->wait_ms);
  if (sent && take(agent, &reply, 0, until) == 1 && (head = strcspn(reply.at, "\n") + 1) <= reply.size &&
      sscanf(reply.at, "{\"protocol\":2,\"exitCode\":%d,\"stdoutBytes\":%zu,\"stderrBytes\":%zu}", &code, &out, &err) == 3 &&
      out < MAX_REPLY && err < MAX_REPLY && take(agent, &reply, head + out + err, until) == 1) {
    write_all(STDERR_FILENO, reply.at + head + out, err);
    _exit(write_all(STDOUT_FILENO, reply.at + head, out) ? code : 1);
  }
  /* An ADD must not be run twice: its failure makes the runtime send a DEL. All else may be run again. */
  if (sent && verb == ADD) fail(11, "the agent ended or hung during the call: ", "a DEL clears away what it left");
  fclose(go.end), free(go.at), fclose(reply.end), free(reply.at), close(agent);
  return sent ? "the agent gave no answer" : "the agent does not take the call";
}

int main(void) {
  for (int fd = open("/dev/null", O_RDWR); fd >= 0 && fd <= 2; fd = open("/dev/null", O_RDWR));
  const char *command = getenv("CNI_COMMAND") ? getenv("CNI_COMMAND") : "", *why = "";
  const struct verb *verb = verbs;
  while (verb->name[0] && strcmp(verb->name, command) != 0) verb++;
  signal(SIGPIPE, SIG_IGN), alarm((STDIN_MS + TURN_MS + (unsigned)verb->wait_ms) / 1000 + 15); /* should nobody take what we write */
  struct text request;
  start(&conf), start(&request);
  if (take(STDIN_FILENO, &conf, MAX_STDIN, after(STDIN_MS)) != 0) fail(5, "stdin is too long, or was ", "never closed");
  fputc('\n', conf.end), fflush(conf.end), conf.size--; /* that the agent gets, and nobody else */
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = TRIVET_SOCKET};
  char path[sizeof address.sun_path];
  if (configured("socket", path, sizeof path) && path[0] == '/') strcpy(address.sun_path, path);
  put_request(request.end, command, verb->limit_ms), fclose(request.end);
  int turn = open("/proc/self/exe", O_RDONLY); /* the lock goes with the standalone plugin's end */
  for (long long begun = after(0), now = begun; now < begun + TURN_MS; poll(NULL, 0, 50), now = after(0)) {
    if (now < begun + ASK_MS) why = ask(&address, verb, &request);
    if (verb == STATUS || flock(turn, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) standalone(command, why); /* NFS: no turns */
  }
  fail(11, why, ", and too many wait to do without");
}
