/* Does what a row says, and puts what came of it into `name`: "read /rates/a" becomes "read /rates/a: 1.5". */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "dataflare.h"

const df_info df_plugin = {.name = "probe", .version = "1.0.0"};
extern char **environ;

static char answer[4096];

static const char *failed(void) {
  snprintf(answer, sizeof answer, "%s", strerror(errno));
  return answer;
}

static const char *read_file(const char *path) {
  int file = open(path, O_RDONLY);
  if (file < 0) return failed();
  ssize_t count = read(file, answer, sizeof answer - 1);
  if (count < 0) return close(file), failed();
  answer[count] = 0;
  return close(file), answer;
}

static const char *write_file(const char *path) {
  FILE *file = fopen(path, "w");
  if (!file) return failed();
  int bad = fputs("written", file) < 0;
  return fclose(file) || bad ? failed() : "written";
}

static const char *list(const char *path) {
  DIR *folder = opendir(path);
  if (!folder) return failed();
  answer[0] = 0;
  for (struct dirent *entry; (entry = readdir(folder));)
    if (entry->d_name[0] != '.') strncat(answer, entry->d_name, sizeof answer - strlen(answer) - 1);
  return closedir(folder), answer;
}

static const char *done(const char *verb, char *what) {
  char *more = strchr(what, ' ');
  if (more) *more++ = 0;
  if (!strcmp(verb, "read")) return read_file(what);
  if (!strcmp(verb, "write")) return write_file(what);
  if (!strcmp(verb, "list")) return list(what);
  if (!strcmp(verb, "unlink")) return unlink(what) ? failed() : "gone";
  if (!strcmp(verb, "rmdir")) return rmdir(what) ? failed() : "gone";
  if (!strcmp(verb, "mkdir")) return mkdir(what, 0777) ? failed() : "made";
  if (!strcmp(verb, "symlink")) return symlink(more, what) ? failed() : "linked";
  if (!strcmp(verb, "link")) return link(more, what) ? failed() : "linked";
  if (!strcmp(verb, "rename")) return rename(what, more) ? failed() : "renamed";
  if (!strcmp(verb, "env")) return getenv(what) ? getenv(what) : "(none)";
  if (!strcmp(verb, "environ")) {
    answer[0] = 0;
    for (char **one = environ; one && *one; one++) strncat(answer, *one, sizeof answer - strlen(answer) - 1);
    return answer;
  }
  if (!strcmp(verb, "time")) {
    struct timespec now;
    if (clock_gettime(what[0] == 'm' ? CLOCK_MONOTONIC : CLOCK_REALTIME, &now)) return failed();
    snprintf(answer, sizeof answer, "%lld", (long long)now.tv_sec);
    return answer;
  }
  if (!strcmp(verb, "sleep")) {
    struct timespec pause = {.tv_sec = 60};
    return nanosleep(&pause, 0) ? failed() : "slept";
  }
  if (!strcmp(verb, "fail")) return "";
  return "(no such verb)";
}

df_verdict df_process(df_text record, df_out *out) {
  df_text name;
  if (!df_find(record, "name", &name)) return DF_DROP;
  char text[1024] = "", verb[16] = "", *space;
  memcpy(text, name.data + 1, name.size - 2 < sizeof text ? name.size - 2 : sizeof text - 1);
  space = strchr(text, ' ');
  if (!space) return df_put(out, record), DF_KEEP;
  memcpy(verb, text, (size_t)(space - text) < sizeof verb ? (size_t)(space - text) : sizeof verb - 1);
  const char *found = done(verb, space + 1);
  if (!strcmp(verb, "fail")) {
    const char *secret = getenv(space + 1);
    df_log(DF_WARN, (df_text){secret, strlen(secret)});
    return df_put(out, (df_text){secret, strlen(secret)}), DF_BAD;
  }
  df_text id;
  df_find(record, "id", &id);
  df_put(out, df_lit("{\"id\":")), df_put(out, id), df_put(out, df_lit(",\"name\":\""));
  df_put(out, (df_text){found, strlen(found)}), df_put(out, df_lit("\"}"));
  return DF_KEEP;
}
