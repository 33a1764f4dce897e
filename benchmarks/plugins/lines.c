/* W9e: JSON in lines; a number is read, and a field added. */
#include "dataflare.h"

static const df_column added[] = {{"total", "float64"}};
static const df_output outputs[] = {{.name = "", .columns = added, .count = 1, .adds = true}};
const df_info df_plugin = {.name = "lines", .version = "1.0.0", .outputs = outputs, .output_count = 1};

df_verdict df_process(df_text record, df_out *out) {
  df_text value;
  double amount;
  if (!df_find(record, "amount", &value) || !df_number(value, &amount)) return DF_BAD;
  if (amount < 5) return DF_DROP;
  df_put(out, (df_text){record.data, record.size - 1});
  df_put(out, df_lit(",\"total\":"));
  df_put_number(out, amount * 1.2);
  df_put(out, df_lit("}"));
  return DF_KEEP;
}
