/* The SDK for plugins in C: this file is all of it.

   A plugin includes it once, tells what it is by `df_plugin`, and has a function `df_process`:

     #include "dataflare.h"

     const df_info df_plugin = {.name = "upper", .version = "1.0.0"};

     df_verdict df_process(df_text record, df_out *out) {
       df_put(out, record);
       return DF_KEEP;
     }

   Records are JSON objects in one line. `df_open`, `df_close`, `df_export_state` and `df_import_state` may be there, too.
   Build: clang --target=wasm32-wasi -O3 -mexec-model=reactor -Wl,--strip-all,--stack-first plugin.c -o plugin.wasm
   With --stack-first a stack that is too deep ends the instance, rather than running into data.

   With `#define DF_BUFFERS` before the inclusion a plugin takes rows as columns of Arrow, by `df_process_columns`.

   Behind it are the functions of dataflare.wit in the canonical ABI of the component model. */
#ifndef DATAFLARE_H
#define DATAFLARE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes in UTF-8, not ended by a zero. */
typedef struct {
  const char *data;
  uint32_t size;
} df_text;

typedef enum { DF_KEEP, DF_DROP, DF_BAD, DF_TRANSIENT, DF_FATAL } df_verdict;
typedef enum { DF_DEBUG, DF_INFO, DF_WARN, DF_ERROR } df_level;

/* A column with its type as in workflow files. */
typedef struct {
  const char *name, *kind;
} df_column;

/* An output; the one without a name is the default one. No columns: those that came in. `adds`: they come beside those. */
typedef struct {
  const char *name;
  const df_column *columns;
  uint32_t count;
  bool adds;
} df_output;

typedef struct {
  const char *name, *version;
  const char *settings_schema;      /* JSON Schema; none: any settings */
  const char *const *input;         /* the columns that it is given; none: all */
  uint32_t input_count;
  const df_output *outputs;
  uint32_t output_count;
  bool stateful;
  const char *const *input_kinds;   /* the types in which the columns of `input` are wanted as buffers; none: as they are */
} df_info;

/* What the author writes. */
typedef struct df_out df_out;
extern const df_info df_plugin;
#ifdef DF_BUFFERS
__attribute__((weak))
#endif
df_verdict df_process(df_text record, df_out *out);
__attribute__((weak)) df_verdict df_open(df_text settings, df_out *why);
__attribute__((weak)) void df_close(void);
__attribute__((weak)) void df_export_state(df_out *into);
__attribute__((weak)) df_verdict df_import_state(df_text state, df_out *why);

/* What is written: records of an output, or the words of an error. */
struct df_out {
  char *data;
  uint32_t size, room;
  uint32_t *ends, *sources, *places; /* of each record: its end, the row it came of, its output */
  uint32_t count, count_room, begin, source;
};

#ifdef DF_BUFFERS

/* The buffers of a column, as Arrow lays them out; sizes in bytes, `offsets_size` in offsets. */
typedef struct {
  const uint8_t *validity;          /* a bit for each row, 0 where it is null; of no size where nothing is null */
  uint32_t validity_size;
  const int32_t *offsets;           /* of texts and bytes: rows + 1 */
  uint32_t offsets_size;
  const void *values;
  uint32_t values_size;
} df_array;

typedef struct df_rows df_rows;

/* Called with rows by columns, those of `input` or all; what it gives by `df_give` must stay until the next call. It returns
   DF_KEEP, or DF_TRANSIENT or DF_FATAL with the reason in `df_why(out)`. */
df_verdict df_process_columns(uint32_t rows, const df_array *columns, uint32_t count, df_rows *out);

/* Called before, with the names and types of the columns. */
__attribute__((weak)) df_verdict df_bind(const df_column *columns, uint32_t count, df_out *why);

static inline bool df_is_null(const df_array *column, uint32_t row) {
  return column->validity_size && !(column->validity[row / 8] >> (row % 8) & 1);
}

static inline df_text df_text_at(const df_array *column, uint32_t row) {
  return (df_text){(const char *)column->values + column->offsets[row],
                   (uint32_t)(column->offsets[row + 1] - column->offsets[row])};
}

static inline df_array df_values(const void *values, uint32_t size) { return (df_array){.values = values, .values_size = size}; }

#endif

static inline df_text df_lit(const char *text) { return (df_text){text, text ? (uint32_t)strlen(text) : 0}; }

static inline void *df_grown(void *old, uint32_t size) {
  void *found = realloc(old, size);
  if (!found) __builtin_trap();
  return found;
}

static inline void df_put(df_out *out, df_text text) {
  if (text.size > out->room - out->size) {
    out->room = (out->size + text.size) * 2 + 64;
    out->data = df_grown(out->data, out->room);
  }
  memcpy(out->data + out->size, text.data, text.size);
  out->size += text.size;
}

/* Puts a number so that it is read as the same; what is no number is null. */
static inline void df_put_number(df_out *out, double value) {
  char text[40], *end = text + sizeof text, *at = end;
  double parts = __builtin_nearbyint(value * 10000);
  if (!__builtin_isfinite(value)) {
    df_put(out, (df_text){"null", 4});
  } else if (__builtin_fabs(parts) < 9e15 && parts / 10000 == value && parts != 0) { /* most numbers, and quicker */
    uint64_t found = (uint64_t)__builtin_fabs(parts), whole = found / 10000;
    uint32_t rest = (uint32_t)(found % 10000), digits = 4;
    for (; digits && rest % 10 == 0; digits--) rest /= 10;
    for (uint32_t n = digits; n; n--, rest /= 10) *--at = (char)('0' + rest % 10);
    if (digits) *--at = '.';
    do *--at = (char)('0' + whole % 10);
    while (whole /= 10);
    if (value < 0) *--at = '-';
    df_put(out, (df_text){at, (uint32_t)(end - at)});
  } else {
    df_put(out, (df_text){text, (uint32_t)snprintf(text, sizeof text, "%.17g", value)});
  }
}

/* Ends a record, which goes to an output by its place in `df_plugin.outputs`; DF_DEFAULT: to the default one. */
#define DF_DEFAULT UINT32_MAX
static inline void df_emit(df_out *out, uint32_t output) {
  if (output != DF_DEFAULT && !df_lit(df_plugin.outputs[output].name).size) output = DF_DEFAULT;
  if (out->count == out->count_room) {
    out->count_room = out->count_room * 2 + 64;
    out->ends = df_grown(out->ends, out->count_room * 4);
    out->sources = df_grown(out->sources, out->count_room * 4);
    out->places = df_grown(out->places, out->count_room * 4);
  }
  df_put(out, (df_text){"\n", 1});
  out->ends[out->count] = out->size;
  out->sources[out->count] = out->source;
  out->places[out->count++] = output;
  out->begin = out->size;
}

static inline bool df_string(df_text value, df_out *into);

/* Tells whether what stands between quotes is a name; where there are escapes in it, it is longer than the name. */
static inline bool df_is_name(df_text inner, const char *name, uint32_t size) {
  static df_out text;
  if (inner.size == size) return !memcmp(inner.data, name, size);
  if (inner.size < size || !memchr(inner.data, '\\', inner.size)) return false;
  text.size = 0;
  df_string((df_text){inner.data - 1, inner.size + 2}, &text);
  return text.size == size && !memcmp(text.data, name, size);
}

/* Finds the value of a field of a record, as it is written there; false where it has none. Fields inside of others are
   passed over. */
static inline bool df_find(df_text record, const char *name, df_text *value) {
  const char *at = record.data, *end = at + record.size;
  uint32_t size = (uint32_t)strlen(name), depth = 0;
  while (at < end) {
    if (*at == '"') {
      const char *begin = ++at;
      while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
      if (at >= end) return false;
      bool same = depth == 1 && df_is_name((df_text){begin, (uint32_t)(at - begin)}, name, size);
      for (at++; at < end && (*at == ' ' || *at == '\t'); at++) {}
      if (at >= end || *at != ':' || !same) continue;
      for (at++; at < end && (*at == ' ' || *at == '\t'); at++) {}
      begin = at;
      for (uint32_t inside = 0; at < end; at++) {
        if (*at == '"') {
          for (at++; at < end && *at != '"'; at++) at += *at == '\\';
        } else if (*at == '{' || *at == '[') {
          inside++;
        } else if ((*at == '}' || *at == ']' || *at == ',') && !inside) {
          break;
        } else if (*at == '}' || *at == ']') {
          inside--;
        }
      }
      while (at > begin && (at[-1] == ' ' || at[-1] == '\t')) at--;
      *value = (df_text){begin, (uint32_t)(at - begin)};
      return true;
    }
    depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
    at++;
  }
  return false;
}

/* Reads a number; false where a value is none. */
static inline bool df_number(df_text value, double *number) {
  static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  char text[512], *end;
  uint32_t below = value.size && value.data[0] == '-', point = value.size, n = below;
  uint64_t found = 0;
  if (value.size == below || value.data[below] < '0' || value.data[below] > '9') return false;
  for (; n < value.size && n < below + 16; n++) { /* 15 digits and a point, or 16 digits, are rounded once */
    uint32_t digit = (uint32_t)(value.data[n] - '0');
    if (digit <= 9) found = found * 10 + digit;
    else if (value.data[n] == '.' && point == value.size) point = n;
    else break;
  }
  if (n == value.size) {
    *number = (double)found / powers[point == value.size ? 0 : value.size - point - 1];
    if (below) *number = -*number;
    return true;
  }
  if (value.size >= sizeof text) return false;
  memcpy(text, value.data, value.size);
  text[value.size] = 0;
  *number = strtod(text, &end);
  return end == text + value.size;
}

/* Reads a whole number of 64 bits, without loss; false where a value is none. */
static inline bool df_integer(df_text value, int64_t *number) {
  bool below = value.size && value.data[0] == '-';
  uint64_t found = 0;
  if (value.size == below) return false;
  for (uint32_t n = below; n < value.size; n++) {
    uint32_t digit = (uint32_t)(value.data[n] - '0');
    if (digit > 9 || __builtin_mul_overflow(found, 10, &found) || __builtin_add_overflow(found, digit, &found)) return false;
  }
  if (found > (uint64_t)INT64_MAX + below) return false;
  *number = (int64_t)(below ? 0 - found : found);
  return true;
}

static inline uint32_t df_hexadecimal(const char *at, const char *end) {
  uint32_t found = 0;
  if (end - at < 4) return 0xFFFD;
  for (int n = 0; n < 4; n++) {
    char c = at[n];
    found = found * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
  }
  return found;
}

/* Puts the text that a JSON string stands for; false where a value is none. A half of a pair of surrogates alone becomes
   U+FFFD. */
static inline bool df_string(df_text value, df_out *into) {
  if (value.size < 2 || value.data[0] != '"') return false;
  const char *at = value.data + 1, *end = value.data + value.size - 1;
  while (at < end) {
    const char *next = memchr(at, '\\', (size_t)(end - at));
    if (!next) next = end;
    df_put(into, (df_text){at, (uint32_t)(next - at)});
    if (end - next < 2) break;
    const char *kind = memchr("b\bf\fn\nr\rt\t", next[1], 10);
    at = next + 2;
    if (next[1] != 'u') {
      df_put(into, (df_text){kind ? kind + 1 : next + 1, 1});
      continue;
    }
    uint32_t code = df_hexadecimal(at, end), low = 0;
    at += end - at < 4 ? end - at : 4;
    if ((code & 0xFC00) == 0xD800 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') low = df_hexadecimal(at + 2, end);
    if ((low & 0xFC00) == 0xDC00) {
      code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF);
      at += 6;
    } else if ((code & 0xF800) == 0xD800) {
      code = 0xFFFD;
    }
    uint32_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    char text[4] = {(char)(more ? (0xF0 << (3 - more)) | (code >> (6 * more)) : code)};
    for (uint32_t n = 1; n <= more; n++) text[n] = (char)(0x80 | ((code >> (6 * (more - n))) & 0x3F));
    df_put(into, (df_text){text, more + 1});
  }
  return true;
}

/* Puts a text as a JSON string. */
static inline void df_put_string(df_out *out, df_text text) {
  uint32_t begin = 0;
  char escape[8];
  df_put(out, (df_text){"\"", 1});
  for (uint32_t n = 0; n < text.size; n++) {
    unsigned char c = (unsigned char)text.data[n];
    if (c >= ' ' && c != '"' && c != '\\') continue;
    df_put(out, (df_text){text.data + begin, n - begin});
    begin = n + 1;
    df_put(out, (df_text){escape, (uint32_t)snprintf(escape, sizeof escape, c < ' ' ? "\\u%04x" : "\\%c", c)});
  }
  df_put(out, (df_text){text.data + begin, text.size - begin});
  df_put(out, (df_text){"\"", 1});
}

/* What the host offers. */
#define DF_HOST(name) __attribute__((import_module("dataflare:plugin/host@1.1.0"), import_name(name)))
DF_HOST("log") void df_host_log(uint32_t level, const char *data, uint32_t size);
DF_HOST("metric") void df_host_metric(const char *data, uint32_t size, double value);
DF_HOST("now") uint64_t df_now(void);
DF_HOST("get-state") void df_host_get_state(const char *key, uint32_t size, uint32_t *found);
DF_HOST("set-state")
void df_host_set_state(const char *key, uint32_t size, uint32_t some, const char *value, uint32_t value_size);

static inline void df_log(df_level level, df_text message) { df_host_log(level, message.data, message.size); }
static inline void df_metric(const char *name, double value) { df_host_metric(name, (uint32_t)strlen(name), value); }

/* Gives the state of a key, a JSON list of the values of the node's key; free(value->data) when it is read. */
static inline bool df_get_state(df_text key, df_text *value) {
  uint32_t found[3];
  df_host_get_state(key.data, key.size, found);
  *value = (df_text){(const char *)(uintptr_t)found[1], found[2]};
  return found[0];
}

/* Keeps the state of a key; none: forgets it. */
static inline void df_set_state(df_text key, const df_text *value) {
  df_host_set_state(key.data, key.size, value != NULL, value ? value->data : "", value ? value->size : 0);
}

/* ---- what the host calls ------------------------------------------------------------------------------------------- */

#define DF_EXPORT(name) __attribute__((export_name(name)))
#define DF_LIFECYCLE "dataflare:plugin/lifecycle@1.1.0#"
#define DF_PROCESSOR "dataflare:plugin/processor@1.1.0#"

DF_EXPORT("cabi_realloc") void *cabi_realloc(void *old, uint32_t old_size, uint32_t align, uint32_t size) {
  (void)old_size, (void)align;
  return df_grown(old, size ? size : 1);
}

typedef struct {
  uint32_t data, size;
} df_pair;

static inline df_pair df_paired(df_text text) { return (df_pair){(uint32_t)(uintptr_t)text.data, text.size}; }

typedef struct {
  df_pair name;
  uint32_t some;
  df_pair columns;
  uint32_t adds;
} df_told_output;

DF_EXPORT(DF_LIFECYCLE "describe") void *df_exported_describe(void) {
  static struct {
    df_pair name, version, schema;
    uint32_t stateful, some;
    df_pair input;
    uint32_t format; /* JSON in lines */
    df_pair outputs;
  } told;
  _Static_assert(sizeof told == 52, "the layout of plugin-info");
  const df_info *info = &df_plugin;
  df_pair *input = df_grown(NULL, info->input_count * sizeof(df_pair) + 1);
  for (uint32_t n = 0; n < info->input_count; n++) input[n] = df_paired(df_lit(info->input[n]));
  df_told_output *outputs = df_grown(NULL, info->output_count * sizeof(df_told_output) + 1);
  for (uint32_t n = 0; n < info->output_count; n++) {
    const df_output *one = &info->outputs[n];
    df_pair *columns = df_grown(NULL, one->count * 2 * sizeof(df_pair) + 1);
    for (uint32_t c = 0; c < one->count; c++) {
      columns[2 * c] = df_paired(df_lit(one->columns[c].name));
      columns[2 * c + 1] = df_paired(df_lit(one->columns[c].kind));
    }
    outputs[n] = (df_told_output){df_paired(df_lit(one->name)), one->columns != NULL,
                                  {(uint32_t)(uintptr_t)columns, one->count}, one->adds};
  }
  told.name = df_paired(df_lit(info->name));
  told.version = df_paired(df_lit(info->version));
  told.schema = df_paired(df_lit(info->settings_schema ? info->settings_schema : "{}"));
  told.stateful = info->stateful;
  told.some = info->input != NULL;
  told.input = (df_pair){(uint32_t)(uintptr_t)input, info->input_count};
  told.outputs = (df_pair){(uint32_t)(uintptr_t)outputs, info->output_count};
  return &told;
}

/* A result that is good, or the words of an error. */
typedef struct {
  uint32_t bad, kind;
  df_pair what;
} df_told_result;

static inline void *df_answer(df_told_result *told, df_verdict verdict, df_out *why) {
  *told = (df_told_result){verdict >= DF_BAD, verdict >= DF_BAD ? verdict - DF_BAD : 0,
                           {(uint32_t)(uintptr_t)why->data, why->size}};
  return told;
}

/* Leaves only what was written since the last record. */
static inline df_out *df_reason(df_out *why) {
  why->size -= why->begin;
  if (why->size) memmove(why->data, why->data + why->begin, why->size);
  return why;
}

static df_out df_written;
static df_told_result df_told;

static inline void df_begin(void) { df_written.size = df_written.count = df_written.begin = df_written.source = 0; }

DF_EXPORT(DF_LIFECYCLE "open") void *df_exported_open(char *data, uint32_t size) {
  df_begin();
  df_verdict verdict = df_open ? df_open((df_text){data, size}, &df_written) : DF_KEEP;
  free(data);
  return df_answer(&df_told, verdict == DF_BAD ? DF_FATAL : verdict, &df_written);
}

DF_EXPORT(DF_LIFECYCLE "close") void df_exported_close(void) {
  if (df_close) df_close();
}

DF_EXPORT(DF_LIFECYCLE "export-state") void *df_exported_export_state(void) {
  static df_pair told;
  df_begin();
  if (df_export_state) df_export_state(&df_written);
  if (!df_written.size) df_put(&df_written, df_lit("null"));
  told = (df_pair){(uint32_t)(uintptr_t)df_written.data, df_written.size};
  return &told;
}

DF_EXPORT(DF_LIFECYCLE "import-state") void *df_exported_import_state(char *data, uint32_t size) {
  df_begin();
  df_verdict verdict = df_import_state ? df_import_state((df_text){data, size}, &df_written) : DF_KEEP;
  free(data);
  return df_answer(&df_told, verdict == DF_BAD ? DF_FATAL : verdict, &df_written);
}

static inline df_verdict df_processed(df_text record, df_out *out) {
#ifdef DF_BUFFERS
  if (!df_process) return df_put(out, df_lit("it takes rows as buffers alone")), DF_FATAL;
#endif
  return df_process(record, out);
}

static inline df_pair df_output_name(uint32_t place) {
  return df_paired(df_lit(place == DF_DEFAULT ? "" : df_plugin.outputs[place].name));
}

DF_EXPORT(DF_PROCESSOR "process") void *df_exported_process(char *data, uint32_t size) {
  enum { KEEP, DROP, MANY, ROUTE };
  static df_told_result told;
  static df_pair *routed;
  df_begin();
  df_verdict verdict = df_processed((df_text){data, size}, &df_written);
  free(data);
  if (verdict >= DF_BAD) return df_answer(&df_told, verdict, df_reason(&df_written));
  if (verdict == DF_DROP) df_begin();
  if (df_written.size > df_written.begin) df_emit(&df_written, DF_DEFAULT);
  routed = df_grown(routed, df_written.count * 2 * sizeof(df_pair) + 1);
  for (uint32_t n = 0, begin = 0; n < df_written.count; begin = df_written.ends[n++]) {
    routed[2 * n] = df_output_name(df_written.places[n]);
    routed[2 * n + 1] = (df_pair){(uint32_t)(uintptr_t)df_written.data + begin, df_written.ends[n] - begin - 1};
  }
  bool one = df_written.count == 1 && df_written.places[0] == DF_DEFAULT;
  told = (df_told_result){0, one ? KEEP : df_written.count ? ROUTE : DROP,
                          one ? routed[1] : (df_pair){(uint32_t)(uintptr_t)routed, df_written.count}};
  return &told;
}

typedef struct {
  df_pair output;
  uint32_t rows;
  df_pair data;
  uint32_t some;
  df_pair sources;
} df_told_part;

typedef struct {
  uint32_t row;
  df_pair message;
} df_told_row;

/* The records of all outputs lie one behind the other; those of each are gathered. */
static df_pair df_parts(void) {
  static df_told_part *parts;
  static df_out *gathered;
  uint32_t count = df_plugin.output_count + 1;
  if (!parts) {
    parts = df_grown(NULL, count * sizeof *parts);
    gathered = df_grown(NULL, count * sizeof *gathered);
    memset(gathered, 0, count * sizeof *gathered);
  }
  for (uint32_t p = 0; p < count; p++) gathered[p].size = gathered[p].count = 0;
  for (uint32_t n = 0, begin = 0; n < df_written.count; begin = df_written.ends[n++]) {
    uint32_t place = df_written.places[n] == DF_DEFAULT ? 0 : df_written.places[n] + 1;
    df_out *one = &gathered[place];
    one->source = df_written.sources[n];
    df_put(one, (df_text){df_written.data + begin, df_written.ends[n] - begin - 1});
    df_emit(one, DF_DEFAULT);
  }
  uint32_t told = 0;
  for (uint32_t p = 0; p < count; p++) {
    df_out *one = &gathered[p];
    if (p && !df_lit(df_plugin.outputs[p - 1].name).size) continue;
    parts[told++] = (df_told_part){df_output_name(p ? p - 1 : DF_DEFAULT), one->count,
                                   {(uint32_t)(uintptr_t)one->data, one->size ? one->size - 1 : 0}, 1,
                                   {(uint32_t)(uintptr_t)one->sources, one->count}};
  }
  return (df_pair){(uint32_t)(uintptr_t)parts, told};
}

DF_EXPORT(DF_PROCESSOR "process-batch") void *df_exported_batch(uint32_t format, uint32_t rows, char *data, uint32_t size) {
  static struct {
    uint32_t bad;
    df_pair parts, errors;
  } told;
  static df_told_row *errors;
  static df_out words;
  static df_told_part whole;
  (void)format;
  df_begin();
  words.size = 0;
  errors = df_grown(errors, rows * sizeof *errors + 1);
  uint32_t bad = 0, row = 0;
  bool same = true; /* each record came of the row with the same number, and all are of the default output */
  for (const char *at = data, *end = data + size; at < end; row++) {
    const char *next = memchr(at, '\n', (size_t)(end - at));
    if (!next) next = end;
    uint32_t before = df_written.count, begin = df_written.size;
    df_written.source = row;
    df_verdict verdict = df_processed((df_text){at, (uint32_t)(next - at)}, &df_written);
    if (verdict > DF_BAD) {
      free(data);
      return df_answer(&df_told, verdict, df_reason(&df_written));
    }
    if (verdict == DF_BAD && row < rows) {
      errors[bad++] = (df_told_row){row, {words.size, df_written.size - df_written.begin}};
      df_put(&words, (df_text){df_written.data + df_written.begin, df_written.size - df_written.begin});
    }
    if (verdict == DF_KEEP) {
      if (df_written.size > df_written.begin) df_emit(&df_written, DF_DEFAULT);
    } else {
      df_written.count = before, df_written.size = df_written.begin = begin;
    }
    same = same && df_written.count == row + 1 && df_written.places[row] == DF_DEFAULT;
    at = next + 1;
  }
  free(data);
  for (uint32_t n = 0; n < bad; n++) errors[n].message.data += (uint32_t)(uintptr_t)words.data;
  told.bad = 0;
  told.errors = (df_pair){(uint32_t)(uintptr_t)errors, bad};
  if (same) {
    whole = (df_told_part){{0, 0}, row, {(uint32_t)(uintptr_t)df_written.data, df_written.size ? df_written.size - 1 : 0}, 0, {0, 0}};
    told.parts = (df_pair){(uint32_t)(uintptr_t)&whole, 1};
  } else {
    told.parts = df_parts();
  }
  return &told;
}

/* ---- rows as buffers ----------------------------------------------------------------------------------------------- */

#ifdef DF_BUFFERS
#define DF_BUFFERS_OF "dataflare:plugin/buffers@1.1.0#"

typedef struct {
  df_pair output;
  uint32_t count;
  df_pair columns;
  uint32_t some;
  df_pair sources;
} df_told_rows;

struct df_rows {
  df_told_rows *parts;
  df_told_row *errors;
  void **scratch;
  uint32_t part_count, part_room, error_count, error_room, scratch_count, scratch_room;
  df_out words, why;
};

static df_rows df_given;

static inline df_out *df_why(df_rows *out) { return &out->why; }

/* Memory that stays until the next call. */
static inline void *df_scratch(df_rows *out, uint32_t size) {
  if (out->scratch_count == out->scratch_room) {
    out->scratch_room = out->scratch_room * 2 + 16;
    out->scratch = df_grown(out->scratch, out->scratch_room * sizeof *out->scratch);
  }
  return out->scratch[out->scratch_count++] = df_grown(NULL, size + 1);
}

/* Gives rows to an output, by its place in `df_plugin.outputs`, DF_DEFAULT: the default one; `sources`: the numbers of the rows
   that they came of, none: those of the same numbers. Neither is copied: it must stay until the next call. */
static inline void df_give(df_rows *out, uint32_t output, uint32_t rows, const df_array *columns, uint32_t count,
                           const uint32_t *sources) {
  if (out->part_count == out->part_room) {
    out->part_room = out->part_room * 2 + 4;
    out->parts = df_grown(out->parts, out->part_room * sizeof *out->parts);
  }
  out->parts[out->part_count++] = (df_told_rows){df_output_name(output), rows, {(uint32_t)(uintptr_t)columns, count},
                                                 sources != NULL, {(uint32_t)(uintptr_t)sources, rows}};
}

/* Says that a row is bad; `on_error` of the node decides about it. */
static inline void df_refuse(df_rows *out, uint32_t row, df_text why) {
  if (out->error_count == out->error_room) {
    out->error_room = out->error_room * 2 + 16;
    out->errors = df_grown(out->errors, out->error_room * sizeof *out->errors);
  }
  out->errors[out->error_count++] = (df_told_row){row, {out->words.size, why.size}};
  df_put(&out->words, why);
}

DF_EXPORT(DF_BUFFERS_OF "bind") void *df_exported_bind(df_pair *columns, uint32_t count) {
  static df_told_result told;
  static df_pair *wanted;
  df_begin();
  df_column *bound = df_grown(NULL, count * sizeof *bound + 1);
  wanted = df_grown(wanted, count * 2 * sizeof *wanted + 1);
  memcpy(wanted, columns, count * 2 * sizeof *wanted);
  for (uint32_t n = 0; n < count; n++) {
    char *names[2];
    for (uint32_t k = 0; k < 2; k++) { /* texts that end with a zero; they stay, as `bound` may be kept */
      df_pair *one = &columns[2 * n + k];
      names[k] = df_grown(NULL, one->size + 1);
      memcpy(names[k], (void *)(uintptr_t)one->data, one->size);
      names[k][one->size] = 0;
    }
    bound[n] = (df_column){names[0], names[1]};
    for (uint32_t i = 0; df_plugin.input_kinds && i < df_plugin.input_count; i++) {
      if (df_plugin.input_kinds[i] && !strcmp(df_plugin.input[i], names[0])) {
        bound[n].kind = df_plugin.input_kinds[i];
        wanted[2 * n + 1] = df_paired(df_lit(bound[n].kind));
      }
    }
  }
  df_verdict verdict = df_bind ? df_bind(bound, count, &df_written) : DF_KEEP;
  if (verdict >= DF_BAD) return df_answer(&df_told, verdict == DF_BAD ? DF_FATAL : verdict, &df_written);
  told = (df_told_result){0, (uint32_t)(uintptr_t)wanted, {count, 0}};
  return &told;
}

DF_EXPORT(DF_BUFFERS_OF "process-buffers") void *df_exported_buffers(uint32_t rows, df_array *columns, uint32_t count) {
  static struct {
    uint32_t bad;
    df_pair parts, errors;
  } told;
  static df_array *before;
  static uint32_t before_count;
  df_rows *out = &df_given;
  for (uint32_t n = 0; n < before_count; n++) { /* what came with the last call, and what was made in it */
    if (before[n].validity_size) free((void *)before[n].validity);
    if (before[n].offsets_size) free((void *)before[n].offsets);
    if (before[n].values_size) free((void *)before[n].values);
  }
  free(before);
  while (out->scratch_count) free(out->scratch[--out->scratch_count]);
  before = columns, before_count = count;
  out->part_count = out->error_count = out->words.size = out->why.size = 0;
  df_verdict verdict = df_process_columns(rows, columns, count, out);
  if (verdict >= DF_BAD) return df_answer(&df_told, verdict == DF_BAD ? DF_FATAL : verdict, &out->why);
  for (uint32_t n = 0; n < out->error_count; n++) out->errors[n].message.data += (uint32_t)(uintptr_t)out->words.data;
  told.bad = 0;
  told.parts = (df_pair){(uint32_t)(uintptr_t)out->parts, out->part_count};
  told.errors = (df_pair){(uint32_t)(uintptr_t)out->errors, out->error_count};
  return &told;
}
#endif

#endif
