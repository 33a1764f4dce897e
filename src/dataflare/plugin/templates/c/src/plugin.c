#include "dataflare.h"

/* Columns that come out beside those that came in, with their types. */
static const df_column added[] = {{"total", "float64"}};
static const df_output outputs[] = {{.name = "", .columns = added, .count = 1, .adds = true}};
const df_info df_plugin = {.name = "@NAME@", .version = "0.1.0", .outputs = outputs, .output_count = 1};

static double rate = 1;

/* Is called once, with the settings of the workflow. */
df_verdict df_open(df_text settings, df_out *why) {
  df_text value;
  if (df_find(settings, "rate", &value) && !df_number(value, &rate)) {
    df_put(why, df_lit("the rate is no number"));
    return DF_BAD;
  }
  return DF_KEEP;
}

/* Is called with each row. DF_DROP: it is left out; DF_BAD: `on_error` decides. */
df_verdict df_process(df_text order, df_out *out) {
  df_text status, value;
  double amount;
  if (!df_find(order, "amount", &value) || !df_number(value, &amount)) {
    df_put(out, df_lit("there is no amount"));
    return DF_BAD;
  }
  if (amount < 0) {
    df_put(out, df_lit("the amount is below zero"));
    return DF_BAD;
  }
  if (df_find(order, "status", &status) && status.size == 11 && !memcmp(status.data, "\"cancelled\"", 11)) return DF_DROP;
  df_put(out, (df_text){order.data, order.size - 1}); /* all but the brace */
  df_put(out, df_lit(",\"total\":"));
  df_put_number(out, amount * rate);
  df_put(out, df_lit("}"));
  return DF_KEEP;
}
