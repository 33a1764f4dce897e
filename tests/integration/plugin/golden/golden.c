/* The plugin of the golden suite in C: see suite.py. */
#include "dataflare.h"

static const df_column big[] = {{"id", "int64"}, {"part", "int64"}}, added[] = {{"total", "float64"}};
static const df_output outputs[] = {
    {.name = ""},
    {.name = "big", .columns = big, .count = 2},
    {.name = "added", .columns = added, .count = 1, .adds = true},
};
static const char *const input[] = {"id", "kind", "amount", "text", "inside"};
const df_info df_plugin = {.name = "golden", .version = "1.2.3", .settings_schema = "{\"type\":\"object\"}",
  .input = input, .input_count = 5, .outputs = outputs, .output_count = 3, .stateful = true};

static double rate = 1;
static int64_t seen;
static df_out text;

df_verdict df_open(df_text settings, df_out *why) {
  df_text value;
  if (df_find(settings, "rate", &value) && !df_number(value, &rate)) return df_put(why, df_lit("rate is no number")), DF_BAD;
  return DF_KEEP;
}

static df_verdict failing(df_out *out, df_verdict verdict, const char *words) {
  df_put(out, df_lit(words)), df_put(out, (df_text){text.data, text.size});
  return verdict;
}

static volatile bool always = true;
static void *volatile last;
static uint64_t deep(uint64_t level) {
  volatile uint64_t here = level;
  return always ? deep(here + 1) * 3 + here : here;
}

static void parts(df_text id, df_out *out, bool routes) {
  static const char *const ends[] = {",\"part\":0}", ",\"part\":1}", ",\"part\":2}"};
  static const uint32_t places[] = {1, DF_DEFAULT, 2};
  for (uint32_t part = 0; part < 3; part++) {
    df_put(out, df_lit("{\"id\":")), df_put(out, id), df_put(out, df_lit(ends[part]));
    df_emit(out, routes ? places[part] : DF_DEFAULT);
  }
}

static void state(df_text id, const df_text *value, df_out *out) {
  static df_out key;
  df_text before;
  key.size = 0;
  df_put(&key, df_lit("[")), df_put(&key, id), df_put(&key, df_lit("]"));
  bool there = df_get_state((df_text){key.data, key.size}, &before);
  df_put(out, df_lit("{\"before\":")), df_put(out, there ? before : df_lit("null")), df_put(out, df_lit("}"));
  if (there) free((void *)before.data);
  df_set_state((df_text){key.data, key.size}, value);
}

df_verdict df_process(df_text record, df_out *out) {
  df_text kind, value, id = df_lit("null");
  double amount;
  int64_t whole;
  char digits[32];
  seen++;
  text.size = 0;
  if (df_find(record, "text", &value)) df_string(value, &text);
  df_find(record, "id", &id);
  if (!df_find(record, "kind", &kind)) return df_put(out, df_lit("there is no kind")), DF_BAD;
#define IS(word) (kind.size == sizeof word + 1 && !memcmp(kind.data, "\"" word "\"", kind.size))
  bool there = df_find(record, "amount", &value), number = there && df_number(value, &amount);
  if (IS("copy")) {
    df_put(out, record);
  } else if (IS("with")) {
    df_put(out, (df_text){record.data, (uint32_t)(value.data - record.data)}), df_put_number(out, amount * rate);
    const char *rest = value.data + value.size;
    df_put(out, (df_text){rest, (uint32_t)(record.data + record.size - rest)});
  } else if (IS("keep")) {
    if (!number) return df_put(out, df_lit("there is no amount")), DF_BAD;
    df_put(out, (df_text){record.data, record.size - 1}), df_put(out, df_lit(",\"total\":"));
    df_put_number(out, amount * rate), df_put(out, df_lit("}"));
  } else if (IS("drop")) {
    df_put(out, df_lit("{}")), df_emit(out, 1), df_put(out, df_lit("{}"));
    return DF_DROP;
  } else if (IS("bad")) {
    df_put(out, df_lit("{}")), df_emit(out, DF_DEFAULT);
    return failing(out, DF_BAD, "it is bad: ");
  } else if (IS("transient")) {
    return failing(out, DF_TRANSIENT, "not now: ");
  } else if (IS("fatal")) {
    return failing(out, DF_FATAL, "never: ");
  } else if (IS("many") || IS("routes")) {
    parts(id, out, IS("routes"));
  } else if (IS("text")) {
    df_put(out, df_lit("{\"text\":")), df_put_string(out, (df_text){text.data, text.size}), df_put(out, df_lit("}"));
  } else if (IS("inside")) {
    df_text inside;
    if (!df_find(record, "inside", &inside)) return df_put(out, df_lit("there is nothing inside")), DF_BAD;
    bool found = df_find(inside, "amount", &value);
    df_put(out, df_lit("{\"found\":")), df_put(out, found ? value : df_lit("null")), df_put(out, df_lit("}"));
  } else if (IS("number")) {
    bool exact = df_integer(value, &whole);
    df_put(out, df_lit("{\"raw\":")), df_put(out, value), df_put(out, df_lit(",\"whole\":"));
    df_put(out, exact ? (df_text){digits, (uint32_t)snprintf(digits, sizeof digits, "%lld", (long long)whole)} : df_lit("null"));
    df_put(out, df_lit(",\"number\":")), number ? df_put_number(out, amount) : df_put(out, df_lit("null"));
    df_put(out, df_lit("}"));
  } else if (IS("state")) {
    state(id, there && value.data[0] != 'n' ? &value : NULL, out);
  } else if (IS("told")) {
    df_log(DF_WARN, (df_text){text.data, text.size}), df_metric("told", 2.5);
    df_put(out, (df_text){digits, (uint32_t)snprintf(digits, sizeof digits, "{\"now\":%llu}", (unsigned long long)df_now())});
  } else if (IS("loop")) {
    for (;;) __asm__ volatile("");
  } else if (IS("grow")) {
    for (;;) last = memset(df_grown(NULL, 1 << 20), 1, 1 << 20);
  } else if (IS("deep")) {
    df_put_number(out, (double)deep(1));
  } else if (IS("panic")) {
    df_log(DF_ERROR, (df_text){text.data, text.size});
    abort();
  } else if (IS("bytes")) {
    df_put(out, df_lit("{\"a\":\"\xff\"}"));
  } else {
    df_put(out, df_lit("what is ")), df_put(out, (df_text){kind.data + 1, kind.size - 2});
    return DF_BAD;
  }
  return DF_KEEP;
}

void df_export_state(df_out *into) { df_put_number(into, (double)seen); }

df_verdict df_import_state(df_text saved, df_out *why) {
  if (!df_integer(saved, &seen)) return df_put(why, df_lit("the state is no number")), DF_BAD;
  return DF_KEEP;
}
