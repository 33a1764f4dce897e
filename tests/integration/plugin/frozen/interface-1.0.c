/* A plugin of interface 1.0.0, as it was when that was current: kept as it was built then. */
#include "dataflare.h"
static const df_column added[] = {{"total", "float64"}};
static const df_output outputs[] = {{.name = "", .columns = added, .count = 1, .adds = true}, {.name = "late"}};
const df_info df_plugin = {.name = "frozen", .version = "1.0.0", .outputs = outputs, .output_count = 2, .stateful = true};
static double rate = 1, seen;
df_verdict df_open(df_text settings, df_out *why) {
  df_text value;
  if (df_find(settings, "rate", &value) && !df_number(value, &rate)) return df_put(why, df_lit("rate is no number")), DF_BAD;
  return DF_KEEP;
}
df_verdict df_process(df_text record, df_out *out) {
  df_text amount, id, state;
  double number;
  seen++;
  if (!df_find(record, "id", &id)) return DF_DROP;
  if (!df_find(record, "amount", &amount) || !df_number(amount, &number)) return df_put(out, df_lit("no amount")), DF_BAD;
  if (df_get_state(id, &state)) {
    free((void *)state.data);
    df_log(DF_WARN, df_lit("twice"));
    df_metric("twice", 1);
    df_put(out, record);
    df_emit(out, 1);
  } else {
    df_put(out, (df_text){record.data, record.size - 1});
    df_put(out, df_lit(",\"total\":"));
    df_put_number(out, number * rate + (double)(df_now() & 0));
    df_put(out, df_lit("}"));
  }
  df_set_state(id, &amount);
  return DF_KEEP;
}
void df_export_state(df_out *into) { df_put_number(into, seen); }
df_verdict df_import_state(df_text state, df_out *why) {
  return df_number(state, &seen) ? DF_KEEP : (df_put(why, df_lit("no number")), DF_BAD);
}
