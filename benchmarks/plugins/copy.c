/* W9e: JSON in lines, every one copied. */
#include "dataflare.h"

const df_info df_plugin = {.name = "copy", .version = "1.0.0"};

df_verdict df_process(df_text record, df_out *out) {
  df_put(out, record);
  return DF_KEEP;
}
