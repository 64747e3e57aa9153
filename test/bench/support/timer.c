/*
 * Runs CNI plugins as a runtime does, and measures only that: a process of Node.js takes longer to start another than a plugin
 * takes for its work. Each line on stdin is a call: the command, container, namespace, extra runtime configuration as JSON members
 * or "-", then for each plugin of the chain its program and the file with its configuration, without the last brace. Each call's
 * line on stdout: nanoseconds, exit code, what the last one printed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char result[1 << 20];
static char conf[2 << 20];

static long long now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static size_t load(const char *path, char *to, size_t room) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t size = read(file, to, room);
  close(file);
  return size > 0 ? (size_t)size : 0;
}

static int call(char *program, size_t size) {
  int in[2], out[2], status;
  char *argv[] = {program, NULL};
  pid_t pid;
  posix_spawn_file_actions_t actions;
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) exit(2);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  if (posix_spawn(&pid, program, &actions, NULL, argv, environ) != 0) exit(3);
  close(in[0]);
  close(out[1]);
  if (write(in[1], conf, size) != (ssize_t)size && errno != EPIPE) exit(4); /* it may end without reading */
  close(in[1]);
  size_t got = 0;
  for (ssize_t part; (part = read(out[0], result + got, sizeof result - 1 - got)) > 0;) got += (size_t)part;
  result[got] = 0;
  close(out[0]);
  waitpid(pid, &status, 0);
  posix_spawn_file_actions_destroy(&actions);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

int main(void) {
  static char line[65536];
  signal(SIGPIPE, SIG_IGN);
  while (fgets(line, sizeof line, stdin)) {
    char *field[32] = {0};
    int fields = 0;
    for (char *part = strtok(line, "\t\n"); part && fields < 32; part = strtok(NULL, "\t\n")) field[fields++] = part;
    setenv("CNI_COMMAND", field[0], 1);
    setenv("CNI_CONTAINERID", field[1], 1);
    setenv("CNI_NETNS", field[2], 1);
    int code = 0, add = strcmp(field[0], "ADD") == 0, plugins = (fields - 4) / 2;
    result[0] = 0;
    long long before = now();
    for (int done = 0; done < plugins && code == 0; done++) {
      int at = 4 + 2 * (add ? done : plugins - 1 - done); /* DEL goes backwards */
      size_t size = load(field[at + 1], conf, sizeof conf / 2);
      if (strcmp(field[3], "-") != 0) size += (size_t)sprintf(conf + size, ",%s", field[3]);
      if (add && done > 0) size += (size_t)sprintf(conf + size, ",\"prevResult\":%s", result);
      conf[size++] = '}';
      code = call(field[at], size);
    }
    long long took = now() - before;
    for (char *at = result; *at; at++) if (*at == '\n') *at = ' ';
    printf("%lld %d %.400s\n", took, code, result);
    fflush(stdout);
  }
  return 0;
}
